"""A signing key's algorithm and identifier.

They are read from a certificate or a public key (PEM) with the standard library alone. A registry's
or token server's specification says with which `algorithms` it works (specification.py).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass

RS256, ES256 = "RS256", "ES256"
# docker_auth_server → the algorithms with which it can sign; new keys are for the first.
# docker_auth 1.14 gives an ES256 token an identifier that no registry knows.
SIGNS_WITH = {"embedded": (ES256, RS256), "cesanta": (RS256,)}
# The algorithms that the registry of this release trusts.
TRUSTS = (RS256, ES256)

_PEM = re.compile(r"-----BEGIN (CERTIFICATE|PUBLIC KEY)-----([A-Za-z0-9+/=\s]*)-----END")
_RSA = bytes.fromhex("06092a864886f70d0101010500")
_P256 = bytes.fromhex("06072a8648ce3d020106082a8648ce3d030107")

# The length of a coordinate of P-256.
_BYTES = 32


@dataclass(frozen=True)
class PublicKey:
    """algorithm: RS256 or ES256. identifier: a token's `kid` (RFC 7638)."""

    algorithm: str
    identifier: str
    coordinates: tuple[bytes, ...] = ()

    @property
    def known_to_the_registry(self) -> bool:
        """Whether the registry computes the same identifier. distribution (up to 3.1.2) strips
        leading zero bytes of a coordinate before it hashes; one key in 128 has such a byte."""
        return all(coordinate[0] != 0 for coordinate in self.coordinates)


def read(text: str) -> PublicKey | None:
    """The public key in a PEM text: in a certificate (version 3), or by itself. None if there is
    none, or if its kind does not sign tokens."""
    block = _PEM.search(text)
    if block is None:
        return None
    try:
        return _public_key(block[1], base64.b64decode(block[2]))
    except (ValueError, IndexError):
        return None  # damaged


def _public_key(label: str, der: bytes) -> PublicKey | None:
    (content,) = _parts(der)
    if label == "CERTIFICATE":
        signed = _parts(content)[0]
        # It comes after version, serial number, signature algorithm, issuer, validity and subject.
        content = _parts(signed)[6]
    kind, bits = _parts(content)
    # The first byte of a bit string is the number of unused bits at its end.
    if kind == _RSA:
        (numbers,) = _parts(bits[1:])
        # DER puts a zero byte before an integer whose first bit is set.
        n, e = (number.lstrip(b"\0") for number in _parts(numbers))
        return PublicKey(RS256, _identifier(kty="RSA", n=_base64url(n), e=_base64url(e)))
    if kind == _P256 and len(bits) == 2 + 2 * _BYTES:
        x, y = bits[2 : 2 + _BYTES], bits[2 + _BYTES :]
        identifier = _identifier(kty="EC", crv="P-256", x=_base64url(x), y=_base64url(y))
        return PublicKey(ES256, identifier, (x, y))
    return None


def _parts(der: bytes) -> list[bytes]:
    """The contents of consecutive DER elements."""
    contents = []
    while der:
        length, rest = der[1], der[2:]
        if length > 127:
            octets = length - 128
            length, rest = int.from_bytes(rest[:octets], "big"), rest[octets:]
        contents.append(rest[:length])
        der = rest[length:]
    return contents


def _identifier(**members: str) -> str:
    text = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return _base64url(hashlib.sha256(text.encode()).digest())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
