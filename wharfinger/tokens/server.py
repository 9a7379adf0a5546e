"""The server: the token service behind HTTP, one process, one event loop.

A Starlette application on uvicorn. nginx is before it: the bounds on sizes, slowness and
connections are its.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from . import log
from .configuration import Configuration, ConfigurationError
from .keys import ENCODE
from .metrics import CONTENT_TYPE, Metrics
from .reload import Files, Rejected
from .service import Reply, Service, refusal

# Seconds between two looks at the files; a change is read at the second look that sees it.
POLL_INTERVAL = 0.2
# How long requests that are under way may take to end after SIGTERM, in seconds.
DRAIN = 20
# Longer than nginx keeps an idle connection (60 s): never the server closes one that the proxy
# is just about to use.
KEEP_ALIVE = 75
NO_STORE = {"cache-control": "no-store"}
# Whoever sends this header with a request, as nginx does, keeps the decision: it is in a header of
# the same name of the answer, and not in this process's own log.
DECISION = "wharfinger-decision"
# nginx reads an answer's head into 16 kB. Longer lines, whose rules have very long patterns, go
# without their lists.
LONGEST_DECISION = 12_000


class CannotListen(Exception):
    """The address cannot be listened on; the text is the address and why."""


class Application:
    """From an HTTP request to an HTTP response; `asgi` is what an ASGI server runs."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.rejected: Rejected | None = None
        self.metrics = Metrics()
        # A gap in the numbers is a decision that nobody has kept.
        self._process = secrets.token_hex(4)
        self._decisions = 0
        prefix = service.configuration.server.path_prefix
        self.asgi = Starlette(
            routes=[
                Route(f"{prefix}/auth", self._token, methods=["GET", "POST"]),
                Route(f"{prefix}/auth/token", self._token, methods=["GET", "POST"]),
                Route("/healthz", self._health),
                Route("/metrics", self._metrics),
            ],
            exception_handlers={404: _not_found, 405: _method_not_allowed},
        )
        # One address is one address: no redirect leads to it.
        self.asgi.router.redirect_slashes = False

    async def _token(self, request: Request) -> Response:
        begun = time.perf_counter()
        header = self.service.configuration.server.real_ip_header
        try:
            reply = await self.service.answer(
                request.scope["query_string"],
                await request.body() if request.method == "POST" else None,
                request.headers.get("authorization"),
                request.headers.get(header) if header else None,
                request.client.host if request.client else None,
            )
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:
            _tell_failure(error)
            self.metrics.results["failed"] += 1
            return _response(
                refusal(500, "UNKNOWN", "the token server has failed", "server_error", {})
            )
        seconds = time.perf_counter() - begun
        self.metrics.answered(reply.log, seconds)
        decision = reply.log | {"ms": round(seconds * 1000, 1)}
        if DECISION not in request.headers:
            log.write(decision)
            return _response(reply)
        return _response(reply, {DECISION: self._kept_elsewhere(decision)})

    def _kept_elsewhere(self, decision: dict[str, Any]) -> str:
        """The decision as one line, with its number since this process began."""
        self._decisions += 1
        numbered = {"process": self._process, "number": self._decisions, **decision}
        line = log.line(numbered)
        if len(line) > LONGEST_DECISION:
            short = {key: value for key, value in numbered.items() if not isinstance(value, list)}
            line = log.line(short | {"cut": True})
        return line

    async def _health(self, _: Request) -> Response:
        rejected = self.rejected
        content = {
            "status": "ok",
            "configuration": self.service.configuration.digest,
            "rejected": {"configuration": rejected.configuration, "message": rejected.message}
            if rejected
            else None,
        }
        return Response(ENCODE(content), 200, NO_STORE, "application/json")

    async def _metrics(self, _: Request) -> Response:
        text = self.metrics.text(self.service, rejected=self.rejected is not None)
        return Response(text, headers={"content-type": CONTENT_TYPE})


def _response(reply: Reply, more: Mapping[str, str] | None = None) -> Response:
    headers = NO_STORE | reply.headers | dict(more or {})
    return Response(ENCODE(reply.body), reply.status, headers, "application/json")


async def _not_found(*_: object) -> Response:
    text = "there is nothing at this address"
    return _response(refusal(404, "UNSUPPORTED", text, "invalid_request", {}))


async def _method_not_allowed(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    allowed = ", ".join(sorted((error.headers or {})["Allow"].split(", ")))
    text = f"this address takes {allowed}"
    headers = {"allow": allowed}
    return _response(refusal(405, "UNSUPPORTED", text, "invalid_request", {}, headers))


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
    # uvicorn stops at these signals, and then hands them on: so the process ends with 0, as a
    # container's should.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _tell_stop)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(files, configuration, listener))


def _tell_stop(number: int, _: object) -> None:
    log.write({"event": "stop", "signal": signal.Signals(number).name})


def http_server(application: Application) -> uvicorn.Server:
    """The HTTP server, which listens on the sockets that its `serve` is given."""
    logger = logging.getLogger("uvicorn")
    logger.handlers = [_JsonHandler()]
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    return uvicorn.Server(
        uvicorn.Config(
            application.asgi,
            http="httptools",
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


class _JsonHandler(logging.Handler):
    """What uvicorn has to say, in the log's form."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage().strip()
        log.write({"event": "http", "level": record.levelname, "message": message})


async def _serve(files: Files, configuration: Configuration, listener: socket.socket) -> None:
    service = Service(configuration)
    application = Application(service)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, found: _tell_failure(found.get("exception")))
    with log.together():
        _tell(configuration, "start", address="{}:{}".format(*listener.getsockname()[:2]))
        watcher = asyncio.create_task(watch(files, application))
        try:
            await http_server(application).serve([listener])
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
        new = configuration.server
        if (old.host, old.port, old.path_prefix) != (new.host, new.port, new.path_prefix):
            message = "server.addr and server.path_prefix count from the next start on"
            log.write({"event": "warning", "message": message})


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
