"""The content of a valid configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import acl
from ..addresses import Network
from ..keys import SigningKey


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server listens, and where it finds a client's address.

    `real_ip_position` selects one of the comma-separated addresses in the header `real_ip_header`,
    counted from 0, or from the end if negative.
    """

    host: str
    port: int
    path_prefix: str
    real_ip_header: str
    real_ip_position: int


@dataclass(frozen=True, slots=True)
class Token:
    """What all tokens have in common; `expiration` in seconds."""

    issuer: str
    expiration: int
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class PreviousPassword:
    """A bcrypt hash that is also accepted before `until` (seconds since the epoch).

    `digest` as in User.
    """

    password: bytes
    until: float
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class User:
    """A user's bcrypt hash (None for the anonymous user, who needs no password) and labels.

    `digest` is the SHA-256 of a generated secret; None if the password is a chosen one.
    A login is refused from `expires` (seconds since the epoch) on, and from outside `addresses` if
    there are any.
    """

    password: bytes | None
    labels: Mapping[str, tuple[str, ...]]
    previous: PreviousPassword | None = None
    expires: float | None = None
    addresses: tuple[Network, ...] = ()
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How many wrong passwords are checked within an hour. After that, logins are refused at once.

    `account_failures` is for one account, `address_failures` for one network. Neither counts an
    account at a network that it has logged in from: there, `known_failures` is its limit.
    """

    account_failures: int = 100
    known_failures: int = 20
    address_failures: int = 300


@dataclass(frozen=True, slots=True)
class Configuration:
    """A valid file. `digest` is the SHA-256 of its bytes, in hexadecimal.

    `signing_key` is set if the file was loaded with its keys.
    """

    server: Server
    token: Token
    users: Mapping[str, User]
    acl: acl.AccessControlList
    digest: str
    limits: Limits = Limits()
    signing_key: SigningKey | None = None
    warnings: tuple[str, ...] = ()
