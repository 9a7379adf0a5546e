"""Generated secrets: how they are made, what they look like, and their digest.

A generated secret has 192 random bits (a user's) or 256 (a robot's). That is too many to guess,
even with the digest. So the host may keep a plain SHA-256 of it instead of a slow hash.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import secrets

USER_BYTES, ROBOT_BYTES = 24, 32
_FORM = re.compile(r"[A-Za-z0-9_-]{32}|[A-Za-z0-9_-]{43}")
# A random secret has about 25 different characters; words and repetitions have fewer.
_LEAST_CHARACTERS = 16
# In a random secret, two of three neighbours are of different kinds; in a word hardly any are.
_LEAST_CHANGES = 2 / 5
_KINDS = ("[a-z]", "[A-Z]", "[0-9]")


def make(size: int) -> str:
    """A new secret of `size` random bytes."""
    while not has_form(made := secrets.token_urlsafe(size)):
        pass
    return made


def has_form(text: str) -> bool:
    """Whether the text looks like a secret from `make`: in length, alphabet and mixture.

    This distinguishes a generated secret from a password that somebody wrote into a credentials
    file. One in 100 of the secrets made before this check existed fails it: such a secret has no
    digit, or too few changes between small letters, capitals, digits and `-_`.
    """
    if _FORM.fullmatch(text) is None or len(set(text)) < _LEAST_CHARACTERS:
        return False
    kinds = [next((kind for kind in _KINDS if re.match(kind, character)), "") for character in text]
    changes = sum(kind != following for kind, following in itertools.pairwise(kinds))
    return set(kinds) >= set(_KINDS) and changes >= _LEAST_CHANGES * len(text)


def digest(text: str) -> str:
    """The SHA-256 of a secret, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
