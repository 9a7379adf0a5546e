"""The own authority's key, where `certificates_ca_offline` keeps it on the controller."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from wharfinger.host.due import AUTHORITY_DAYS, aged, server_due

from .certificates import belongs
from .controller import on_controller, reader
from .report import Report

OFFLINE = "certificates_ca_offline"
ON_HOST = "/etc/wharfinger/certificates"
PREVIOUS = f"{ON_HOST}/ca_previous.crt"


def check_authority(
    good: Mapping[str, Any],
    host: Mapping[str, Any],
    controller: Mapping[str, Any],
    rotate: object,
    report: Report,
) -> None:
    """Report a key that is missing where it is needed, belongs to nothing, or is open to others.

    rotate: what playbooks/rotate_certificates.yml is asked for, None elsewhere.
    """
    source, hostname = good.get("certificates_tls_source"), good.get("registry_hostname")
    if source not in ("own_ca", "acme") or not hostname or OFFLINE not in good:
        return
    file = f"credentials/{hostname}-ca.key"
    authority = (host.get("certificates") or {}).get("ca")
    on_host = bool(authority and authority["key_matches"])
    there = on_controller(file, controller).is_file()
    if not good[OFFLINE]:
        if authority and not on_host and there and source == "own_ca":
            report.error(
                OFFLINE,
                f"is false, but the authority's key is in {file} and not on the host, which would "
                "make another authority that no client trusts: write true, or first copy the key "
                f"to {ON_HOST}/ca.key on the host (mode 0600)",
            )
        return
    if there:
        _check_key(file, f"credentials/{hostname}-ca.crt", authority, controller, report)
    elif authority and not on_host:
        why = _why_needed(good, host, controller["clock"][1], source, rotate)
        if why:
            report.error(
                OFFLINE,
                f"{why}, and the authority's key that must sign it is missing: copy it to {file} "
                "beside the inventory (mode 0600); where it is lost, take the authority away on "
                f"the host (rm {ON_HOST}/ca.crt) and run site.yml, and let all clients trust the "
                "new one",
            )


def _why_needed(
    good: Mapping[str, Any], host: Mapping[str, Any], now: float, source: str, rotate: object
) -> str | None:
    """What the key must sign, or None. An authority that has expired is followed by one with
    another key."""
    authority, tls = host["certificates"]["ca"], host["certificates"].get("tls")
    if float(authority["not_after"]) <= now:
        return None
    if source == "acme":
        if tls and tls["key_matches"] and float(tls["not_after"]) > now and not tls.get("trusted"):
            return None  # the ACME server's certificate is in place
    elif rotate in ("tls", "ca", "all"):
        return f"rotate={rotate} asks for a new certificate"
    followed = bool((host.get("files") or {}).get(PREVIOUS))
    names = [good["registry_hostname"], *good.get("registry_extra_hostnames", [])]
    if followed and tls:
        # Meanwhile the certificate has the names for which the authority before may vouch too.
        names = tls["names"]
    if server_due(tls, now=now, names=names, renew_days=good.get("certificates_renew_days", 30)):
        return "a new server's certificate is due"
    if not followed and authority.get("path_length") != 0 and aged(authority, now, AUTHORITY_DAYS):
        return "the authority is in its last year and another is due"
    return None


def _check_key(
    file: str,
    certificate: str,
    authority: Mapping[str, Any] | None,
    controller: Mapping[str, Any],
    report: Report,
) -> None:
    path = on_controller(file, controller)
    try:
        data, mode = reader(controller)(file), stat.S_IMODE(path.stat().st_mode)
        encrypted = path.read_bytes().startswith(b"$ANSIBLE_VAULT")
    except OSError as error:
        report.error(
            OFFLINE,
            f"{file} cannot be read on the controller ({error.strerror}): "
            "make it readable for you alone (chmod 0600)",
        )
        return
    if mode & 0o077 and not encrypted:
        report.error(
            OFFLINE,
            f"{file} is open to others (mode {mode:04o}), and whoever has it can pose as the "
            f"registry: run `chmod 0600 {file}` beside the inventory",
        )
    if data.startswith(b"$ANSIBLE_VAULT"):
        report.error(
            OFFLINE,
            f"{file} is encrypted by ansible-vault and was not decrypted: "
            "give the vault's password (--ask-vault-pass, or --vault-password-file FILE)",
        )
        return
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        report.error(
            OFFLINE,
            f"{file} is encrypted with a passphrase, for which nobody is asked: decrypt it "
            f"(openssl pkey -in FILE), or encrypt the decrypted one with ansible-vault",
        )
        return
    except (ValueError, UnsupportedAlgorithm):
        report.error(
            OFFLINE, f"{file} holds no private key in PEM: copy the authority's key there anew"
        )
        return
    if authority and _belongs_to_another(key, authority, certificate, controller):
        report.error(
            OFFLINE,
            f"{file} is not the key of the host's authority: copy the one there that "
            f"{certificate} was made with",
        )


def _belongs_to_another(
    key: PrivateKeyTypes,
    authority: Mapping[str, Any],
    file: str,
    controller: Mapping[str, Any],
) -> bool:
    """Whether the key is surely not the authority's, whose certificate lies beside it for clients.
    Without that, the host itself will see."""
    try:
        data = reader(controller)(file)
        found = x509.load_pem_x509_certificates(data)
    except (OSError, ValueError):
        return False
    same = [
        one for one in found if one.fingerprint(hashes.SHA256()).hex() == authority["fingerprint"]
    ]
    return bool(same) and not belongs(same[0], key)
