"""The signing key: read, checked against its certificate, identified as the registry does."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ENCODE = json.JSONEncoder(separators=(",", ":")).encode


class KeyProblem(Exception):
    """A mistake in the file `key`: `certificate` or `key`. The text never shows its content."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, ready to sign tokens with RS256 or ES256.

    `header` is the first part of every token; `sign` returns a signature's bytes.
    """

    algorithm: str
    identifier: str
    header: str
    sign: Callable[[bytes], bytes] = field(repr=False)

    def token(self, claims: Mapping[str, Any]) -> str:
        """A JWT (RFC 7519, in the compact form of RFC 7515)."""
        signed = f"{self.header}.{base64url(ENCODE(claims).encode())}"
        return f"{signed}.{base64url(self.sign(signed.encode()))}"


def load_signing_key(
    certificate: Path, key: Path, *, refuse_expired: bool
) -> tuple[SigningKey, list[str]]:
    """The key, and warnings for the operator.

    Raises:
        KeyProblem: a file cannot be read or used, or the certificate does not belong to the key.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        x509_certificate = x509.load_pem_x509_certificate(_content("certificate", certificate))
    except ValueError:
        raise KeyProblem("certificate", f"{certificate} is not a PEM certificate") from None
    try:
        private = load_pem_private_key(_content("key", key), password=None)
    except (ValueError, TypeError):
        raise KeyProblem("key", f"{key} is not a PEM private key without a passphrase") from None
    signing_key = _signing_key(private)
    if signing_key is None:
        raise KeyProblem(
            "key", f"{key} is neither an RSA key of 2048 bits or more nor a P-256 (ES256) key"
        )
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
    return signing_key, warnings


def _content(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyProblem(name, f"{path} cannot be read: {error.strerror}") from None


def _signing_key(private: object) -> SigningKey | None:
    """None for a kind of key that cannot sign tokens."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    if isinstance(private, rsa.RSAPrivateKey) and private.key_size >= 2048:
        scheme, digest = padding.PKCS1v15(), hashes.SHA256()
        public = private.public_key().public_numbers()
        members = {"kty": "RSA", "e": _integer(public.e), "n": _integer(public.n)}
        return _ready("RS256", members, lambda data: private.sign(data, scheme, digest))
    if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1):
        ecdsa = ec.ECDSA(hashes.SHA256())
        point = private.public_key().public_numbers()
        # RFC 7518, 6.2.1.2 and 3.4: each number has 32 bytes, leading zeros included.
        x, y = _integer(point.x, 32), _integer(point.y, 32)

        def sign(data: bytes) -> bytes:
            r, s = decode_dss_signature(private.sign(data, ecdsa))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")

        return _ready("ES256", {"kty": "EC", "crv": "P-256", "x": x, "y": y}, sign)
    return None


def _ready(
    algorithm: str, members: Mapping[str, str], sign: Callable[[bytes], bytes]
) -> SigningKey:
    """`members` are the required members of the public key's JWK."""
    identifier = thumbprint(members)
    header = ENCODE({"alg": algorithm, "kid": identifier, "typ": "JWT"})
    return SigningKey(algorithm, identifier, base64url(header.encode()), sign)


def thumbprint(members: Mapping[str, str]) -> str:
    """RFC 7638: SHA-256 over the required members of the key's JWK, base64url without padding."""
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
    return base64url(hashlib.sha256(canonical).digest())


def _integer(number: int, size: int = 0) -> str:
    """The number in `size` bytes; 0: in as many as it needs."""
    return base64url(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


def base64url(data: bytes) -> str:
    """RFC 7515: base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
