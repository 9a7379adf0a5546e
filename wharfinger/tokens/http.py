"""HTTP/1.1 on asyncio with httptools' parser: what a token server needs of it, and no more.

Requests of one connection are answered one after the other. Heads, bodies, the time that a request
may take to arrive and what waits to be sent are bounded.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import cast
from urllib.parse import unquote

import httptools

# A request's line and headers, and its body, in bytes.
LARGEST_HEAD = 65536
LARGEST_BODY = 65536
# Requests that may wait behind the one that is being answered. Proxies send none before that.
MOST_PIPELINED = 100
# Longer than nginx keeps an idle connection (60 s): never the server closes one that the proxy
# is just about to use.
KEEP_ALIVE = 75.0
# How long a request may take to arrive, from its first byte to its last, in seconds.
ARRIVAL = 30.0
# Seconds between two looks for connections that are over one of these.
SWEEP_INTERVAL = 5.0


@dataclass(slots=True)
class Request:
    """A request that has arrived whole. `headers` by name in lower case, each one's first value."""

    method: str
    path: str
    query: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    client: str


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `kind` is the body's media type."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "application/json"


Handler = Callable[[Request], Awaitable[Response]]
# What is told of a request that is refused before it is one: status, client.
Tell = Callable[[int, str], None]


class Server:
    """Serves on one listening socket until it is told to stop.

    Args:
        handler: answers a request; what it raises ends the connection.
        tell: is called where something that is no request was refused.
    """

    def __init__(self, handler: Handler, tell: Tell) -> None:
        self.handler = handler
        self.tell = tell
        self.connections: set[_Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, listener: socket.socket, stop: asyncio.Event, drain: float) -> None:
        """Serve until `stop`; what is under way then has `drain` seconds to end."""
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: _Connection(self), sock=listener, backlog=2048)
        sweeper = asyncio.create_task(self._sweep())
        await stop.wait()
        sweeper.cancel()
        listening.close()
        for connection in tuple(self.connections):
            connection.finish()
        end = loop.time() + drain
        while self.connections and loop.time() < end:
            await asyncio.sleep(0.02)
        for connection in tuple(self.connections):
            connection.transport.abort()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL)
            now = time.monotonic()
            for connection in tuple(self.connections):
                connection.sweep(now)


class _Connection(asyncio.Protocol):
    """One client's connection."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._client = ""
        # What has arrived of the next request.
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body = b""
        self._in_head = True
        self._progress = 0
        self._head_size = 0
        self._arriving = False
        # What has arrived whole: a request, and whether the connection lasts.
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._answering = False
        self._full = False
        self._last = False
        self._since = time.monotonic()

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's has no class of asyncio's above it.
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if peer else ""
        self._server.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.connections.discard(self)
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        if self._last:
            return
        before = self._progress
        if not self._arriving:
            self._arriving = True
            self._since = time.monotonic()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The request before it is answered; another protocol is not spoken.
            self._last = True
        except (httptools.HttpParserError, UnicodeError):
            self._refuse(400)
            return
        # Only what neither finishes a head nor belongs to a body makes a head longer.
        self._head_size = self._head_size + len(data) if self._progress == before else 0
        if self._head_size > LARGEST_HEAD:
            self._refuse(431)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._answer_next()

    # The parser

    def on_message_begin(self) -> None:
        self._arriving = True
        self._in_head = True
        self._url = self._body = b""
        self._headers = {}

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # What comes behind a chunked body is no header of the request.
        if self._in_head:
            self._headers.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._progress += 1
        if self._headers.get(b"expect", b"").lower() == b"100-continue" and not self._answering:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._progress += 1
        if self._last:
            return
        self._body += body
        if len(self._body) > LARGEST_BODY:
            self._refuse(413)

    def on_message_complete(self) -> None:
        self._arriving = False
        self._progress += 1
        if self._last:
            return
        if len(self._waiting) >= MOST_PIPELINED:
            self._refuse(429)
            return
        url = httptools.parse_url(self._url)
        path = (url.path or b"").decode("ascii")
        request = Request(
            self._parser.get_method().decode("ascii"),
            unquote(path) if "%" in path else path,
            url.query or b"",
            self._headers,
            self._body,
            self._client,
        )
        lasts = self._parser.should_keep_alive() and self._parser.get_http_version() == "1.1"
        self._waiting.append((request, lasts))
        if self._answering or self._full:
            # The rest stays in the kernel until what is here has been answered.
            self.transport.pause_reading()
        else:
            self._answer_next()

    # Answers

    def _answer_next(self) -> None:
        if self._answering or self._full:
            return
        if not self._waiting:
            if not self._last:
                self.transport.resume_reading()
            return
        self._answering = True
        task = asyncio.get_running_loop().create_task(self._answer(*self._waiting.popleft()))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    async def _answer(self, request: Request, lasts: bool) -> None:
        try:
            response = await self._server.handler(request)
        except Exception:
            self.transport.abort()
            raise
        self._answering = False
        self._since = time.monotonic()
        if self.transport.is_closing():
            return
        lasts = lasts and not (self._last and not self._waiting)
        self.transport.write(_bytes(response, request.method != "HEAD", lasts))
        if not lasts:
            self._close()
        elif self._waiting:
            self._answer_next()
        elif not self.transport.is_reading():
            self.transport.resume_reading()

    def _refuse(self, status: int) -> None:
        """What arrives is no request: say so where nothing else is being said, and close."""
        self._server.tell(status, self._client)
        if self._answering or self._waiting:
            # It comes behind requests that are still to be answered: then the end says it.
            self._last = True
            return
        self.transport.write(_bytes(Response(status, b""), True, False))
        self._close()

    def _close(self) -> None:
        self._last = True
        self._waiting.clear()
        self.transport.close()

    def finish(self) -> None:
        """Close when nothing is being answered any more."""
        self._last = True
        if not self._answering and not self._waiting:
            self.transport.close()

    def sweep(self, now: float) -> None:
        """Close what has been idle for too long, or takes too long to send or to read."""
        if self._full and now - self._since > ARRIVAL:
            # Nothing of what was answered is being taken.
            self.transport.abort()
            return
        if self._answering or self._waiting:
            return
        if self._arriving:
            if now - self._since > ARRIVAL:
                self._refuse(408)
        elif now - self._since > KEEP_ALIVE:
            self._close()


def _bytes(response: Response, with_body: bool, lasts: bool) -> bytes:
    head = [
        _status_line(response.status),
        f"content-type: {response.kind}",
        f"content-length: {len(response.body)}",
        _date(int(time.time())),
        *(f"{name}: {value}" for name, value in response.headers.items()),
    ]
    if not lasts:
        head.append("connection: close")
    data = "\r\n".join([*head, "", ""]).encode("latin-1")
    return data + response.body if with_body else data


@functools.lru_cache(maxsize=32)
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"


@functools.lru_cache(maxsize=2)
def _date(seconds: int) -> str:
    return f"date: {formatdate(seconds, usegmt=True)}"
