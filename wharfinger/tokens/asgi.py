"""HTTP/1.1: uvicorn with httptools' parser, and the bounds that it has not.

Heads, bodies, the requests that wait behind one another, the time that a request may take to arrive
and an answer to be taken are bounded. Requests of one connection are answered one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from . import log

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

# A request's line and headers, and its body, in bytes.
LARGEST_HEAD = 65536
LARGEST_BODY = 65536
# Requests that may wait behind the one that is being answered. Proxies send none before that.
MOST_PIPELINED = 100
# Longer than nginx keeps an idle connection (60 s): never the server closes one that the proxy
# is just about to use.
KEEP_ALIVE = 75
# How long a request may take to arrive, from its first byte to its last, and the client to take
# what it is answered, in seconds.
ARRIVAL = 30


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
        handler: answers a request.
        tell: is called where something that is no request was refused.
    """

    def __init__(self, handler: Handler, tell: Tell) -> None:
        self.handler = handler
        self.tell = tell
        self.connections: set[Any] = set()

    async def serve(self, listener: socket.socket, stop: asyncio.Event, drain: int) -> None:
        """Serve until `stop`; what is under way then has `drain` seconds to end."""
        logger = logging.getLogger("uvicorn")
        logger.handlers = [_JsonHandler()]
        logger.propagate = False
        logger.setLevel(logging.WARNING)
        server = _Uvicorn(
            uvicorn.Config(
                self,
                http=_BoundedProtocol,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                # Whose address counts is for `server.real_ip_header` to say.
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=drain,
            )
        )
        self.connections = server.server_state.connections

        async def end() -> None:
            await stop.wait()
            server.should_exit = True

        ending = asyncio.create_task(end())
        try:
            await server.serve([listener])
        finally:
            ending.cancel()

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """The ASGI application."""
        assert scope["type"] == "http"
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message["body"]
            more = message["more_body"]
        # Of a header that is there twice the first counts.
        headers = dict(reversed(list(scope["headers"])))
        client = scope["client"][0] if scope["client"] else ""
        method = scope["method"]
        response = await self.handler(
            Request(method, scope["path"], scope["query_string"], headers, body, client)
        )
        answered = [
            (b"content-type", response.kind.encode()),
            (b"content-length", b"%d" % len(response.body)),
            *((name.encode(), value.encode("latin-1")) for name, value in response.headers.items()),
        ]
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": answered,
                "trailers": False,
            }
        )
        await send({"type": "http.response.body", "body": response.body, "more_body": False})


class _Uvicorn(uvicorn.Server):
    """uvicorn that leaves signals alone: after SIGTERM it would end by the signal, not with 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


class _JsonHandler(logging.Handler):
    """What uvicorn has to say, in the log's form."""

    def emit(self, record: logging.LogRecord) -> None:
        # What it cannot read is told with its status.
        message = record.getMessage().strip()
        if message != "Invalid HTTP request received.":
            log.write({"event": "http", "level": record.levelname, "message": message})


class _Refused(Exception):
    """Ends the parsing; the status is in the connection's `_status`."""


class _BoundedProtocol(HttpToolsProtocol):
    """uvicorn's connection with bounds."""

    # The status of what cannot be answered, and whether there has been such a thing: then what
    # still comes is not read.
    _status = 400
    _last = False
    _running: RequestResponseCycle | None = None
    _in_head = True
    # Heads and bodies so far, and the bytes of a head that has no end yet.
    _progress = 0
    _head = 0
    _body = 0
    _arriving = False
    _late: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # uvicorn does so behind an answer only.
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget("_late")
        self._forget("_unread")
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._last:
            return
        before = self._progress
        self._arriving = True
        super().data_received(data)
        # Only what neither finishes a head nor belongs to a body makes a head longer.
        self._head = self._head + len(data) if self._progress == before else 0
        if self._head > LARGEST_HEAD:
            self._refuse(431)
        if not self._arriving or self._last:
            self._forget("_late")
        elif self._late is None:
            self._late = self.loop.call_later(ARRIVAL, self._is_late)

    def _forget(self, timer: str) -> None:
        handle = getattr(self, timer)
        if handle is not None:
            handle.cancel()
            setattr(self, timer, None)

    def _is_late(self) -> None:
        self._late = None
        if self._answering():
            # Reading may have been paused meanwhile.
            self._late = self.loop.call_later(ARRIVAL, self._is_late)
        else:
            self._refuse(408)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(ARRIVAL, self.transport.abort)

    def resume_writing(self) -> None:
        self._forget("_unread")
        super().resume_writing()

    # The parser

    def on_message_begin(self) -> None:
        self._arriving = self._in_head = True
        self._body = 0
        self._forget("_late")
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # What comes behind a chunked body is no header of the request.
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._progress += 1
        if len(self.pipeline) >= MOST_PIPELINED:
            self._status = 429
            raise _Refused
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._progress += 1
        self._body += len(body)
        if self._body > LARGEST_BODY:
            self._status = 413
            raise _Refused
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._arriving = False
        self._progress += 1
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    # The end

    def _answering(self) -> RequestResponseCycle | None:
        """The last request that has arrived whole, where it is not answered yet."""
        for cycle, _ in self.pipeline:
            if not cycle.more_body:
                return cycle
        cycle_now = self._running
        if cycle_now is None or cycle_now.more_body or cycle_now.response_complete:
            return None
        return cycle_now

    def _end(self) -> bool:
        """Close behind the answers that are still to be given; False where there are none."""
        self._last = True
        if self.pipeline and self.pipeline[0][0].more_body:
            self.pipeline.popleft()
        last = self._answering()
        if last is not None:
            last.keep_alive = False
        return last is not None

    def _refuse(self, status: int) -> None:
        """What arrives is no request: say so where nothing else is being said, and close."""
        if self._last:
            return
        self.app.tell(status, self.client[0] if self.client else "")
        if not self._end():
            head = b"content-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + head)
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._status)

    def _unsupported_upgrade_warning(self) -> None:
        # The request is answered; another protocol is not spoken.
        if not self._end():
            self.transport.close()
