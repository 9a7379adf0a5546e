"""A repository of restic that opens at once.

restic derives what opens a repository from the password with scrypt, whose cost it chooses when it
makes the repository: half a second of CPU for each of its commands. Here the same key of the
repository is stored once more, under the same password at the lowest cost, and the costly one is
removed. restic reads the cost from the file of the key, so its own commands open both. Repositories
on servers keep the key that restic made.
"""

from __future__ import annotations

import hashlib
import json
import os
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

# scrypt's N. restic chooses 32768 or more.
_CHEAP = 2
_NONCE, _MAC = 16, 16


def make_quick(repository: Path, password: str) -> None:
    """Replaces the only key of a repository in a directory. Raises ValueError if this password does
    not open it."""
    (costly,) = (repository / "keys").iterdir()
    key = json.loads(costly.read_text())
    master = _opened(b64decode(key["data"]), _Derived(password, key))
    key["N"] = _CHEAP
    key["data"] = b64encode(_sealed(master, _Derived(password, key))).decode()
    text = json.dumps(key).encode()
    (repository / "keys" / hashlib.sha256(text).hexdigest()).write_bytes(text)
    costly.unlink()


class _Derived:
    """The keys that scrypt derives: AES-256's, and the two halves of Poly1305-AES's."""

    def __init__(self, password: str, key: dict[str, Any]) -> None:
        derived = hashlib.scrypt(
            password.encode(),
            salt=b64decode(key["salt"]),
            n=key["N"],
            r=key["r"],
            p=key["p"],
            maxmem=1 << 30,
            dklen=64,
        )
        self.encryption, self._k, self._r = derived[:32], derived[32:48], derived[48:]

    def crypt(self, nonce: bytes, data: bytes) -> bytes:
        return Cipher(algorithms.AES(self.encryption), modes.CTR(nonce)).encryptor().update(data)

    def mac(self, nonce: bytes, data: bytes) -> bytes:
        # ECB of one block: Poly1305-AES uses AES itself, not a mode of it.
        pad = Cipher(algorithms.AES(self._k), modes.ECB()).encryptor().update(nonce)
        return Poly1305.generate_tag(self._r + pad, data)


def _opened(data: bytes, derived: _Derived) -> bytes:
    nonce, sealed, mac = data[:_NONCE], data[_NONCE:-_MAC], data[-_MAC:]
    if derived.mac(nonce, sealed) != mac:
        raise ValueError("another password")
    return derived.crypt(nonce, sealed)


def _sealed(plain: bytes, derived: _Derived) -> bytes:
    nonce = os.urandom(_NONCE)
    sealed = derived.crypt(nonce, plain)
    return nonce + sealed + derived.mac(nonce, sealed)
