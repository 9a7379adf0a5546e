#!/usr/bin/env python3
"""Makes the certificates of other authorities: `certificates.py DIRECTORY`.

`chain.crt` and its key are for brought.wharfinger.test, issued by an intermediate authority under
`root.crt`. `intranet.crt` and its key are for another site, issued by that site's own authority.
"""

from __future__ import annotations

import datetime
import os
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)


class Identity:
    """A key and its certificate, signed by `issuer` or by itself."""

    def __init__(self, name: str, issuer: Identity | None = None, *, authority: bool) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = issuer or self
        usage = {
            "digital_signature": not authority,
            "key_cert_sign": authority,
            "crl_sign": authority,
        }
        others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
        others += ("encipher_only", "decipher_only")
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(signer.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - datetime.timedelta(hours=1))
            .not_valid_after(NOW + datetime.timedelta(days=60))
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
            .add_extension(
                x509.KeyUsage(**usage, **dict.fromkeys(others, False)),
                critical=True,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()),
                critical=False,
            )
        )
        if not authority:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
            ).add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
            )
        self.certificate = builder.sign(signer.key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key, not encrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def main(directory: str) -> None:
    """Writes all files; only their owner may read the keys."""
    root = Identity("Example root", authority=True)
    intermediate = Identity("Example intermediate", root, authority=True)
    server = Identity("brought.wharfinger.test", intermediate, authority=False)
    intranet_root = Identity("Intranet root", authority=True)
    intranet = Identity("intranet.example.test", intranet_root, authority=False)
    os.umask(0o077)
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {
        "root.crt": root.pem,
        "chain.crt": server.pem + intermediate.pem,
        "brought.wharfinger.test.key": server.key_pem,
        "intranet_root.crt": intranet_root.pem,
        "intranet.crt": intranet.pem,
        "intranet.key": intranet.key_pem,
    }.items():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    main(sys.argv[1])
