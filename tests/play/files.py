"""Files that an inventory may name, each with a mistake."""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support.inventory_files import private

KEY_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


def bundle(path: Path) -> str:
    """Writes a bundle whose only image does not match its index. Returns that image's SHA-256."""
    image = {
        "version": "3.1.2",
        "inputs": "0" * 12,
        "reference": "wharfinger/registry:3.1.2-000000000000",
        "path": "registry.tar",
        "sha256": "0" * 64,
        "ids": [],
        "size": 5,
    }
    index = {"format": 1, "architecture": "amd64", "images": {"registry": image}}
    with tarfile.open(path, "w") as archive:
        for name, content in (
            ("bundle.json", json.dumps(index).encode()),
            ("registry.tar", b"other"),
        ):
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return hashlib.sha256(b"other").hexdigest()


def expired(path: Path) -> str:
    """Writes an expired, self-signed certificate for another name. Returns the day it expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = _certificate("other.play.test", key, age=datetime.timedelta(days=500))
    private(path, _pem(made))
    return f"{made.not_valid_after_utc:%Y-%m-%d}"


def provided(folder: Path, name: str, vaulted: Callable[[str], str]) -> str:
    """Writes a good server.crt and ca.crt for `name`, and server.key encrypted by ansible-vault.

    Returns a line of the key that would give it away in an output.
    """
    authority, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = _certificate("Play CA", authority)
    private(folder / "ca.crt", _pem(ca))
    private(folder / "server.crt", _pem(_certificate(name, server, ca, authority)))
    private(folder / "server.key", vaulted(_key_pem(server)))
    return _key_pem(server).splitlines()[1]


def root(path: Path) -> None:
    """Writes the certificate of a self-signed authority."""
    private(path, _pem(_certificate("Play root", ec.generate_private_key(ec.SECP256R1()))))


def other_key(path: Path) -> str:
    """Writes a key that belongs to no certificate. Returns a line of it."""
    private(path, _key_pem(ec.generate_private_key(ec.SECP256R1())))
    return path.read_text().splitlines()[1]


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None = None,
    signer: ec.EllipticCurvePrivateKey | None = None,
    age: datetime.timedelta = datetime.timedelta(days=2),
) -> x509.Certificate:
    """A certificate valid for 400 days. An authority signs itself and has no name for clients."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = datetime.datetime.now(datetime.UTC).replace(microsecond=0) - age
    signing = signer or key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=400))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    if issuer is None and "." not in name:
        usage = dict.fromkeys(KEY_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
        builder = builder.add_extension(x509.BasicConstraints(True, None), True)
        builder = builder.add_extension(x509.KeyUsage(**usage), True)
    else:
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        builder = builder.add_extension(names, False)
    if issuer is not None:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key())
        builder = builder.add_extension(identifier, False)
    return builder.sign(signing, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
