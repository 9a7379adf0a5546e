"""A provided TLS certificate: does it fit its key, its chain, the names and the present day?

A certificate is accepted if strict clients accept it (OpenSSL's X509_STRICT, the default of Python
3.13 and newer, and the verification at the end of a deployment): RFC 5280 certificates with key
identifiers, and CAs with critical basic constraints and a key usage.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from ssl import get_default_verify_paths
from typing import Any, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wharfinger.deployment.problems import Report

from .controller import on_controller, reader
from .names import is_address
from .report import shown

CERTIFICATE = "certificates_tls_certificate"
KEY = "certificates_tls_key"
CA = "certificates_tls_ca"

#: Where systems keep their roots (Debian, Fedora, Alpine and macOS), for a Python that was not
#: built for this system and does not know the place.
BUNDLES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/cert.pem"),
)

T = TypeVar("T", bound=x509.ExtensionType)

_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_WEAK = ("md5", "sha1")


def check_provided(good: Mapping[str, Any], controller: Mapping[str, Any], report: Report) -> None:
    """Reports what is wrong with the certificate of `certificates_tls_source: provided`.

    good: checked variables. controller: `base` (the directory that relative paths start from),
    `read` (path → bytes; without it the file itself is read; raises OSError), `roots` (PEM file of
    the system's roots), `clock` (epoch seconds before and after the host was examined).
    """
    texts = {
        name: read_file(name, good, controller, report)
        for name in (CERTIFICATE, KEY, *([CA] if good.get(CA) else []))
    }
    chain = read_certificates(CERTIFICATE, texts[CERTIFICATE], good, report)
    key = _key(texts[KEY], good, report)
    given = read_certificates(CA, texts.get(CA), good, report) if good.get(CA) else None
    if not chain:
        return
    file = shown(good[CERTIFICATE])
    leaf = chain[0]
    if key is not None and not belongs(leaf, key):
        later = next((c for c in chain[1:] if belongs(c, key)), None)
        if later is not None:
            report.error(
                CERTIFICATE,
                f"{file} has {_name(leaf)} before the server's own certificate {_name(later)}: "
                "put the server's first",
            )
            return
        report.error(
            KEY,
            f"{shown(good[KEY])} does not belong to the certificate in {file}: "
            "write the path of the key that the certificate was made for",
        )
    now = datetime.fromtimestamp(controller["clock"][1], UTC)
    _check_server(leaf, file, good, now, report)
    _check_chain(chain, given, file, good, controller, now, report)


def read_file(
    name: str, good: Mapping[str, Any], controller: Mapping[str, Any], report: Report
) -> bytes | None:
    """The content of the file that the variable names; None if it was reported as unreadable."""
    path = good.get(name)
    if not path:
        report.error(
            name,
            "is empty, but certificates_tls_source is provided: "
            "write the path of the PEM file on the controller",
        )
        return None
    try:
        data = reader(controller)(path)
    except FileNotFoundError:
        report.error(
            name, f"{shown(path)} does not exist on the controller: write the PEM file's path"
        )
    except OSError as error:
        report.error(
            name,
            f"{shown(path)} cannot be read on the controller ({error.strerror}): "
            "write a readable PEM file's path",
        )
    else:
        if data.startswith(b"$ANSIBLE_VAULT"):
            report.error(
                name,
                f"{shown(path)} is encrypted by ansible-vault and was not decrypted: "
                "give the vault's password, or the path of the plain file",
            )
            return None
        return data
    return None


def read_certificates(
    name: str, data: bytes | None, good: Mapping[str, Any], report: Report
) -> list[x509.Certificate] | None:
    """The certificates in the data from `read_file`; None if a mistake was reported."""
    if data is None:
        return None
    if b"-----BEGIN CERTIFICATE-----" in data:
        try:
            return x509.load_pem_x509_certificates(data)
        except ValueError:
            problem = "holds a damaged certificate: export it again as PEM"
    elif b"PRIVATE KEY-----" in data and name == CERTIFICATE:
        problem = f"holds a private key: write the certificate's path here, the key's in {KEY}"
    elif b"PRIVATE KEY-----" in data:
        problem = "holds a private key: write the path of the certificate instead"
    else:
        problem = "holds no PEM certificate: export it as PEM (-----BEGIN CERTIFICATE-----)"
    report.error(name, f"{shown(good[name])} {problem}")
    return None


def _key(data: bytes | None, good: Mapping[str, Any], report: Report) -> PrivateKeyTypes | None:
    if data is None:
        return None
    file = shown(good[KEY])
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        report.error(
            KEY,
            f"{file} is encrypted with a passphrase, and nginx must start unattended: write the "
            "path of the decrypted key",
        )
        return None
    except (ValueError, UnsupportedAlgorithm):
        report.error(KEY, f"{file} holds no private key in PEM: write the key file's path")
        return None
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size >= 2048:
            return key
        problem = f"is an RSA key of {key.key_size} bits"
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        if key.curve.name in _CURVES:
            return key
        problem = f"is an ECDSA key on {key.curve.name}"
    else:
        problem = "is neither an RSA nor an ECDSA key"
    report.error(
        KEY,
        f"{file} {problem}, which clients refuse: write an RSA key of 2048 bits or more, or ECDSA "
        "P-256, P-384 or P-521",
    )
    return None


def belongs(certificate: x509.Certificate, key: PrivateKeyTypes) -> bool:
    """Whether the certificate was made for this key."""
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return certificate.public_key().public_bytes(*spki) == key.public_key().public_bytes(*spki)


def _check_server(
    leaf: x509.Certificate, file: str, good: Mapping[str, Any], now: datetime, report: Report
) -> None:
    names, addresses = _alternative_names(leaf)
    wanted = [good.get("registry_hostname"), *good.get("registry_extra_hostnames", [])]
    missing = [name for name in wanted if name and not _covers(name, names, addresses)]
    if not names and not addresses:
        report.error(
            CERTIFICATE,
            f"{file} has no subject alternative names, which clients demand: "
            f"get a certificate for {', '.join(filter(None, wanted))}",
        )
    elif missing:
        report.error(
            CERTIFICATE,
            f"{file} covers {', '.join(names + addresses)}, but not {', '.join(missing)}: "
            "get a certificate for all of registry_hostname and registry_extra_hostnames",
        )
    usage = _extension(leaf, x509.ExtendedKeyUsage)
    if usage is not None and ExtendedKeyUsageOID.SERVER_AUTH not in usage:
        report.error(
            CERTIFICATE,
            f"{file} is not for servers (extended key usage): get a certificate with serverAuth",
        )
    renew = timedelta(days=good.get("certificates_renew_days", 30))
    if now < leaf.not_valid_after_utc < now + renew:
        days = (leaf.not_valid_after_utc - now).days
        report.warning(
            CERTIFICATE,
            f"{file} expires on {leaf.not_valid_after_utc:%Y-%m-%d}, in {days} days: renew it",
        )


def _alternative_names(leaf: x509.Certificate) -> tuple[list[str], list[str]]:
    names = _extension(leaf, x509.SubjectAlternativeName)
    if names is None:
        return [], []
    return (
        [name.lower() for name in names.get_values_for_type(x509.DNSName)],
        [str(address) for address in names.get_values_for_type(x509.IPAddress)],
    )


def _covers(name: str, names: Iterable[str], addresses: Iterable[str]) -> bool:
    if is_address(name):
        return str(ip_address(name)) in addresses
    # RFC 6125, 6.4.3: a wildcard is the whole left-most label and stands for one label.
    return name in names or "*." + name.partition(".")[2] in names


def _check_chain(
    chain: Sequence[x509.Certificate],
    given: Sequence[x509.Certificate] | None,
    file: str,
    good: Mapping[str, Any],
    controller: Mapping[str, Any],
    now: datetime,
    report: Report,
) -> None:
    """Follows the chain from the server's certificate to a root, and reports its mistakes."""
    if good.get(CA):
        if given is None:
            return
        roots = roots_among(given)
        where = f"{CA} ({shown(good[CA])})"
        if not roots:
            report.error(
                CA,
                f"{shown(good[CA])} holds no root certificate (one that signs itself): "
                f"put intermediate certificates into {CERTIFICATE} and the root here",
            )
            return
    else:
        roots, where = _system_roots(controller), "the controller's system roots"
    at, path = chain[0], [chain[0]]
    while at not in roots:
        above = next((c for c in (*roots, *chain) if c not in path and _signed(at, c)), None)
        if above is None:
            if at.subject == at.issuer:
                problem = f"ends at {_name(at)}, which signs itself and is not in {where}"
                instead = f"write its root's file into {CA}"
            else:
                problem = (
                    f"ends at {_name(at)}, whose issuer {_name(at, issuer=True)} is neither in "
                    f"it nor in {where}"
                )
                instead = (
                    "append the intermediate certificates after the server's, "
                    f"or write the root's file into {CA}"
                )
            report.error(CERTIFICATE, f"the chain in {file} {problem}: {instead}")
            break
        path.append(above)
        at = above
    for certificate in path:
        in_ca = certificate in roots and certificate not in chain
        variable, place = (CA, shown(good[CA])) if in_ca and good.get(CA) else (CERTIFICATE, file)
        _check_one(certificate, certificate is chain[0], variable, place, roots, now, report)


def roots_among(certificates: Iterable[x509.Certificate]) -> list[x509.Certificate]:
    """The certificates that sign themselves."""
    return [
        certificate for certificate in certificates if certificate.subject == certificate.issuer
    ]


def _check_one(
    certificate: x509.Certificate,
    server: bool,
    variable: str,
    file: str,
    roots: Sequence[x509.Certificate],
    now: datetime,
    report: Report,
) -> None:
    who = f"{_name(certificate)} in {file}"
    if now > certificate.not_valid_after_utc:
        report.error(
            variable,
            f"{who} expired on {certificate.not_valid_after_utc:%Y-%m-%d}: "
            "write the path of a renewed one",
        )
    if now < certificate.not_valid_before_utc:
        report.error(
            variable,
            f"{who} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC: "
            "write the path of one that is valid now",
        )
    weak = _weak(certificate)
    if weak and certificate not in roots:
        report.error(
            variable,
            f"{who} is signed with {weak}, which clients refuse: get one signed with SHA-256",
        )
    missing = _missing_extensions(certificate, server, certificate in roots)
    if missing:
        report.error(
            variable,
            f"{who} lacks {' and '.join(missing)}, which strict clients (Python 3.13 and newer, "
            "the verification at the end) demand: have it made again with that",
        )


def _missing_extensions(certificate: x509.Certificate, server: bool, root: bool) -> list[str]:
    """What RFC 5280 demands (4.2.1.1, .2, .3, .9) and OpenSSL's X509_STRICT checks."""
    missing = []
    constraints = _whole_extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if not server:
        if constraints is None or not constraints.critical or not constraints.value.ca:
            missing.append("critical basic constraints with CA:TRUE")
        if usage is None or not usage.key_cert_sign:
            missing.append("a key usage with keyCertSign")
        if _extension(certificate, x509.SubjectKeyIdentifier) is None:
            missing.append("a subject key identifier")
    identifier = _extension(certificate, x509.AuthorityKeyIdentifier)
    if not root and (identifier is None or identifier.key_identifier is None):
        missing.append("an authority key identifier")
    return missing


def _weak(certificate: x509.Certificate) -> str | None:
    algorithm = certificate.signature_hash_algorithm
    return algorithm.name.upper() if algorithm and algorithm.name in _WEAK else None


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if _weak(certificate):
        # The library does not verify such signatures; the weakness is reported anyway.
        return certificate.issuer == issuer.subject
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _system_roots(controller: Mapping[str, Any]) -> list[x509.Certificate]:
    named = controller.get("roots") or get_default_verify_paths().cafile
    files = [on_controller(str(named), controller)] if named else list(BUNDLES)
    file = next((path for path in files if path.is_file()), None)
    if file is None:
        return []
    data = file.read_bytes()
    roots = []
    with warnings.catch_warnings():
        # The warnings are about oddities of roots that the system trusts.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        # One by one: a root that this library cannot read must not make the others useless.
        for part in data.split(b"-----END CERTIFICATE-----")[:-1]:
            try:
                roots.append(x509.load_pem_x509_certificate(part + b"-----END CERTIFICATE-----\n"))
            except ValueError:
                continue
    return roots


def _whole_extension(certificate: x509.Certificate, kind: type[T]) -> x509.Extension[T] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _extension(certificate: x509.Certificate, kind: type[T]) -> T | None:
    extension = _whole_extension(certificate, kind)
    return extension.value if extension else None


def _name(certificate: x509.Certificate, *, issuer: bool = False) -> str:
    name = certificate.issuer if issuer else certificate.subject
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return shown(str(common[0].value)) if common else shown(name.rfc4514_string() or "(no name)")
