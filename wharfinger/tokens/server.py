"""The server: the token service behind HTTP, one process, one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
import traceback
from pathlib import Path

import uvloop

from . import asgi, log
from .asgi import Request, Response
from .configuration import Configuration, ConfigurationError
from .metrics import CONTENT_TYPE, Metrics
from .reload import Files, Rejected
from .service import ENCODE, Reply, Service, refusal

# Seconds between two looks at the files; a change is read at the second look that sees it.
POLL_INTERVAL = 0.2
# How long requests that are under way may take to end after SIGTERM, in seconds.
DRAIN = 20


class CannotListen(Exception):
    """The address cannot be listened on; the text is the address and why."""


class Application:
    """From an HTTP request to an HTTP response."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.rejected: Rejected | None = None
        self.metrics = Metrics()

    async def __call__(self, request: Request) -> Response:
        try:
            return await self._respond(request)
        except Exception as error:
            _tell_failure(error)
            self.metrics.results["failed"] += 1
            return _response(
                refusal(500, "UNKNOWN", "the token server has failed", "server_error", {})
            )

    async def _respond(self, request: Request) -> Response:
        prefix = self.service.configuration.server.path_prefix
        if request.path in (f"{prefix}/auth", f"{prefix}/auth/token"):
            if request.method not in ("GET", "HEAD", "POST"):
                return _method_not_allowed("GET, HEAD, POST")
            return await self._token(request)
        if request.path == "/healthz":
            if request.method not in ("GET", "HEAD"):
                return _method_not_allowed("GET, HEAD")
            return self._health()
        if request.path == "/metrics":
            if request.method not in ("GET", "HEAD"):
                return _method_not_allowed("GET, HEAD")
            text = self.metrics.text(self.service, rejected=self.rejected is not None)
            return Response(200, text, kind=CONTENT_TYPE)
        return _response(
            refusal(404, "UNSUPPORTED", "there is nothing at this address", "invalid_request", {})
        )

    def _health(self) -> Response:
        rejected = self.rejected
        content = {
            "status": "ok",
            "configuration": self.service.configuration.digest,
            "rejected": {"configuration": rejected.configuration, "message": rejected.message}
            if rejected
            else None,
        }
        return Response(200, ENCODE(content).encode(), NO_STORE)

    async def _token(self, request: Request) -> Response:
        begun = time.perf_counter()
        header = self.service.configuration.server.real_ip_header
        reply = await self.service.answer(
            request.query,
            request.body if request.method == "POST" else None,
            _text(request, "authorization"),
            _text(request, header) if header else None,
            request.client,
        )
        seconds = time.perf_counter() - begun
        self.metrics.answered(reply.log, seconds)
        log.write(reply.log | {"ms": round(seconds * 1000, 1)})
        return _response(reply)


NO_STORE = {"cache-control": "no-store"}


def _text(request: Request, header: str) -> str | None:
    value = request.headers.get(header.lower().encode())
    return None if value is None else value.decode("latin-1")


def _response(reply: Reply) -> Response:
    return Response(reply.status, ENCODE(reply.body).encode(), {**NO_STORE, **reply.headers})


def _method_not_allowed(allow: str) -> Response:
    reply = refusal(405, "UNSUPPORTED", f"this address takes {allow}", "invalid_request", {})
    return Response(405, ENCODE(reply.body).encode(), {"allow": allow})


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
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_logging_together(files, configuration, listener))


async def _logging_together(
    files: Files, configuration: Configuration, listener: socket.socket
) -> None:
    with log.together():
        await _serve(files, configuration, listener)


async def _serve(files: Files, configuration: Configuration, listener: socket.socket) -> None:
    service = Service(configuration)
    application = Application(service)

    def no_request(status: int, client: str) -> None:
        application.metrics.results["malformed"] += 1
        log.write({"event": "http", "client": client, "status": status})

    server = asgi.Server(application, no_request)
    stop = asyncio.Event()

    def end(number: signal.Signals) -> None:
        log.write({"event": "stop", "signal": number.name})
        stop.set()

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, found: _tell_failure(found.get("exception")))
    # Its status is 0 after SIGTERM, as a container's process's should be.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    _tell(configuration, "start", address="{}:{}".format(*listener.getsockname()[:2]))
    watcher = asyncio.create_task(watch(files, application))
    try:
        await server.serve(listener, stop, DRAIN)
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
            application.metrics.reloads["rejected"] += 1
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
        application.metrics.reloads["taken"] += 1
        _tell(configuration, "reload", ms=round((time.perf_counter() - begun) * 1000, 1))
        if (old.host, old.port) != (configuration.server.host, configuration.server.port):
            log.write({"event": "warning", "message": "server.addr counts from the next start on"})


def _tell_failure(error: BaseException | None) -> None:
    """Log where it happened. An exception's text may have a password in it; the place has not."""
    places = traceback.extract_tb(error.__traceback__) if error else None
    where = f"{Path(places[-1].filename).name}:{places[-1].lineno}" if places else ""
    log.write({"event": "error", "error": type(error).__name__, "where": where})


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
