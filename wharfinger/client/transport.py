"""Requests to one registry: a login where it asks for one, patience, and errors as sentences.

Follows the OCI distribution specification 1.1, distribution's token authentication (several scopes
in one question included) and, for identity tokens, its OAuth2 form. What comes from a registry is
never trusted: its texts are cleaned, its sizes bounded, its Links kept to the same server.
"""

from __future__ import annotations

import asyncio
import base64
import email.utils
import json
import socket
import ssl
import time
from asyncio import sleep
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import httpx

from .challenge import Challenge, parse
from .credentials import Credentials
from .errors import ClientError, Denied, LoginRefused, NotFound, Unsupported
from .names import DOCKER_HUB
from .text import clean
from .trust import context

# An answer that is larger is no page, manifest or configuration. Bytes.
MOST_BYTES = 64 << 20
TIMEOUT = httpx.Timeout(60, connect=15, pool=None)
# How long all pauses of one request may last together, in seconds, and how many there are.
MOST_WAITING = 30.0
MOST_TRIES = 6
MOST_REDIRECTS = 5
# What a token's question may hold, so that neither it nor the token is too long for a proxy.
SCOPES_AT_ONCE = 25
SCOPES_LENGTH = 2000
# A token is asked for anew so many seconds before it ends.
MARGIN = 5.0
BUSY = (429, 503)
SAFE = ("GET", "HEAD")

Content = Callable[[], AsyncIterator[bytes]] | bytes | None


@dataclass(frozen=True, slots=True)
class Settings:
    """How a registry is spoken to."""

    credentials: Credentials | None = None
    cacert: Path | None = None
    plain_http: bool = False
    max_requests: int = 8


@dataclass(slots=True)
class _Token:
    value: str
    ends: float


class Transport:
    """One registry's API, at most `max_requests` requests at a time. An async context manager."""

    def __init__(
        self,
        registry: str,
        settings: Settings,
        *,
        client: httpx.AsyncClient | None = None,
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`client` is the tests' own; `notice` is told of every pause."""
        self.registry = registry
        self.settings = settings
        host = "registry-1.docker.io" if registry == DOCKER_HUB else registry
        self.base = f"{'http' if settings.plain_http else 'https'}://{host}"
        self._client = client or self._new_client()
        self._notice = notice
        self._slots = asyncio.Semaphore(settings.max_requests)
        self._basic = False
        self._realm = ""
        self._service = ""
        self._tokens: dict[tuple[str, ...], _Token] = {}
        self._groups: dict[str, tuple[str, ...]] = {}
        self._locks: dict[tuple[str, ...], asyncio.Lock] = {}

    def _new_client(self) -> httpx.AsyncClient:
        verify: ssl.SSLContext | bool = True
        if not self.settings.plain_http:
            verify = context(self.registry, self.settings.cacert)
        return httpx.AsyncClient(
            verify=verify,
            timeout=TIMEOUT,
            limits=httpx.Limits(
                max_connections=None, max_keepalive_connections=self.settings.max_requests
            ),
            headers={"User-Agent": "wharf"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    # Requests

    async def request(
        self,
        method: str,
        path: str,
        *,
        scope: str = "",
        headers: Mapping[str, str] | None = None,
        content: Content = None,
    ) -> httpx.Response:
        """The registry's answer, whatever its status, after a login where it asks for one.

        `path` begins with /v2/, or is an address that the registry gave (an upload's Location).
        Raises ClientError where there is no answer, Denied where it wants (another) login.
        """
        url = urljoin(self.base, path)
        if urlsplit(url).scheme != "https" and not self.settings.plain_http:
            raise ClientError(
                f"{self.registry} gives an address without TLS ({_place(url)}): wharf does not go "
                "there; the registry does not know under which address it is reached (http.host, "
                "X-Forwarded-Proto)"
            )
        async with self._slots:
            used = await self._authorization(url, scope)
            answer = await self._send(method, url, {**(headers or {}), **used}, content)
            if answer.status_code != 401:
                return answer
            challenges = parse(answer.headers.get_list("www-authenticate"))
            fresh = await self._answer(challenges, answer, scope, used)
            again = await self._send(method, url, {**(headers or {}), **fresh}, content)
            if again.status_code == 401:
                raise self._denied(again, scope)
            return again

    async def stream(self, path: str, *, scope: str) -> AsyncIterator[bytes]:
        """A blob's bytes. A request for the same scope must have gone before."""
        url = urljoin(self.base, path)
        headers = {"Accept-Encoding": "identity", **await self._authorization(url, scope)}
        request = self._client.build_request("GET", url, headers=headers)
        try:
            answer = await self._follow(request)
            try:
                if answer.status_code != 200:
                    await answer.aread()
                    raise self.problem(answer, f"{path} is read")
                async for chunk in answer.aiter_bytes():
                    yield chunk
            finally:
                await answer.aclose()
        except httpx.HTTPError as error:
            raise ClientError(self._no_answer(error, url)) from error

    def announce(self, scopes: Sequence[str]) -> None:
        """Says which scopes will be needed: one token is then asked for many of them."""
        group: list[str] = []
        for scope in dict.fromkeys(scopes):
            if group and (
                len(group) == SCOPES_AT_ONCE or len("".join(group)) + len(scope) > SCOPES_LENGTH
            ):
                self._groups.update(dict.fromkeys(group, tuple(group)))
                group = []
            group.append(scope)
        self._groups.update(dict.fromkeys(group, tuple(group)))

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], content: Content = None
    ) -> httpx.Response:
        """One answer, read to its end. Waits and asks again where the server is busy."""
        waited, tries = 0.0, 0
        while True:
            tries += 1
            body = content() if callable(content) else content
            request = self._client.build_request(method, url, headers=headers, content=body)
            try:
                arriving = await self._follow(request)
                try:
                    answer = await _read(arriving, url)
                finally:
                    await arriving.aclose()
            except httpx.TransportError as error:
                # A server may close an idle connection in the moment in which it is used again.
                lost = isinstance(error, httpx.RemoteProtocolError | httpx.ReadError)
                if lost and method in SAFE and tries <= 2:
                    continue
                raise ClientError(self._no_answer(error, url)) from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise ClientError(self._no_answer(error, url)) from error
            busy = answer.status_code in BUSY or (
                answer.status_code in (502, 504) and method in SAFE
            )
            pause = _retry_after(answer, 2.0 ** (tries - 1))
            if not busy or tries == MOST_TRIES or waited + pause > MOST_WAITING:
                return answer
            self._notice(
                f"{_place(url)} answers {answer.status_code}: asking again in {pause:.0f} s"
            )
            waited += pause
            await sleep(pause)

    async def _follow(self, request: httpx.Request) -> httpx.Response:
        """The answer after redirects; to another server goes no Authorization, in clear nothing."""
        for _ in range(MOST_REDIRECTS):
            answer = await self._client.send(request, stream=True, follow_redirects=False)
            following = answer.next_request
            if following is None or request.method not in SAFE:
                return answer
            await answer.aclose()
            if following.url.scheme != "https" and not self.settings.plain_http:
                raise ClientError(
                    f"{_place(str(request.url))} sends on to {following.url.scheme}://"
                    f"{following.url.netloc.decode(errors='replace')}, without TLS: wharf does not "
                    "go there; the registry's own address (host, X-Forwarded-Proto) may be set "
                    "wrongly"
                )
            request = following
        raise ClientError(f"{_place(str(request.url))} redirects without end")

    # Logins

    async def prove_login(self) -> None:
        """Shows the login where nobody has asked for it yet, as where reading is free for all.
        Raises Denied where it is refused."""
        if self._basic or self._realm:
            return
        answer = await self._send("GET", f"{self.base}/v2/", _basic(self.settings.credentials))
        if answer.status_code == 401:
            raise self._login_refused(answer)

    async def _authorization(self, url: str, scope: str) -> dict[str, str]:
        """The Authorization header as far as it is known how the registry wants it."""
        if not self._is_ours(url):
            return {}
        if self._basic:
            return _basic(self.settings.credentials)
        if not self._realm or not scope:
            return {}
        group = self._groups.get(scope, (scope,))
        try:
            return await self._bearer(group, group)
        except Denied:
            if len(group) == 1:
                raise
            # One question for many was refused as a whole: ask for this one alone.
            self._groups.pop(scope, None)
            return await self._bearer((scope,), (scope,))

    async def _answer(
        self,
        challenges: Sequence[Challenge],
        answer: httpx.Response,
        scope: str,
        used: Mapping[str, str],
    ) -> dict[str, str]:
        """The Authorization header that a 401 asks for."""
        by_scheme = {one.scheme: one for one in reversed(challenges)}
        if "bearer" in by_scheme and self._is_ours(str(answer.request.url)):
            return await self._answer_bearer(by_scheme["bearer"].parameters, scope, used)
        if "basic" in by_scheme:
            credentials = self.settings.credentials
            if credentials is None or not credentials.user or used:
                raise self._denied(answer, scope)
            self._basic = True
            return _basic(credentials)
        if challenges:
            raise ClientError(
                f"{self.registry} wants a login by {clean(', '.join(by_scheme))}; wharf knows "
                "Bearer and Basic"
            )
        raise self._denied(answer, scope)

    async def _answer_bearer(
        self, parameters: Mapping[str, str], scope: str, used: Mapping[str, str]
    ) -> dict[str, str]:
        realm = urljoin(self.base, parameters.get("realm", ""))
        if not parameters.get("realm") or urlsplit(realm).scheme not in ("http", "https"):
            raise ClientError(
                f"{self.registry} wants a token and does not say from where (realm): its "
                "configuration is wrong"
            )
        if urlsplit(realm).scheme == "http" and not self.settings.plain_http:
            raise ClientError(
                f"{self.registry} sends its users for tokens to {clean(realm)}, without TLS, where "
                "passwords would travel in clear: wharf does not go there; correct the realm in "
                "the registry's configuration"
            )
        self._realm, self._service = realm, parameters.get("service", "")
        if not used and scope in self._groups:
            return await self._authorization(self.base, scope)
        # What was announced gave too little: ask as the registry says, for this alone.
        self._groups.pop(scope, None)
        held = self._tokens.get((scope,))
        if held is not None and used == _header(held.value):
            del self._tokens[(scope,)]
        said = parameters.get("scope", "").split()
        return await self._bearer((scope,), tuple(said) or ((scope,) if scope else ()))

    async def _bearer(self, key: tuple[str, ...], scopes: tuple[str, ...]) -> dict[str, str]:
        """The header with a token for the scopes, kept under the key."""
        async with self._locks.setdefault(key, asyncio.Lock()):
            held = self._tokens.get(key)
            if held is None or held.ends < time.monotonic():
                held = self._tokens[key] = await self._token(scopes)
            return _header(held.value)

    async def _token(self, scopes: tuple[str, ...]) -> _Token:
        """A token as far as the scopes are granted. Raises Denied, ClientError."""
        credentials = self.settings.credentials
        asked: list[tuple[str, str | int | float | bool | None]] = []
        if self._service:
            asked.append(("service", self._service))
        asked += [("scope", scope) for several in scopes for scope in several.split()]
        before = time.monotonic()
        if credentials is not None and credentials.identity_token:
            form = {
                "grant_type": "refresh_token",
                "client_id": "wharf",
                "refresh_token": credentials.identity_token,
                "service": self._service,
                "scope": " ".join(scopes),
            }
            encoded = httpx.Request("POST", self._realm, data=form)
            answer = await self._send(
                "POST",
                self._realm,
                {"Content-Type": encoded.headers["Content-Type"]},
                encoded.read(),
            )
        else:
            url = str(httpx.URL(self._realm).copy_merge_params(httpx.QueryParams(asked)))
            answer = await self._send("GET", url, _basic(credentials))
        if answer.status_code in (401, 403):
            raise self._login_refused(answer)
        place = _place(self._realm)
        if answer.status_code != 200:
            raise ClientError(
                f"{place}, which gives tokens for {self.registry}, answers {_status(answer)}"
                f"{detail(answer)}"
            )
        try:
            found = answer.json()
            token = str(found.get("token") or found.get("access_token") or "")
            lasts = float(found.get("expires_in") or 60)
        except (ValueError, AttributeError, TypeError):
            token = ""
        if not token or not token.isascii() or not token.isprintable():
            raise ClientError(
                f"{place} answers with something else than a token: is the realm of "
                f"{self.registry} right?"
            )
        return _Token(token, before + max(lasts - MARGIN, 1.0))

    def _is_ours(self, url: str) -> bool:
        """Whether an address is the registry's own, so that it may have our login."""
        ours, theirs = urlsplit(self.base), urlsplit(url)
        return (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc)

    # Sentences

    def _login_refused(self, answer: httpx.Response) -> LoginRefused:
        """A password (or that there is none) was not enough, here or at the token server."""
        place = _place(str(answer.request.url))
        asked = "" if place == _place(self.base) else f" (asked at {place})"
        if self.settings.credentials is None:
            return LoginRefused(
                f"{self.registry} wants a login{asked}: wharf login {self.registry}, or --user NAME"
            )
        return LoginRefused(
            f"{self.registry} does not accept the login of {self.user}{asked}{detail(answer)}: "
            f"a wrong or changed password? wharf login {self.registry}"
        )

    def _denied(self, answer: httpx.Response, scope: str) -> Denied:
        """The registry was shown all that we have."""
        if self.settings.credentials is None or self._basic:
            return self._login_refused(answer)
        return Denied(f"{self.user} may not {_in_words(scope)} on {self.registry}{detail(answer)}")

    @property
    def user(self) -> str:
        """Who asks, in words."""
        credentials = self.settings.credentials
        if credentials is None:
            return "someone without login"
        return credentials.user or "the user of the stored identity token"

    def problem(self, answer: httpx.Response, what: str) -> ClientError:
        """An answer that is no success, as an error. `what`: "REPO:TAG is read"."""
        status = answer.status_code
        says = f"{self.registry} answers {_status(answer)} where {what}{detail(answer)}"
        if status in (401, 403):
            return Denied(f"{self.user} may not do this: {says}")
        if status == 404:
            return NotFound(says)
        if status in (405, 501):
            return Unsupported(says)
        if status == 429:
            return ClientError(
                f"{says}; it was asked several times: wait, log in, or lower --max-requests"
            )
        if status == 503 and answer.request.method not in SAFE:
            return ClientError(
                f"{says}; it was asked several times: writes are closed for now, as they are while "
                "a registry is cleaned up; nothing was changed, try again later"
            )
        return ClientError(says)

    def _no_answer(self, error: Exception, url: str) -> str:
        """A failure below HTTP: what, where, and what to do."""
        place = _place(url)
        causes = _causes(error)
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return self._certificate(cause, place)
        for cause in causes:
            if isinstance(cause, ssl.SSLError):
                why = (cause.reason or str(cause)).replace("_", " ").lower()
                return (
                    f"{place} does not speak TLS as it should ({why}): is the port right? A "
                    "registry without TLS needs --plain-http"
                )
            if isinstance(cause, socket.gaierror):
                return f"{place}: no such host is known; is the name right?"
            if isinstance(cause, ConnectionRefusedError):
                return f"{place} refuses the connection: does the registry run, is the port right?"
        if isinstance(error, httpx.ConnectTimeout):
            return f"{place} cannot be reached: no connection within {TIMEOUT.connect:.0f} s"
        if isinstance(error, httpx.TimeoutException):
            return f"{place} has not answered within {TIMEOUT.read:.0f} s"
        if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
            return f"{self.registry} leads to an address that is none: {clean(str(error))}"
        why = clean(str(error)) or type(error).__name__
        if isinstance(error, httpx.ConnectError):
            return f"{place} cannot be reached: {why}"
        if isinstance(error, httpx.ProxyError):
            return f"{place} cannot be reached through the proxy that the environment names: {why}"
        return f"{place} has broken off its answer: {why}"

    def _certificate(self, cause: ssl.SSLCertVerificationError, place: str) -> str:
        why = clean(cause.verify_message or str(cause))
        if cause.verify_code == 62 or "doesn't match" in why or "mismatch" in why.lower():
            return f"{place} has a certificate for another name: {why}"
        if cause.verify_code in (9, 10):
            return f"{place} has a certificate that is out of date ({why}): renew it there"
        return (
            f"{place} has a certificate of an authority that this machine does not trust ({why}): "
            "name the authority's certificate with --cacert FILE, or put it at "
            f"/etc/docker/certs.d/{self.registry}/ca.crt"
        )


async def _read(arriving: httpx.Response, url: str) -> httpx.Response:
    """The same answer with its body, where that is of a bearable size."""
    chunks, size = [], 0
    async for chunk in arriving.aiter_bytes():
        chunks.append(chunk)
        size += len(chunk)
        if size > MOST_BYTES:
            raise ClientError(f"{_place(url)} answers with more than {MOST_BYTES >> 20} MB")
    headers = [
        (name, value)
        for name, value in arriving.headers.multi_items()
        if name not in ("content-encoding", "transfer-encoding")
    ]
    return httpx.Response(
        arriving.status_code,
        headers=headers,
        content=b"".join(chunks),
        request=arriving.request,
        extensions={"reason_phrase": arriving.reason_phrase.encode("ascii", "ignore")},
    )


def detail(answer: httpx.Response) -> str:
    """What the body says of an error, to stand after a sentence: ": …", or nothing."""
    try:
        found = json.loads(answer.content)
        errors = found.get("errors") or [found]
        texts = [_error(one) for one in errors if isinstance(one, dict)]
    except (ValueError, AttributeError, TypeError, RecursionError):
        kind = answer.headers.get("content-type", "")
        text = "" if "html" in kind else answer.content[:1000].decode(errors="replace")
        texts = ["a page of HTML, so perhaps from a proxy"] if "html" in kind else [text]
    said = clean("; ".join(text for text in texts if text))[:300]
    return f" ({said})" if said else ""


def codes(answer: httpx.Response) -> set[str]:
    """The error codes in the registry's form."""
    try:
        errors = json.loads(answer.content)["errors"]
        return {str(one["code"]).upper() for one in errors}
    except (ValueError, KeyError, TypeError, RecursionError):
        return set()


def _error(one: Mapping[str, Any]) -> str:
    code, message = one.get("code"), one.get("message") or one.get("details") or one.get("error")
    return ": ".join(str(part) for part in (code, message) if part)


def _status(answer: httpx.Response) -> str:
    return f"{answer.status_code} {clean(answer.reason_phrase)}".rstrip()


def _in_words(scope: str) -> str:
    """`repository:team/app:pull` → "pull team/app"."""
    kind, _, rest = scope.partition(":")
    name, _, verbs = rest.rpartition(":")
    if kind == "repository" and name:
        return f"{verbs.replace(',', ' and ')} {name}"
    return "see the catalog" if kind == "registry" else "do this"


def _header(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _basic(credentials: Credentials | None) -> dict[str, str]:
    if credentials is None or not credentials.user:
        return {}
    pair = f"{credentials.user}:{credentials.password}".encode()
    return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


def _place(url: str) -> str:
    """HOST[:PORT] of an address, without what else may stand in it."""
    return clean(urlsplit(url).netloc.rpartition("@")[2])


def _retry_after(answer: httpx.Response, otherwise: float) -> float:
    """Seconds to wait, as the answer says (a number, or a date)."""
    said = answer.headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return float(said[:9])
    try:
        return max(email.utils.parsedate_to_datetime(said).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return otherwise


def _causes(error: BaseException) -> list[BaseException]:
    """The error and everything that led to it."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop(0)
        if one is None or one in seen:
            continue
        seen.append(one)
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
    return seen
