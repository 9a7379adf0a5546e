"""The HTTP server: Starlette's requests and responses on uvicorn, one process, one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import uvicorn
import uvloop
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from . import log
from .configuration import Configuration, ConfigurationError
from .reload import Files, Rejected
from .service import Reply, Service, refusal

# Seconds between two looks at the files; a change is read at the second look that sees it.
POLL_INTERVAL = 0.2
# A request's line and headers, and its body, in bytes.
LARGEST_HEAD = 65536
LARGEST_BODY = 65536
# Longer than nginx keeps an idle connection (60 s): never the server closes one that the proxy
# is just about to use.
KEEP_ALIVE = 75
# How long requests that are under way may take to end after SIGTERM, in seconds.
DRAIN = 20


class CannotListen(Exception):
    """The address cannot be listened on; the text is the address and why."""


class Application:
    """The ASGI application."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.rejected: Rejected | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return
        except Exception as error:
            _tell_failure(error)
            response = _response(
                refusal(500, "UNKNOWN", "the token server has failed", "server_error", {})
            )
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        path = request.scope["path"]
        prefix = self.service.configuration.server.path_prefix
        if path in (f"{prefix}/auth", f"{prefix}/auth/token"):
            if request.method not in ("GET", "HEAD", "POST"):
                return _method_not_allowed("GET, HEAD, POST")
            return await self._token(request)
        if path == "/healthz":
            if request.method not in ("GET", "HEAD"):
                return _method_not_allowed("GET, HEAD")
            return self._health()
        return _response(
            refusal(404, "UNSUPPORTED", "there is nothing at this address", "invalid_request", {})
        )

    def _health(self) -> Response:
        rejected = self.rejected
        return JSONResponse(
            {
                "status": "ok",
                "configuration": self.service.configuration.digest,
                "rejected": {"configuration": rejected.configuration, "message": rejected.message}
                if rejected
                else None,
            },
            headers={"Cache-Control": "no-store"},
        )

    async def _token(self, request: Request) -> Response:
        begun = time.perf_counter()
        form = None
        if request.method == "POST":
            form = await _body(request)
            if form is None:
                return _response(
                    refusal(413, "SIZE_INVALID", "the form is too long", "invalid_request", {})
                )
        header = self.service.configuration.server.real_ip_header
        reply = await self.service.answer(
            request.scope["query_string"],
            form,
            request.headers.get("authorization"),
            request.headers.get(header) if header else None,
            request.client.host if request.client else None,
        )
        log.write(reply.log | {"ms": round((time.perf_counter() - begun) * 1000, 1)})
        return _response(reply)


async def _body(request: Request) -> bytes | None:
    """The request's body; None where it is longer than a form for a token can be."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            return None
    return bytes(body)


def _response(reply: Reply) -> Response:
    return JSONResponse(reply.body, reply.status, {"Cache-Control": "no-store", **reply.headers})


def _method_not_allowed(allow: str) -> Response:
    reply = refusal(405, "UNSUPPORTED", f"this address takes {allow}", "invalid_request", {})
    return JSONResponse(reply.body, 405, {"Allow": allow})


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's parser with a limit on what comes before the body, which it has not."""

    _heads = 0
    _unfinished = 0

    def data_received(self, data: bytes) -> None:
        heads = self._heads
        super().data_received(data)
        # Only what neither finishes a head nor belongs to a body makes a head longer.
        self._unfinished = self._unfinished + len(data) if self._heads == heads else 0
        if self._unfinished > LARGEST_HEAD:
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
                b"content-length: 0\r\nconnection: close\r\n\r\n"
            )
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._heads += 1
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unfinished -= len(body)
        super().on_body(body)


class _Server(uvicorn.Server):
    """uvicorn that ends with status 0 after SIGTERM, as a container's process should."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _end(self, number: signal.Signals) -> None:
        log.write({"event": "stop", "signal": number.name})
        self.should_exit = True


class _JsonHandler(logging.Handler):
    """What uvicorn has to say, in the log's form."""

    def emit(self, record: logging.LogRecord) -> None:
        log.write({"event": "http", "level": record.levelname, "message": record.getMessage()})


def serve(path: Path, *, host: str | None = None, port: int | None = None) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered before it ends.

    Args:
        path: the configuration file, read again whenever it changes.
        host, port: where to listen instead of the file's `server.addr`.

    Raises:
        ConfigurationError: the file cannot be used.
        CannotListen: the address is in use or is not this machine's.
    """
    files = Files(path)
    configuration = files.load()
    listener = _listen(
        configuration.server.host if host is None else host,
        configuration.server.port if port is None else port,
    )
    _handle_uvicorns_messages()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(files, configuration, listener))


def _handle_uvicorns_messages() -> None:
    logger = logging.getLogger("uvicorn")
    logger.handlers = [_JsonHandler()]
    logger.propagate = False
    logger.setLevel(logging.WARNING)


async def _serve(files: Files, configuration: Configuration, listener: socket.socket) -> None:
    service = Service(configuration)
    application = Application(service)
    server = _Server(
        uvicorn.Config(
            application,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            # Whose address counts is for `server.real_ip_header` to say.
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=DRAIN,
        )
    )
    _tell(configuration, "start", address="{}:{}".format(*listener.getsockname()[:2]))
    watcher = asyncio.create_task(watch(files, application))
    try:
        await server.serve([listener])
    finally:
        watcher.cancel()
        service.close()


async def watch(files: Files, application: Application) -> None:
    """Put each valid change of the files in force, as long as this runs."""
    service = application.service
    while True:
        await asyncio.sleep(POLL_INTERVAL)
        if not files.changed():
            continue
        begun = time.perf_counter()
        try:
            configuration = await asyncio.to_thread(files.load)
        except Exception as error:
            if not isinstance(error, ConfigurationError):
                # A mistake of this program must not end the watching.
                _tell_failure(error)
                continue
            application.rejected = Rejected(files.digest(), str(error))
            log.write(
                {
                    "event": "rejected",
                    "configuration": application.rejected.configuration,
                    "problems": [str(problem) for problem in error.problems],
                    "in_force": service.configuration.digest,
                }
            )
            continue
        old, application.rejected = service.configuration.server, None
        service.use(configuration)
        _tell(configuration, "reload", ms=round((time.perf_counter() - begun) * 1000, 1))
        if (old.host, old.port) != (configuration.server.host, configuration.server.port):
            log.write({"event": "warning", "message": "server.addr counts from the next start on"})


def _tell_failure(error: Exception) -> None:
    """Log where it happened. An exception's text may have a password in it; the place has not."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    log.write(
        {
            "event": "error",
            "error": type(error).__name__,
            "where": f"{Path(where.filename).name}:{where.lineno}",
        }
    )


def _tell(configuration: Configuration, event: str, **more: object) -> None:
    log.write(
        {
            "event": event,
            "configuration": configuration.digest,
            "users": len(configuration.users),
            "acl": len(configuration.acl.entries),
            **more,
        }
    )
    for warning in configuration.warnings:
        log.write({"event": "warning", "message": warning})


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; without a host on every IPv4 and, where there is one, IPv6 address."""
    if host == "" and socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return socket.create_server(
                ("", port), family=socket.AF_INET6, backlog=2048, dualstack_ipv6=True
            )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise CannotListen(f"{host}:{port}: {reason}") from None
