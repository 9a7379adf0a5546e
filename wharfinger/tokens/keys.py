"""The signing key: read, checked against its certificate, identified as the registry does."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey


class KeyProblem(Exception):
    """`key` is `certificate` or `key`; the text says what is wrong, never what is in the file."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with the identifier that goes into a token's `kid` header."""

    private: RSAPrivateKey
    identifier: str
    algorithm: str = "RS256"


def load_signing_key(
    certificate: Path, key: Path, *, refuse_expired: bool
) -> tuple[SigningKey, list[str]]:
    """The key, and warnings for the operator.

    Raises:
        KeyProblem: a file cannot be read, is none, or the certificate does not belong to the key.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        x509_certificate = x509.load_pem_x509_certificate(_content("certificate", certificate))
    except ValueError:
        raise KeyProblem("certificate", f"{certificate} is no PEM certificate") from None
    try:
        private = load_pem_private_key(_content("key", key), password=None)
    except (ValueError, TypeError):
        raise KeyProblem("key", f"{key} is no PEM private key without a passphrase") from None
    if not isinstance(private, RSAPrivateKey) or private.key_size < 2048:
        raise KeyProblem("key", f"{key} is no RSA key of 2048 bits or more")
    if x509_certificate.public_key() != private.public_key():
        raise KeyProblem("certificate", f"{certificate} does not belong to the key {key}")
    warnings = []
    if x509_certificate.not_valid_after_utc < datetime.now(UTC):
        message = (
            f"{certificate} expired on {x509_certificate.not_valid_after_utc:%Y-%m-%d}: renew it"
        )
        if refuse_expired:
            raise KeyProblem("certificate", message)
        warnings.append(message)
    return SigningKey(private, thumbprint(private.public_key())), warnings


def _content(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyProblem(name, f"{path} cannot be read: {error.strerror}") from None


def thumbprint(key: RSAPublicKey) -> str:
    """RFC 7638: SHA-256 over the JWK's required members, base64url without padding."""
    numbers = key.public_numbers()
    jwk = {"e": _integer(numbers.e), "kty": "RSA", "n": _integer(numbers.n)}
    canonical = json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()
    return base64url(hashlib.sha256(canonical).digest())


def _integer(number: int) -> str:
    return base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def base64url(data: bytes) -> str:
    """RFC 7515: base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
