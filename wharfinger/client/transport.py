"""Sends requests to one registry: with retries, within bounds, and never unencrypted by accident.

It follows the OCI distribution specification 1.1. It trusts nothing that a registry sends: texts
are cleaned, sizes are bounded, redirects must stay on TLS. The login is in auth.py.
"""

from __future__ import annotations

import asyncio
import email.utils
import ssl
import time
from asyncio import sleep
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urljoin, urlsplit

import httpx

from . import failures
from .auth import SCOPE, RegistryAuth, basic
from .credentials import Credentials
from .errors import ClientError
from .failures import SAFE, TIMEOUT, host_of
from .references import DOCKER_HUB
from .text import clean
from .tls import context

# The largest page, manifest or configuration, in bytes.
MOST_BYTES = 64 << 20
# The longest sum of all pauses of one request, in seconds, and how often it is sent at most.
MOST_WAITING = 30.0
MOST_TRIES = 6
MOST_REDIRECTS = 5
BUSY = (429, 503)
# A request's extension: the body of a successful answer is then read piece by piece.
STREAM = "stream"

Content = Callable[[], AsyncIterator[bytes]] | bytes | None


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach a registry."""

    credentials: Credentials | None = None
    cacert: Path | None = None
    plain_http: bool = False
    max_requests: int = 8
    # Hosts besides the registry's own to which the login may be sent for a token; None: to the one
    # that the registry names, as docker does.
    token_hosts: frozenset[str] | None = None


class Transport:
    """One registry's API, with at most `max_requests` requests at a time. A context manager."""

    def __init__(
        self,
        registry: str,
        settings: Settings,
        *,
        client: httpx.AsyncClient | None = None,
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`client` is for tests. `notice` is called with a sentence before every pause."""
        self.registry = registry
        self.settings = settings
        host = "registry-1.docker.io" if registry == DOCKER_HUB else registry
        self.base = f"{'http' if settings.plain_http else 'https'}://{host}"
        self.auth = RegistryAuth(
            registry,
            self.base,
            settings.credentials,
            plain_http=settings.plain_http,
            token_hosts=settings.token_hosts,
        )
        self._client = client or self._new_client()
        self._notice = notice
        self._slots = asyncio.Semaphore(settings.max_requests)

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

    @property
    def user(self) -> str:
        """The user in words."""
        return self.auth.user

    def announce(self, scopes: Sequence[str]) -> None:
        """Announces scopes that will be needed, so that one token is fetched for many of them."""
        self.auth.announce(scopes)

    def problem(self, answer: httpx.Response, doing: str) -> ClientError:
        """The error for an answer that is not a success. `doing`: "REPO:TAG is read"."""
        return failures.unexpected_answer(answer, doing, registry=self.registry, user=self.user)

    async def request(
        self,
        method: str,
        path: str,
        *,
        scope: str = "",
        headers: Mapping[str, str] | None = None,
        content: Content = None,
    ) -> httpx.Response:
        """The registry's answer with any status, after a login if the registry asks for one.

        `path` begins with /v2/, or is an address from the registry (an upload's Location).
        Raises NoAnswer, and Denied if the login is missing or refused.
        """
        url = self._url(path)
        if urlsplit(url).scheme != "https" and not self.settings.plain_http:
            raise ClientError(
                f"{self.registry} gives an address without TLS ({host_of(url)}): wharf does not go "
                "there; the registry does not know under which address it is reached (http.host, "
                "X-Forwarded-Proto)"
            )
        async with self._slots:
            return await self._log_in_and_send(
                self._build(method, url, headers, content, {SCOPE: scope})
            )

    async def stream(self, path: str, *, scope: str) -> AsyncIterator[bytes]:
        """A blob's bytes, piece by piece. Raises ClientError."""
        url = self._url(path)
        headers = {"Accept-Encoding": "identity"}
        request = self._build("GET", url, headers, None, {SCOPE: scope, STREAM: True})
        answer = await self._log_in_and_send(request)
        if answer.status_code != 200:
            raise self.problem(answer, f"{path} is read")
        try:
            async for chunk in answer.aiter_bytes():
                yield chunk
        except httpx.HTTPError as error:
            raise self._cut_off(error, request) from error
        finally:
            await answer.aclose()

    async def prove_login(self) -> None:
        """Sends the login even if the registry did not ask for it, because everybody may read.
        Raises LoginRefused."""
        if self.auth.is_known:
            return
        request = self._build("GET", f"{self.base}/v2/", basic(self.settings.credentials))
        answer = await self._send(request)
        if answer.status_code == 401:
            raise self.auth.refused(answer)

    def _url(self, path: str) -> str:
        try:
            return urljoin(self.base, path)
        except ValueError as error:
            raise ClientError(
                f"{self.registry} leads to something that is not an address: {clean(str(error))}"
            ) from error

    def _build(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        content: Content = None,
        extensions: Mapping[str, object] | None = None,
    ) -> httpx.Request:
        try:
            return self._client.build_request(
                method,
                url,
                headers=headers,
                content=_Repeatable(content) if callable(content) else content,
                extensions=dict(extensions or {}),
            )
        except httpx.InvalidURL as error:
            raise failures.no_answer(error, url, registry=self.registry) from error

    async def _log_in_and_send(self, request: httpx.Request) -> httpx.Response:
        """Sends the requests that the login yields. httpx's client could do that, but it would read
        the body of a 401 without a bound, and send token requests without retries."""
        flow = self.auth.async_auth_flow(request)
        try:
            following = await anext(flow)
            while True:
                # The login makes its token requests without the client.
                for name, value in self._client.headers.items():
                    following.headers.setdefault(name, value)
                answer = await self._send(following)
                try:
                    following = await flow.asend(answer)
                except StopAsyncIteration:
                    return answer
        finally:
            await flow.aclose()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """The answer with its body. Waits and sends the request again if the server is busy."""
        waited, tries = 0.0, 0
        while True:
            tries += 1
            try:
                answer = await self._follow_redirects(request)
            except httpx.TransportError as error:
                # The server may have closed an idle connection just when it was used again.
                lost = isinstance(error, httpx.RemoteProtocolError | httpx.ReadError)
                if lost and request.method in SAFE and tries <= 2:
                    continue
                raise self._no_answer(error, request) from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise self._no_answer(error, request) from error
            busy = answer.status_code in BUSY or (
                answer.status_code in (502, 504) and request.method in SAFE
            )
            pause = retry_after(answer, 2.0 ** (tries - 1))
            if not busy or tries == MOST_TRIES or waited + pause > MOST_WAITING:
                return answer
            self._notice(
                f"{host_of(str(request.url))} answers {answer.status_code}: asking again in "
                f"{pause:.0f} s"
            )
            waited += pause
            await sleep(pause)

    async def _follow_redirects(self, request: httpx.Request) -> httpx.Response:
        """The answer after redirects. Other servers do not get the Authorization header, and
        nothing is sent unencrypted."""
        for _ in range(MOST_REDIRECTS):
            arriving = await self._client.send(request, stream=True, follow_redirects=False)
            following = arriving.next_request
            if following is None or request.method not in SAFE:
                if request.extensions.get(STREAM) and arriving.status_code == 200:
                    return arriving
                try:
                    return await _read(arriving)
                finally:
                    await arriving.aclose()
            await arriving.aclose()
            if following.url.scheme != "https" and not self.settings.plain_http:
                raise ClientError(
                    f"{host_of(str(request.url))} sends on to {following.url.scheme}://"
                    f"{following.url.netloc.decode(errors='replace')}, without TLS: wharf does not "
                    "go there; the registry's own address (host, X-Forwarded-Proto) may be set "
                    "wrongly"
                )
            request = following
        raise ClientError(f"{host_of(str(request.url))} redirects without end")

    def _no_answer(self, error: Exception, request: httpx.Request) -> ClientError:
        return failures.no_answer(error, str(request.url), registry=self.registry)

    def _cut_off(self, error: httpx.HTTPError, request: httpx.Request) -> ClientError:
        """The error for an answer that has begun and does not go on."""
        return failures.no_answer(error, str(request.url), registry=self.registry)


class _Repeatable:
    """A request's body that can be sent more than once."""

    def __init__(self, content: Callable[[], AsyncIterator[bytes]]) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._content()


async def _read(arriving: httpx.Response) -> httpx.Response:
    """The same answer with its body. Raises ClientError if the body is too large."""
    chunks, size = [], 0
    async for chunk in arriving.aiter_bytes():
        chunks.append(chunk)
        size += len(chunk)
        if size > MOST_BYTES:
            place = host_of(str(arriving.request.url))
            raise ClientError(f"{place} answers with more than {MOST_BYTES >> 20} MB")
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


def retry_after(answer: httpx.Response, otherwise: float) -> float:
    """Seconds to wait, from the answer's Retry-After (a number or a date)."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return otherwise
