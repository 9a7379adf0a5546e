"""A request for a token, as the registry's clients send it. Pure: no I/O, no framework.

It follows distribution's token authentication specification (GET) and its OAuth2 form (POST), as
docker_auth 1.14 reads them.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from . import addresses
from .addresses import Address
from .config.model import Server

# Scopes in one request. The largest requests known come from builders that mount layers from a
# dozen repositories.
MOST_SCOPES = 100
# Longer queries (in bytes) are not remembered, so that memory is bounded.
LONGEST_KEPT = 1024
RESOURCE_TYPE = re.compile(r"([a-z0-9]+)(\([a-z0-9]+\))?")
LONGEST_ADDRESS = 64
HOST_AND_PORT = re.compile(r"\[?(.+?)\]?:[0-9]+")


class BadRequest(ValueError):
    """The client did not send a request for a token: it gets a 400 with this text.

    `error` is the code from RFC 6749, section 5.2.
    """

    def __init__(self, message: str, error: str = "invalid_request") -> None:
        super().__init__(message)
        self.error = error


class BadCredentials(ValueError):
    """The client sent credentials that cannot be read: it gets a 401."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The actions asked for on one resource, sorted."""

    type: str
    name: str
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request for a token. `offered`: it came with credentials."""

    account: str
    password: bytes = field(repr=False)
    offered: bool
    service: str
    scopes: tuple[Scope, ...]


def read_request(query: bytes, form: bytes | None, authorization: str | None) -> TokenRequest:
    """The request in a query string, a POST's body (None: not a POST) and a Basic header.

    Raises:
        BadRequest: the request cannot be understood.
        BadCredentials: the Authorization header is not a valid Basic one.
    """
    if form is None and len(query) <= LONGEST_KEPT:
        service, account, scopes = _asked_before(query)
        parameters = []
    else:
        parameters = _parameters(form or b"") + _parameters(query)
        service, account, scopes = _asked(parameters)
    credentials = _basic(authorization) if authorization is not None else None
    if form is not None:
        grant = _first(parameters, "grant_type")
        if grant not in ("", "password"):
            raise BadRequest(
                f"grant_type {grant[:40]!r} is not offered, only 'password'",
                "unsupported_grant_type",
            )
        username = _first(parameters, "username")
        password = _first(parameters, "password")
        if credentials is None and username and password:
            credentials = username, password.encode()
    if credentials is None:
        # An account without a password has a wrong password; it is not the anonymous user.
        return TokenRequest(account, b"", account != "", service, scopes)
    if account not in ("", credentials[0]):
        raise BadRequest("the user and the account parameter differ")
    return TokenRequest(*credentials, credentials[0] != "", service, scopes)


def _asked(parameters: Sequence[tuple[str, str]]) -> tuple[str, str, tuple[Scope, ...]]:
    """Service, account and scopes."""
    scopes = read_scopes([value for name, value in parameters if name == "scope"])
    return _first(parameters, "service"), _first(parameters, "account"), scopes


@functools.lru_cache(maxsize=1024)
def _asked_before(query: bytes) -> tuple[str, str, tuple[Scope, ...]]:
    """The same as `_asked`, remembered: clients repeat their queries."""
    return _asked(_parameters(query))


def _parameters(encoded: bytes) -> list[tuple[str, str]]:
    try:
        pairs = parse_qsl(
            encoded.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=4 * MOST_SCOPES,
        )
    except ValueError:
        raise BadRequest("the parameters are not form data in UTF-8") from None
    if any("\0" in name or ("\0" in value and name != "password") for name, value in pairs):
        raise BadRequest("a parameter has a NUL byte in it")
    return pairs


def _first(parameters: Sequence[tuple[str, str]], name: str) -> str:
    return next((value for key, value in parameters if key == name), "")


def read_scopes(values: Sequence[str]) -> tuple[Scope, ...]:
    """The scopes in the values of the `scope` parameters; each value may have several.

    Raises:
        BadRequest: one of them is malformed.
    """
    if not values or values[0] == "":
        return ()
    texts = [text for value in values for text in value.split(" ")]
    if len(texts) > MOST_SCOPES:
        raise BadRequest(f"more than {MOST_SCOPES} scopes in one request")
    return tuple(map(_scope, texts))


def _scope(text: str) -> Scope:
    parts = text.split(":")
    resource_type = RESOURCE_TYPE.fullmatch(parts[0])
    # A name may begin with a registry's host and port.
    name = ":".join(parts[1:-1])
    if resource_type is None or len(parts) not in (3, 4) or not all(parts[:-1]):
        raise BadRequest(f"invalid scope {text[:200]!r}: a scope is type:name:actions")
    return Scope(resource_type[1], name, tuple(sorted(parts[-1].split(","))))


def _basic(header: str) -> tuple[str, bytes]:
    scheme, _, encoded = header.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError(scheme)
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        if not colon:
            raise ValueError("no colon")
        return user.decode(), password
    except (ValueError, binascii.Error):
        raise BadCredentials("the Authorization header is not a valid Basic one") from None


def client_address(server: Server, header: str | None, connection: str | None) -> Address:
    """The client's address: from the proxy's header if one is configured, or of the connection.

    Raises:
        BadRequest: the header is missing or not an address.
    """
    text = connection or ""
    if server.real_ip_header:
        texts = (header or "").split(",")
        position = server.real_ip_position
        if position < 0:
            position = max(len(texts) + position, 0)
        text = texts[position].strip() if position < len(texts) else ""
    address = _address(text) if len(text) <= LONGEST_ADDRESS else None
    if address is None:
        raise BadRequest("the client's address is missing or not an address")
    return address


@functools.lru_cache(maxsize=4096)
def _address(text: str) -> Address | None:
    with_port = HOST_AND_PORT.fullmatch(text)
    for candidate in (text, *(with_port.groups() if with_port else ())):
        try:
            return addresses.address(candidate)
        except ValueError:
            continue
    return None
