"""From a token request to an answer: log in, decide each scope, sign.

It does not know about HTTP servers: app.py passes requests to it and writes the log.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

from .acl import Answer, Question
from .addresses import Address
from .config import Configuration
from .config.model import User
from .keys import ENCODE
from .log import second
from .login.authentication import Authentication, LoginNotAllowed
from .login.limits import RateLimited
from .token_request import (
    BadCredentials,
    BadRequest,
    Scope,
    TokenRequest,
    client_address,
    read_request,
)

# A token is valid from so many seconds before it is made: clocks differ.
CLOCK_SKEW = 10
# Bounds on a client's text in the log: characters of a field, escapes included, and entries of a
# list. Without them, long requests would push the decisions about other clients out of the log.
LONGEST, LONGEST_ACTION = 256, 32
FIRST = 5


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: HTTP status, JSON body, headers, and its line in the log (without secrets)."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]
    log: dict[str, Any]


class Issuer:
    """Answers token requests. `use` swaps the configuration between two requests."""

    def __init__(self, configuration: Configuration) -> None:
        self.login = Authentication(configuration)
        self.use(configuration)

    @property
    def configuration(self) -> Configuration:
        """The configuration in force."""
        return self.login.configuration

    def use(self, configuration: Configuration) -> None:
        """Put a configuration, loaded with `check_keys`, in force."""
        if configuration.signing_key is None:
            raise ValueError("the configuration was loaded without its signing key")
        self.login.use(configuration)

    def close(self) -> None:
        """End the threads that check passwords."""
        self.login.passwords.close()

    async def answer(
        self,
        query: bytes,
        form: bytes | None,
        authorization: str | None,
        real_ip: str | None,
        connection: str | None,
    ) -> Reply:
        """The answer to a request. `form` is the body of a POST, `real_ip` the proxy's header."""
        log: dict[str, Any] = {"event": "token"}
        try:
            address = client_address(self.configuration.server, real_ip, connection)
            log["client"] = str(address)
            request = read_request(query, form, authorization)
            log |= {
                "account": _short(request.account),
                "service": _short(request.service),
                "scopes": len(request.scopes),
                "asked": [_logged(scope, scope.actions) for scope in request.scopes[:FIRST]],
            }
            configuration, user = await self.login.user_of(request, address, log)
        except BadRequest as error:
            log["result"] = "malformed"
            return refusal(400, "UNSUPPORTED", str(error), error.error, log)
        except BadCredentials as error:
            return self._unauthorized(str(error), log | {"result": "malformed"})
        except LoginNotAllowed as error:
            return self._unauthorized(str(error), log | {"result": error.result})
        except RateLimited as error:
            headers = {"Retry-After": str(error.retry_after)}
            log |= {"result": "limited", "limit": error.limit}
            return refusal(
                429, "TOOMANYREQUESTS", str(error), "temporarily_unavailable", log, headers
            )
        return _grant(configuration, request, user, address, log)

    def _unauthorized(self, message: str, log: dict[str, Any]) -> Reply:
        issuer = self.configuration.token.issuer
        realm = "".join(c for c in issuer if c.isascii() and c.isprintable() and c not in '"\\')
        headers = {"WWW-Authenticate": f'Basic realm="{realm}"'}
        return refusal(401, "UNAUTHORIZED", message, "invalid_grant", log, headers)


def decide(
    configuration: Configuration, request: TokenRequest, user: User, address: Address
) -> list[Answer]:
    """The decision about each scope of the request."""
    labels = tuple(user.labels.items())
    return [
        configuration.acl.decide(
            Question(
                request.account,
                scope.type,
                scope.name,
                request.service,
                address,
                scope.actions,
                labels,
            )
        )
        for scope in request.scopes
    ]


def rule(configuration: Configuration, answer: Answer) -> str | None:
    """The deciding entry in words: its place in the file (from 0) and its comment."""
    if answer.entry is None:
        return None
    comment = configuration.acl.entries[answer.entry].comment
    return f"acl[{answer.entry}]" + (f" {comment}" if comment else "")


def _grant(
    configuration: Configuration,
    request: TokenRequest,
    user: User,
    address: Address,
    log: dict[str, Any],
) -> Reply:
    answers = decide(configuration, request, user, address)
    access = [
        {"type": scope.type, "name": scope.name, "actions": list(answer.actions)}
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
    token = _signed(configuration, request, access, now)
    body = {
        "token": token,
        "access_token": token,
        "expires_in": configuration.token.expiration,
        "issued_at": f"{second(now)}Z",
    }
    return Reply(200, body, {}, log)


def _signed(
    configuration: Configuration, request: TokenRequest, access: list[dict[str, Any]], now: int
) -> str:
    """The JWT. `now` in seconds since the epoch."""
    key = configuration.signing_key
    assert key is not None
    return key.token(
        {
            "iss": configuration.token.issuer,
            "sub": request.account,
            "aud": request.service,
            "exp": now + configuration.token.expiration,
            "nbf": now - CLOCK_SKEW,
            "iat": now,
            "jti": secrets.token_urlsafe(16),
            "access": access,
        }
    )


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
    """The text or its beginning: at most `longest` characters as written in JSON (`\\u00e9`)."""
    if len(text) * 12 <= longest:
        return text  # however it is escaped
    short = text[:longest]
    while (written := len(ENCODE(short)) - 2) > longest:
        short = short[: len(short) * longest // written]
    return short if short == text else f"{short}…"


def _logged(scope: Scope, actions: tuple[str, ...]) -> dict[str, Any]:
    resource = {"type": _short(scope.type), "name": _short(scope.name)}
    return resource | {"actions": [_short(action, LONGEST_ACTION) for action in actions[:FIRST]]}
