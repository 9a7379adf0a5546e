"""The login at one registry, as an httpx.Auth: Basic, or distribution's token authentication.

A request is sent with the token for its scope, if there is one. A 401 says which login the registry
wants (its challenge): the token is fetched and the request is sent again. Tokens are kept by scope
until shortly before they expire. The password goes only to the registry itself and to the token
server that it names, never to other hosts that redirects or uploads lead to.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpx

from .credentials import Credentials
from .errors import ClientError, Denied, ElsewhereForTokens, LoginRefused
from .failures import detail, host_of, status
from .text import clean
from .www_authenticate import Challenge, parse

# A request's extension with the scope that it needs.
SCOPE = "scope"
# Bounds for one token request, so that neither it nor the token is too long for a proxy.
SCOPES_AT_ONCE = 25
SCOPES_LENGTH = 2000
# A token is fetched again so many seconds before it expires.
MARGIN = 5.0

Scopes = tuple[str, ...]


@dataclass(slots=True)
class _Token:
    value: str
    expires: float

    @property
    def header(self) -> str:
        return f"Bearer {self.value}"


class RegistryAuth(httpx.Auth):
    """The login at one registry. A request names its scope in the extension SCOPE."""

    def __init__(
        self,
        registry: str,
        base: str,
        credentials: Credentials | None,
        *,
        plain_http: bool,
        token_hosts: frozenset[str] | None = None,
    ) -> None:
        """`base` is the registry's address; `plain_http` allows a token server without TLS;
        `token_hosts` are the hosts that may see the login besides the registry's own (None: any
        that it names)."""
        self.registry = registry
        self.credentials = credentials
        self._base = base
        self._plain_http = plain_http
        self._token_hosts = token_hosts
        self._is_basic = False
        self._realm = ""
        self._service = ""
        self._tokens: dict[Scopes, _Token] = {}
        self._locks: dict[Scopes, asyncio.Lock] = {}
        self._groups: dict[str, Scopes] = {}

    @property
    def user(self) -> str:
        """The user in words."""
        if self.credentials is None:
            return "someone without login"
        return self.credentials.user or "the user of the stored identity token"

    @property
    def is_known(self) -> bool:
        """Whether the registry has said which login it wants."""
        return self._is_basic or bool(self._realm)

    def announce(self, scopes: Sequence[str]) -> None:
        """Announces scopes that will be needed, so that one token is fetched for many of them."""
        group: list[str] = []
        for scope in dict.fromkeys(scopes):
            if group and (
                len(group) == SCOPES_AT_ONCE or len("".join(group)) + len(scope) > SCOPES_LENGTH
            ):
                self._groups.update(dict.fromkeys(group, tuple(group)))
                group = []
            group.append(scope)
        self._groups.update(dict.fromkeys(group, tuple(group)))

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Yields the request, and token requests before it. Raises Denied, LoginRefused, or
        ClientError if the registry's challenge cannot be met."""
        scope = str(request.extensions.get(SCOPE, ""))
        # Token requests: the key under which the token is kept, and the scopes to ask for.
        to_try = self._known_scopes(scope) if self._is_own(request.url) else []
        for is_last in (False, True):
            token = None
            for key, scopes in to_try:
                async with self._locks.setdefault(key, asyncio.Lock()):
                    token = self._held(key)
                    if token is None:
                        sent_at = time.monotonic()
                        answer = yield self._token_request(scopes)
                        if answer.status_code in (401, 403) and len(key) > 1:
                            # The request for many scopes was refused: ask for this one alone.
                            self._groups.pop(scope, None)
                            continue
                        token = self._tokens[key] = self._token_of(answer, sent_at)
                break
            self._authorize(request, token)
            answer = yield request
            if answer.status_code != 401:
                return
            if is_last or not (self._is_own(request.url) and self._is_own(answer.request.url)):
                raise self._denied(answer, scope)
            to_try = self._accept_challenge(answer, scope, shown=request.headers)

    def _authorize(self, request: httpx.Request, token: _Token | None) -> None:
        if token is not None:
            request.headers["Authorization"] = token.header
        elif self._is_basic and self._is_own(request.url):
            request.headers.update(basic(self.credentials))

    def _is_own(self, url: httpx.URL | str) -> bool:
        """Whether an address belongs to the registry, so that our login may be sent there."""
        own, other = urlsplit(self._base), urlsplit(str(url))
        return (own.scheme, own.netloc) == (other.scheme, other.netloc)

    def _held(self, key: Scopes) -> _Token | None:
        token = self._tokens.get(key)
        return token if token is not None and token.expires >= time.monotonic() else None

    def _known_scopes(self, scope: str) -> list[tuple[Scopes, Scopes]]:
        """The scopes to ask the known token server for: the announced group, then this alone."""
        if not self._realm or not scope:
            return []
        groups = dict.fromkeys([self._groups.get(scope, (scope,)), (scope,)])
        return [(group, group) for group in groups]

    # Challenges

    def _accept_challenge(
        self, answer: httpx.Response, scope: str, shown: Mapping[str, str]
    ) -> list[tuple[Scopes, Scopes]]:
        """Learns from a 401 how to log in. Returns the scopes to ask the token server for, if the
        registry has one."""
        challenges = parse(answer.headers.get_list("www-authenticate"))
        by_scheme = {challenge.scheme: challenge for challenge in reversed(challenges)}
        used = shown.get("Authorization", "")
        if "bearer" in by_scheme:
            return self._accept_bearer(by_scheme["bearer"], scope, used)
        if "basic" in by_scheme:
            if self.credentials is None or not self.credentials.user or used:
                raise self._denied(answer, scope)
            self._is_basic = True
            return []
        if challenges:
            raise ClientError(
                f"{self.registry} wants a login by {clean(', '.join(by_scheme))}; wharf knows "
                "Bearer and Basic"
            )
        raise self._denied(answer, scope)

    def _accept_bearer(
        self, challenge: Challenge, scope: str, used: str
    ) -> list[tuple[Scopes, Scopes]]:
        parameters = challenge.parameters
        try:
            realm = urljoin(self._base, parameters.get("realm", ""))
            url = httpx.URL(realm)
            scheme = url.scheme if parameters.get("realm") else ""
        except (ValueError, httpx.InvalidURL):
            scheme = ""
        if scheme not in ("http", "https"):
            raise ClientError(
                f"{self.registry} wants a token and does not say from where (realm): its "
                "configuration is wrong"
            )
        if scheme == "http" and not self._plain_http:
            raise ClientError(
                f"{self.registry} sends its users for tokens to {clean(realm)}, without TLS, where "
                "passwords would travel unencrypted: wharf does not go there; correct the realm in "
                "the registry's configuration"
            )
        # As httpx itself reads the address, which then connects there.
        self._check_realm(url.netloc.decode("ascii", "replace"))
        self._realm, self._service = realm, parameters.get("service", "")
        if not used and scope in self._groups:
            return self._known_scopes(scope)
        # The group's token was not enough: ask for this scope alone, as the registry says.
        self._groups.pop(scope, None)
        token = self._tokens.get((scope,))
        if token is not None and used == token.header:
            del self._tokens[(scope,)]
        wanted = tuple(parameters.get("scope", "").split()) or ((scope,) if scope else ())
        return [((scope,), wanted)]

    def _check_realm(self, host: str) -> None:
        """Raises ElsewhereForTokens if the login would go to a host that may not see it."""
        if self.credentials is None or self._token_hosts is None:
            return
        if host not in self._token_hosts and host != host_of(self._base):
            raise ElsewhereForTokens(
                f"{self.registry} sends logins to {host} for a token, which is another host: "
                "nothing was sent there"
            )

    # Tokens

    def _token_request(self, scopes: Scopes) -> httpx.Request:
        if self.credentials is not None and self.credentials.identity_token:
            form = {
                "grant_type": "refresh_token",
                "client_id": "wharf",
                "refresh_token": self.credentials.identity_token,
                "service": self._service,
                "scope": " ".join(scopes),
            }
            return httpx.Request("POST", self._realm, data=form)
        query: list[tuple[str, str | int | float | bool | None]] = []
        if self._service:
            query.append(("service", self._service))
        query += [("scope", scope) for several in scopes for scope in several.split()]
        url = httpx.URL(self._realm).copy_merge_params(httpx.QueryParams(query))
        return httpx.Request("GET", url, headers=basic(self.credentials))

    def _token_of(self, answer: httpx.Response, sent_at: float) -> _Token:
        """The token in the token server's answer. Raises LoginRefused, ClientError."""
        if answer.status_code in (401, 403):
            raise self.refused(answer)
        place = host_of(self._realm)
        if answer.status_code != 200:
            raise ClientError(
                f"{place}, which gives tokens for {self.registry}, answers {status(answer)}"
                f"{detail(answer)}"
            )
        try:
            document = answer.json()
            value = str(document.get("token") or document.get("access_token") or "")
            lifetime = float(document.get("expires_in") or 60)
        except (ValueError, AttributeError, TypeError):
            value = ""
        if not value or not value.isascii() or not value.isprintable():
            raise ClientError(
                f"{place} answers with something other than a token: is the realm of "
                f"{self.registry} right?"
            )
        return _Token(value, sent_at + max(lifetime - MARGIN, 1.0))

    # Errors

    def refused(self, answer: httpx.Response) -> LoginRefused:
        """The error if the registry, or its token server, refused the password or its absence."""
        place = host_of(str(answer.request.url))
        asked_at = "" if place == host_of(self._base) else f" (asked at {place})"
        if self.credentials is None:
            return LoginRefused(
                f"{self.registry} wants a login{asked_at}: wharf login {self.registry}, or "
                "--user NAME"
            )
        return LoginRefused(
            f"{self.registry} does not accept the login of {self.user}{asked_at}{detail(answer)}: "
            f"a wrong or changed password? wharf login {self.registry}"
        )

    def _denied(self, answer: httpx.Response, scope: str) -> Denied:
        """The error if the registry refuses the request although it has our login."""
        if self.credentials is None or self._is_basic:
            return self.refused(answer)
        return Denied(f"{self.user} may not {_in_words(scope)} on {self.registry}{detail(answer)}")


def basic(credentials: Credentials | None) -> dict[str, str]:
    """The header with name and password; empty without them."""
    if credentials is None or not credentials.user:
        return {}
    pair = f"{credentials.user}:{credentials.password}".encode()
    return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


def _in_words(scope: str) -> str:
    """`repository:team/app:pull` → "pull team/app"."""
    kind, _, rest = scope.partition(":")
    name, _, verbs = rest.rpartition(":")
    if kind == "repository" and name:
        return f"{verbs.replace(',', ' and ')} {name}"
    return "see the catalog" if kind == "registry" else "do this"
