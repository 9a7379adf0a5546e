"""What is recorded instead of a password or secret: bcrypt hashes and plain digests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import bcrypt

from wharfinger import generated

COST = 10
# A robot's secret has 256 random bits: a slow hash would not protect it better, and would slow down
# every login.
ROBOT_COST = 4
# bcrypt reads at most so many bytes.
LONGEST = 72


def hash_password(password: str) -> str:
    """The bcrypt hash of a user's password, with a new salt."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(COST)).decode()


def is_of(known: Mapping[str, Any], secret: str) -> bool:
    """Whether the host's record is of this secret."""
    if "generated" in known and known.get("random") is not False:
        return bool(known["generated"] == generated.digest(secret))
    plain = secret.encode()
    return len(plain) <= LONGEST and bcrypt.checkpw(plain, known["hash"].encode())


def digest_of(secret: str) -> dict[str, Any]:
    """What is recorded of a secret besides its hash; nothing if somebody has chosen it."""
    if not generated.has_form(secret):
        return {}
    return {"generated": generated.digest(secret), "random": True}


def secret_record(name: str, secret: str) -> dict[str, Any]:
    """What is recorded of a robot's secret; no fast digest if somebody has chosen it."""
    identifier = identity(name, secret)
    if not generated.has_form(secret):
        return {"hash": identifier, "generated": identifier, "random": False}
    hashed = bcrypt.hashpw(secret.encode(), bcrypt.gensalt(ROBOT_COST)).decode()
    return {"hash": hashed, "generated": identifier, "random": True}


def identity(name: str, secret: str) -> str:
    """An identifier of a robot's secret that is the same on every host: the SHA-256 of a generated
    secret; for a chosen secret, a bcrypt hash whose salt is made from the robot's name."""
    if generated.has_form(secret):
        return generated.digest(secret)
    if not 0 < len(secret.encode()) <= LONGEST:
        return ""
    salt = f"$2b${COST:02}${hashlib.sha256(name.encode()).hexdigest()[:21]}e"
    return bcrypt.hashpw(secret.encode(), salt.encode()).decode()


def identities(name: str, secret: str) -> set[str]:
    """`identity`, and what an earlier version recorded for any secret."""
    return {identity(name, secret), generated.digest(secret)}
