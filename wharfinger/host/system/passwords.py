"""bcrypt by the system's libcrypt, so that the host needs no bcrypt module."""

from __future__ import annotations

import ctypes
import os

from .errors import HostError

_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
# The verification password is 256 random bits: a slow hash would protect nothing.
_COST = 4


def bcrypt(password: str) -> str:
    """The `$2b$` hash of `password` with a new random salt."""
    # 22 characters encode 128 bits. Only two bits of the last one count, so it is one of four.
    raw = os.urandom(22)
    salt = "".join(_ALPHABET[byte % 64] for byte in raw[:21]) + ".Oeu"[raw[21] % 4]
    return _crypt(password, f"$2b${_COST:02d}${salt}")


def belongs(password: str, digest: str) -> bool:
    """Whether `digest` is a hash of `password`."""
    return _crypt(password, digest) == digest


def _crypt(password: str, setting: str) -> str:
    try:
        library = ctypes.CDLL("libcrypt.so.1")
    except OSError as problem:
        raise HostError(
            "libcrypt.so.1 is missing on this host: install the package libcrypt1"
        ) from problem
    library.crypt.restype = ctypes.c_char_p
    library.crypt.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
    answer: bytes | None = library.crypt(password.encode(), setting.encode())
    if answer is None or not answer.startswith(b"$2b$"):
        raise HostError("this host's libcrypt cannot compute bcrypt: libxcrypt 4 is needed")
    return answer.decode()
