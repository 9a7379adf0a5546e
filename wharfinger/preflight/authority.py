"""The own authority's key, where `certificates_ca_offline` keeps it on the controller."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from wharfinger.deployment import host_files
from wharfinger.deployment.certificate import Certificate
from wharfinger.deployment.facts import HostFacts
from wharfinger.deployment.problems import Report
from wharfinger.host.keys.due import AUTHORITY_DAYS, aged, server_due

from .certificates import belongs
from .controller import on_controller

OFFLINE = "certificates_ca_offline"
ON_HOST = host_files.CERTIFICATES
PREVIOUS = f"{ON_HOST}/ca_previous.crt"


def check_authority(
    good: Mapping[str, Any],
    host: HostFacts,
    controller: Mapping[str, Any],
    rotate: object,
    report: Report,
) -> None:
    """Reports a key that is missing, that belongs to another authority, or that others can read.

    rotate: the value of `rotate` for playbooks/rotate_certificates.yml; None for other playbooks.
    """
    source, hostname = good.get("certificates_tls_source"), good.get("registry_hostname")
    if source not in ("own_ca", "acme") or not hostname or OFFLINE not in good:
        return
    file = f"credentials/{hostname}-ca.key"
    authority = host.certificates.ca
    on_host = bool(authority and authority.key_matches)
    exists = on_controller(file, controller).is_file()
    if exists and (good[OFFLINE] or (authority and not on_host)):
        # Without certificates_ca_offline the key is about to return to the host.
        _check_key(f"credentials/{hostname}", authority, controller, report)
    elif good[OFFLINE] and authority and not on_host:
        why = _why_needed(good, authority, host, controller["clock"][1], source, rotate)
        if why:
            report.error(
                OFFLINE,
                f"{why}, and the authority's key that must sign it is missing: copy it to {file} "
                "beside the inventory (mode 0600); if it is lost, remove the authority from the "
                f"host (rm {ON_HOST}/ca.*) and run site.yml, and let all clients trust the new one",
            )


def _why_needed(
    good: Mapping[str, Any],
    authority: Certificate,
    host: HostFacts,
    now: float,
    source: str,
    rotate: object,
) -> str | None:
    """Why the key must sign something now; None if it need not.

    An authority that has expired is replaced by one with another key.
    """
    tls = host.certificates.tls
    if authority.not_after <= now:
        return None
    if source == "acme":
        if tls and tls.key_matches and tls.not_after > now and not tls.trusted:
            return None  # the ACME server's certificate is in place
    elif rotate in ("tls", "ca", "all"):
        return f"rotate={rotate} asks for a new certificate"
    followed = bool(host.files.get(PREVIOUS))
    names = [good["registry_hostname"], *good.get("registry_extra_hostnames", [])]
    if followed and tls:
        # Until then the certificate has only names that the previous authority may certify, too.
        names = list(tls.names)
    if server_due(tls, now=now, names=names, renew_days=good.get("certificates_renew_days", 30)):
        return "a new server's certificate is due"
    if not followed and authority.path_length != 0 and aged(authority, now, AUTHORITY_DAYS):
        return "the authority is in its last year and another is due"
    return None


def _check_key(
    beside: str,
    authority: Certificate | None,
    controller: Mapping[str, Any],
    report: Report,
) -> None:
    file, certificate = f"{beside}-ca.key", f"{beside}-ca.crt"
    path = on_controller(file, controller)
    try:
        data, mode = path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        report.error(
            OFFLINE,
            f"{file} cannot be read on the controller ({error.strerror}): "
            "make it readable for you alone (chmod 0600)",
        )
        return
    if mode & 0o077:
        report.error(
            OFFLINE,
            f"{file} is open to others (mode {mode:04o}), and anyone who has it can pose as the "
            f"registry: run `chmod 0600 {file}` beside the inventory",
        )
    if data.startswith(b"$ANSIBLE_VAULT"):
        report.error(
            OFFLINE,
            f"{file} is encrypted by ansible-vault, and the toolkit does not decrypt it: decrypt "
            f"it (ansible-vault decrypt {file}), and keep the file on a medium that is encrypted",
        )
        return
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        report.error(
            OFFLINE,
            f"{file} is encrypted with a passphrase, and the toolkit asks for none: decrypt it "
            "(openssl pkey -in FILE), and keep the file on a medium that is encrypted",
        )
        return
    except (ValueError, UnsupportedAlgorithm):
        report.error(
            OFFLINE, f"{file} holds no private key in PEM: copy the authority's key there again"
        )
        return
    # The next authority has this name until the controller knows that the host has it.
    following = _key(f"{beside}-ca_next.key", controller)
    keys = [key, following] if following else [key]
    if authority and _belongs_to_another(keys, authority, certificate, controller):
        report.error(
            OFFLINE,
            f"{file} is not the key of the host's authority: copy the one there that "
            f"{certificate} was made with",
        )


def _key(file: str, controller: Mapping[str, Any]) -> PrivateKeyTypes | None:
    try:
        return load_pem_private_key(on_controller(file, controller).read_bytes(), password=None)
    except (OSError, TypeError, ValueError, UnsupportedAlgorithm):
        return None


def _belongs_to_another(
    keys: Iterable[PrivateKeyTypes],
    authority: Certificate,
    file: str,
    controller: Mapping[str, Any],
) -> bool:
    """Whether it is certain that none of the keys is the authority's.

    file: the authority's certificate for clients, beside the keys. Without it nothing is certain,
    and a wrong key is found when it must sign.
    """
    try:
        certificates = x509.load_pem_x509_certificates(on_controller(file, controller).read_bytes())
    except (OSError, ValueError):
        return False
    same = [
        certificate
        for certificate in certificates
        if certificate.fingerprint(hashes.SHA256()).hex() == authority.fingerprint
    ]
    return bool(same) and not any(belongs(same[0], key) for key in keys)
