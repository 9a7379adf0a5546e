"""What a valid configuration file says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import acl
from ..addresses import Network
from ..keys import SigningKey


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server listens, and where a request's own address stands.

    `real_ip_position` counts the comma-separated addresses in the header `real_ip_header` from 0,
    or from the end when negative.
    """

    host: str
    port: int
    path_prefix: str
    real_ip_header: str
    real_ip_position: int


@dataclass(frozen=True, slots=True)
class Token:
    """What every token says; `expiration` in seconds."""

    issuer: str
    expiration: int
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class PreviousPassword:
    """A bcrypt hash that is right too, before the instant `until` (seconds since the epoch).

    `digest` as in User.
    """

    password: bytes
    until: float
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class User:
    """A user's bcrypt hash (None: needs no password, only the anonymous user) and labels.

    `digest` is the SHA-256 of a generated secret; None where the password is a chosen one.
    From the instant `expires` (seconds since the epoch) on, and from elsewhere than `addresses`
    where there are some, a login is refused.
    """

    password: bytes | None
    labels: Mapping[str, tuple[str, ...]]
    previous: PreviousPassword | None = None
    expires: float | None = None
    addresses: tuple[Network, ...] = ()
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How many wrong passwords are checked within an hour; those that come after are refused at
    once.

    `account_failures` are those of one account, `address_failures` those of one network, both
    without the networks that the account has logged in from: at each of these it has
    `known_failures`.
    """

    account_failures: int = 100
    known_failures: int = 20
    address_failures: int = 300


@dataclass(frozen=True, slots=True)
class Configuration:
    """A valid file. `digest` is the SHA-256 of its bytes, in hexadecimal.

    `signing_key` is there when the keys were checked.
    """

    server: Server
    token: Token
    users: Mapping[str, User]
    acl: acl.AccessControlList
    digest: str
    limits: Limits = Limits()
    signing_key: SigningKey | None = None
    warnings: tuple[str, ...] = ()
