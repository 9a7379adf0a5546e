"""HTTP as a client with a connection pool speaks it: connections are reused.

nginx closes idle connections at a reload, so a request may be sent on a connection that is just
being closed. Nothing is lost: before the first byte of an answer no server has begun to handle the
request, and Go's http.Transport (docker, containerd, podman, crane) sends it once more on another
connection. This client does the same, once, and counts it. Everything else is an error.
"""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from .record import Attempt

# A body that can be produced again, for a request that is sent again.
Body = Callable[[], Iterable[bytes]]

# A token is not used any more from this many seconds before its end.
_MARGIN = 10


class Unexpected(Exception):
    """An answer that differs from what the specification promises."""


@dataclass(frozen=True)
class Target:
    """The registry `name` at an address, so that no name resolution is involved."""

    name: str
    address: str
    port: int = 443


@dataclass(frozen=True)
class Account:
    """The user that asks."""

    name: str
    password: str = field(repr=False)

    @property
    def basic(self) -> dict[str, str]:
        """The Authorization header of a login."""
        pair = base64.b64encode(f"{self.name}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}


@dataclass
class Course:
    """How far a request has got, according to httpcore's trace."""

    reused: bool = True
    answered: bool = False

    def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.started":
            self.reused = False
        elif event == "http11.receive_response_headers.complete":
            self.answered = True


def is_stale(error: Exception, course: Course) -> bool:
    """Whether a request failed only because the server was closing a reused connection.

    The connection was closed in order (RemoteDisconnected), reset (ECONNRESET) or gone while
    sending (EPIPE), and no answer had begun. A closed new connection does not count, and neither
    does a timeout.
    """
    if not course.reused or course.answered:
        return False
    if isinstance(error, httpx.RemoteProtocolError):
        return "disconnected without sending a response" in str(error)
    return isinstance(error, (httpx.ReadError, httpx.WriteError))


class _SharedContext(ssl.SSLContext):
    """A TLS context that threads may share while they connect.

    httpcore sets the ALPN protocols of its context before every connection. Meanwhile Python lets
    another thread's OpenSSL copy them without a lock: about one ClientHello in 80,000 held memory
    that had just been freed, and nginx answered it with the alert decode_error
    (https://github.com/python/cpython/issues/141012). So this class sets them only once.
    """

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """Does nothing: `trusting` has set them."""

    @classmethod
    def trusting(cls, ca_file: str) -> _SharedContext:
        """A context for HTTP/1.1 that trusts only `ca_file`, as strictly as Python 3.13 does."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(ca_file)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        ssl.SSLContext.set_alpn_protocols(context, ["http/1.1"])
        return context


class Session:
    """One client's connections. Trusts only `ca_file`."""

    def __init__(self, target: Target, account: Account, ca_file: str, timeout: float = 60) -> None:
        self.target = target
        self.account = account
        self.trusts = ca_file
        self._tls = _SharedContext.trusting(ca_file)
        self._timeout = timeout
        self._pool = self._client()
        self._tokens: dict[str, tuple[str, float]] = {}
        self._realm: tuple[str, str] | None = None

    def _client(self) -> httpx.Client:
        return httpx.Client(
            verify=self._tls,
            timeout=self._timeout,
            trust_env=False,
            limits=httpx.Limits(
                max_connections=8, max_keepalive_connections=8, keepalive_expiry=120
            ),
        )

    def close(self) -> None:
        self._pool.close()

    def another(self) -> Session:
        """The same client without its connections, its tokens and what it has learnt."""
        return Session(self.target, self.account, self.trusts, self._timeout)

    def request(
        self,
        attempt: Attempt,
        method: str,
        address: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        again: bool = True,
        small: bool = False,
    ) -> httpx.Response:
        """Sends one request of the operation `attempt`; `address` is a path or a Location.

        `small`: its duration counts as latency. `again=False`: a stale connection is an error, for
        bodies of which the registry may have kept a part. Raises httpx.HTTPError.
        """
        began = time.monotonic()
        try:
            try:
                course = Course()
                return self._send(self._pool, course, method, address, headers, body)
            except httpx.TransportError as error:
                if not (again and is_stale(error, course)):
                    raise
            attempt.retried()
            # With its own pool, the connection is certainly new.
            with self._client() as fresh:
                return self._send(fresh, Course(), method, address, headers, body)
        finally:
            attempt.requested(time.monotonic() - began if small else None)

    def _send(
        self,
        client: httpx.Client,
        course: Course,
        method: str,
        address: str,
        headers: Mapping[str, str] | None,
        body: Body | None,
    ) -> httpx.Response:
        target = self.target
        host = target.name if target.port == 443 else f"{target.name}:{target.port}"
        return client.request(
            method,
            f"https://{target.address}:{target.port}{self._path(address)}",
            headers={"Host": host, **(headers or {})},
            content=None if body is None else body(),
            extensions={"sni_hostname": target.name, "trace": course},
        )

    def _path(self, address: str) -> str:
        parts = urllib.parse.urlsplit(address)
        if parts.netloc and parts.hostname != self.target.name:
            raise Unexpected(f"an address of another host: {address}")
        return parts.path + (f"?{parts.query}" if parts.query else "")

    # -- tokens ------------------------------------------------------------------------------------

    def authorization(self, attempt: Attempt, scope: str) -> dict[str, str]:
        """The header for requests within the scope, with a token that is not about to expire."""
        token, until = self._tokens.get(scope, ("", 0.0))
        if until - time.time() < _MARGIN:
            token = self.token(attempt, scope)
            self._tokens[scope] = (token, expiry(token))
        return {"Authorization": f"Bearer {token}"}

    def token(self, attempt: Attempt, scope: str = "") -> str:
        """A new token."""
        if self._realm is None:
            self._realm = self.challenge(attempt)
        realm, service = self._realm
        query = {"service": service, "account": self.account.name}
        if scope:
            query["scope"] = scope
        answer = self.request(
            attempt, "GET", f"{realm}?{urllib.parse.urlencode(query)}", headers=self.account.basic
        )
        expect(answer, 200, "the token server")
        return str(answer.json()["token"])

    def challenge(self, attempt: Attempt) -> tuple[str, str]:
        """Realm and service, as the registry sends them to a client without a login."""
        answer = self.request(attempt, "GET", "/v2/")
        expect(answer, 401, "the registry without a login")
        fields = dict(
            part.split("=", 1)
            for part in answer.headers["www-authenticate"].removeprefix("Bearer ").split(",")
        )
        return fields["realm"].strip('"'), fields["service"].strip('"')


def expiry(token: str) -> float:
    """When a token expires according to its claim exp, in seconds since 1970."""
    encoded = token.split(".")[1]
    encoded += "=" * (-len(encoded) % 4)
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(encoded))
    return float(claims["exp"])


def expect(answer: httpx.Response, status: int, what: str) -> None:
    """Raises Unexpected, with the answer, if the status is a different one."""
    if answer.status_code != status:
        path = answer.request.url.path
        raise Unexpected(
            f"{what} answered {answer.status_code} instead of {status}"
            f" ({answer.request.method} {path}): {answer.text[:300]}"
        )
