"""Lets a user in, or says why not."""

from __future__ import annotations

import time
from typing import Any

from ..addresses import Address, Network
from ..config import Configuration
from ..config.model import User
from ..log import second
from ..token_request import TokenRequest
from .passwords import Passwords, is_generated

WRONG_PASSWORD = "wrong user or password"


class LoginNotAllowed(Exception):
    """The login is refused. The client gets the text; the log gets `result`."""

    def __init__(self, message: str, result: str) -> None:
        super().__init__(message)
        self.result = result


class Authentication:
    """Checks logins by the configuration in force, which may change while a login waits."""

    def __init__(self, configuration: Configuration) -> None:
        self.passwords = Passwords()
        self.use(configuration)

    def use(self, configuration: Configuration) -> None:
        """Put a configuration in force."""
        self.configuration = configuration
        self.passwords.guard.use(configuration.limits)

    async def user_of(
        self, request: TokenRequest, address: Address, log: dict[str, Any]
    ) -> tuple[Configuration, User]:
        """The user who is logged in, and the configuration that decided it.

        Raises:
            LoginNotAllowed: there are no credentials, or they are wrong.
            RateLimited: there were too many wrong passwords.
        """
        while True:
            configuration = self.configuration
            user = configuration.users.get(request.account)
            if user is not None and user.password is None:
                return configuration, user
            if user is None and not request.offered:
                # Clients show this text. There was no wrong password yet.
                raise LoginNotAllowed(
                    "log in first: nothing here is allowed without a login", "not_signed_in"
                )
            now = time.time()
            outside = user is not None and is_outside(user.addresses, address)
            if user is not None and (reason := not_allowed_reason(user, address, now)):
                log["shut"] = reason
            # Outside a user's addresses, no password is right and none counts against the user.
            counted_as = outsider(request.account) if outside else request.account
            digests, hashes = secrets_of(None if outside else user, now)
            right = is_generated(request.password, digests)
            if not right:
                right = await self.passwords.verify(counted_as, request.password, hashes, address)
            if outside:
                raise LoginNotAllowed(WRONG_PASSWORD, "not_let_in")
            if not right:
                raise LoginNotAllowed(WRONG_PASSWORD, "wrong_password")
            # The configuration has changed meanwhile: decide by the new one.
            if configuration is not self.configuration:
                continue
            assert user is not None
            if reason := not_allowed_reason(user, address, time.time()):
                log.pop("shut", None)
                raise LoginNotAllowed(f"{request.account} {reason}", "not_let_in")
            return configuration, user


def secrets_of(user: User | None, now: float) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """What a user's password is compared with: digests of generated secrets, and bcrypt hashes of
    chosen passwords.

    Both are empty without a user.
    """
    if user is None or user.password is None:
        return (), ()
    accepted = [(user.digest, user.password)]
    if user.previous is not None and now < user.previous.until:
        accepted.append((user.previous.digest, user.previous.password))
    return (
        tuple(digest for digest, _ in accepted if digest is not None),
        tuple(bcrypt_hash for digest, bcrypt_hash in accepted if digest is None),
    )


def not_allowed_reason(user: User, address: Address, now: float) -> str:
    """Why the user may not log in from this address at this time; "" if they may.

    A client sees this only if its password is right.
    """
    if user.expires is not None and now >= user.expires:
        return f"expired at {second(int(user.expires))}Z"
    if is_outside(user.addresses, address):
        return f"may not log in from {address}"
    return ""


def is_outside(addresses: tuple[Network, ...], address: Address) -> bool:
    """Whether a user with these addresses may not log in from this one. Without any, all may."""
    return bool(addresses) and not any(address in network for network in addresses)


def outsider(account: str) -> str:
    """The name under which wrong passwords from outside a user's addresses are counted.

    No client can send it: requests are read as strict UTF-8, which has no lone surrogates.
    """
    return f"\ud800{account}"
