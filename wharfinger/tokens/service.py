"""The token service itself: from a request to an answer, under the configuration in force.

Knows nothing of HTTP servers; `server` gives it requests and writes down what it says.
"""

from __future__ import annotations

import functools
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from . import challenge, passwords
from .acl import Address, Network, within
from .challenge import BadCredentials, BadRequest, Challenge, Scope
from .configuration import Configuration, User
from .decision import decide, rule
from .failures import Later
from .keys import ENCODE

# A token is valid from so many seconds before it is made: clocks differ.
CLOCK_SKEW = 10
WRONG = "wrong user or password"
# What a client sends, as it stands in the log: so many characters of a field, escapes counted, and
# of a list so many of the first. Otherwise whoever writes long requests pushes everybody else's
# decisions out.
LONGEST, LONGEST_ACTION = 256, 32
FIRST = 5


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: HTTP status, JSON body, headers, and the line for the log (without secrets)."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]
    log: dict[str, Any]


class Shut(Exception):
    """The user is not let in, though there is one: the text is what the client is told."""


class Service:
    """Answers requests for tokens. `use` swaps the configuration between two requests."""

    def __init__(self, configuration: Configuration) -> None:
        self.passwords = passwords.Passwords()
        self.use(configuration)

    def use(self, configuration: Configuration) -> None:
        """Put a configuration, loaded with `check_keys`, in force."""
        if configuration.signing_key is None:
            raise ValueError("the configuration was loaded without its signing key")
        self.configuration = configuration
        self.passwords.guard.use(configuration.limits)

    def close(self) -> None:
        self.passwords.close()

    async def answer(
        self,
        query: bytes,
        form: bytes | None,
        authorization: str | None,
        real_ip: str | None,
        connection: str | None,
    ) -> Reply:
        """What the request gets. `form` is a POST's body, `real_ip` the proxy's header."""
        log: dict[str, Any] = {"event": "token"}
        try:
            server = self.configuration.server
            address = challenge.client_address(server, real_ip, connection)
            log["client"] = str(address)
            request = challenge.read(query, form, authorization)
            log |= {
                "account": _short(request.account),
                "service": _short(request.service),
                "scopes": len(request.scopes),
                "asked": [_logged(scope, scope.actions) for scope in request.scopes[:FIRST]],
            }
            user = await self._authenticate(request, address, log)
        except BadRequest as error:
            log["result"] = "malformed"
            return refusal(400, "UNSUPPORTED", str(error), error.error, log)
        except BadCredentials as error:
            return self._unauthorized(str(error), log | {"result": "malformed"})
        except Shut as error:
            return self._unauthorized(str(error), log | {"result": "not_let_in"})
        except Later as error:
            headers = {"Retry-After": str(error.retry_after)}
            log |= {"result": "limited", "limit": error.limit}
            return refusal(
                429, "TOOMANYREQUESTS", str(error), "temporarily_unavailable", log, headers
            )
        if user is None:
            # The clients show this text; who has not logged in has given nothing wrong.
            if request.offered:
                log["result"] = "wrong_password"
                return self._unauthorized(WRONG, log)
            return self._unauthorized(
                "log in first: nothing is given here to who is not logged in",
                log | {"result": "not_signed_in"},
            )
        return self._grant(request, user, address, log)

    async def _authenticate(
        self, request: Challenge, address: Address, log: dict[str, Any]
    ) -> User | None:
        """The user who is let in; None where nobody is."""
        while True:
            configuration = self.configuration
            user = configuration.users.get(request.account)
            if user is not None and user.password is None:
                return user
            if user is None and not request.offered:
                return None
            now = time.time()
            outside = user is not None and is_outside(user.addresses, address)
            if user is not None and (closed := shut(user, address, now)):
                log["shut"] = closed
            # From outside a user's addresses nothing is right, and nothing counts against the user.
            counted = elsewhere(request.account) if outside else request.account
            digests, hashes = secrets_of(None if outside else user, now)
            right = passwords.is_generated(request.password, digests)
            if not right:
                right = await self.passwords.verify(counted, request.password, hashes, address)
            if outside:
                raise Shut(WRONG)
            if not right:
                return None
            # A user who was removed or changed meanwhile is judged by what is in force now.
            if configuration is not self.configuration:
                continue
            if user is not None and (closed := shut(user, address, time.time())):
                log.pop("shut", None)
                raise Shut(f"{request.account} {closed}")
            return user

    def _unauthorized(self, message: str, log: dict[str, Any]) -> Reply:
        issuer = self.configuration.token.issuer
        realm = "".join(c for c in issuer if c.isascii() and c.isprintable() and c not in '"\\')
        headers = {"WWW-Authenticate": f'Basic realm="{realm}"'}
        return refusal(401, "UNAUTHORIZED", message, "invalid_grant", log, headers)

    def _grant(
        self, request: Challenge, user: User, address: Address, log: dict[str, Any]
    ) -> Reply:
        configuration = self.configuration
        answers = decide(configuration, request, user, address)
        access = [
            _resource(scope, answer.actions)
            for scope, answer in zip(request.scopes, answers, strict=True)
        ]
        log |= {
            "result": "granted",
            "status": 200,
            "granted": [
                _logged(scope, answer.actions)
                for scope, answer in zip(request.scopes[:FIRST], answers, strict=False)
            ],
            "rules": [rule(configuration, answer) for answer in answers[:FIRST]],
        }
        now = int(time.time())
        token = sign(configuration, request.account, request.service, access, now)
        body = {
            "token": token,
            "access_token": token,
            "expires_in": configuration.token.expiration,
            "issued_at": _instant(now),
        }
        return Reply(200, body, {}, log)


def secrets_of(user: User | None, now: float) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """What a user's password may belong to: digests of generated secrets, bcrypt hashes of others.

    Both are empty where there is no user.
    """
    if user is None or user.password is None:
        return (), ()
    found = [(user.digest, user.password)]
    if user.previous is not None and now < user.previous.until:
        found.append((user.previous.digest, user.previous.password))
    return (
        tuple(digest for digest, _ in found if digest is not None),
        tuple(stored for digest, stored in found if digest is None),
    )


def shut(user: User, address: Address, now: float) -> str:
    """Why the user is not let in from this address at this time; "" where that is not so.

    Who has not shown the right password must not be told.
    """
    if user.expires is not None and now >= user.expires:
        return f"expired at {_instant(user.expires)}"
    if is_outside(user.addresses, address):
        return f"may not log in from {address}"
    return ""


def is_outside(addresses: tuple[Network, ...], address: Address) -> bool:
    """Whether a user with these addresses may not log in from this one; none: from anywhere."""
    return bool(addresses) and not any(within(network, address) for network in addresses)


def elsewhere(account: str) -> str:
    """The name under which a user is counted for who may not log in from where they are.

    Nobody has it: what a client sends is read as strict UTF-8, which has no lone surrogate.
    """
    return f"\ud800{account}"


def sign(
    configuration: Configuration,
    account: str,
    service: str,
    access: list[dict[str, Any]],
    now: int,
) -> str:
    """The signed JWT. `now` in seconds since the epoch."""
    key = configuration.signing_key
    assert key is not None
    claims = {
        "iss": configuration.token.issuer,
        "sub": account,
        "aud": service,
        "exp": now + configuration.token.expiration,
        "nbf": now - CLOCK_SKEW,
        "iat": now,
        "jti": secrets.token_urlsafe(16),
        "access": access,
    }
    return key.token(claims)


@functools.lru_cache(maxsize=64)
def _instant(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def refusal(
    status: int,
    code: str,
    message: str,
    error: str,
    log: dict[str, Any],
    headers: dict[str, str] | None = None,
) -> Reply:
    """An error in the registry's shape, which docker shows, and in RFC 6749's."""
    body = {
        "errors": [{"code": code, "message": message, "detail": None}],
        "error": error,
        "error_description": message,
    }
    return Reply(status, body, headers or {}, log | {"status": status, "reason": _short(message)})


def _short(text: str, longest: int = LONGEST) -> str:
    """The text, or its beginning, with at most `longest` characters as JSON has it (`\\u00e9`)."""
    if len(text) * 12 <= longest:
        return text  # however it is escaped
    short = text[:longest]
    while (written := len(ENCODE(short)) - 2) > longest:
        short = short[: len(short) * longest // written]
    return short if short == text else f"{short}…"


def _logged(scope: Scope, actions: tuple[str, ...]) -> dict[str, Any]:
    resource = {"type": _short(scope.type), "name": _short(scope.name)}
    return resource | {"actions": [_short(action, LONGEST_ACTION) for action in actions[:FIRST]]}


def _resource(scope: Scope, actions: tuple[str, ...]) -> dict[str, Any]:
    return {"type": scope.type, "name": scope.name, "actions": list(actions)}
