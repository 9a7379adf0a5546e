"""Serves the application with uvicorn, in one process and one event loop, and watches the files.

nginx in front of it bounds sizes, slowness and connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from pathlib import Path

import uvicorn
import uvloop

from . import log
from .app import Application, log_failure
from .config import Configuration, ConfigurationError
from .issue import Issuer
from .reload import Files, Rejected

# Seconds between two looks at the files. A change is read at the second look that sees it.
POLL_INTERVAL = 0.2
# How many seconds requests in progress may take after SIGTERM.
DRAIN = 20
# Longer than nginx keeps an idle connection (60 s): otherwise the server could close one just when
# nginx uses it.
KEEP_ALIVE = 75


class CannotListen(Exception):
    """The server cannot listen on the address; the text is the address and the reason."""


def serve(path: Path, *, host: str | None = None, port: int | None = None) -> None:
    """Serve until SIGTERM or SIGINT; requests in progress are answered first.

    Args:
        path: the configuration file, read again whenever it changes.
        host, port: where to listen, instead of the file's `server.addr`.

    Raises:
        ConfigurationError: the file cannot be used.
        CannotListen: the address is in use or not one of this machine.
    """
    files = Files(path)
    configuration = files.load()
    listener = _listen(
        configuration.server.host if host is None else host,
        configuration.server.port if port is None else port,
    )
    # uvicorn stops at these signals and then passes them on. This handler lets the process end with
    # 0, as a container should.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _log_stop)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(files, configuration, listener))


def _log_stop(number: int, _: object) -> None:
    log.write({"event": "stop", "signal": signal.Signals(number).name})


def http_server(application: Application) -> uvicorn.Server:
    """The HTTP server. Its `serve` takes the sockets to listen on."""
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
            # `server.real_ip_header` says where the client's address is.
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=DRAIN,
        )
    )


class _JsonHandler(logging.Handler):
    """Writes uvicorn's messages to the log."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage().strip()
        log.write({"event": "http", "level": record.levelname, "message": message})


async def _serve(files: Files, configuration: Configuration, listener: socket.socket) -> None:
    issuer = Issuer(configuration)
    application = Application(issuer)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: log_failure(context.get("exception")))
    with log.together():
        _log_configuration(
            "start", configuration, address="{}:{}".format(*listener.getsockname()[:2])
        )
        watcher = asyncio.create_task(watch(files, application))
        try:
            await http_server(application).serve([listener])
        finally:
            watcher.cancel()
            issuer.close()


async def watch(files: Files, application: Application) -> None:
    """Put each valid change of the files in force, until cancelled."""
    while True:
        await asyncio.sleep(POLL_INTERVAL)
        if not files.changed():
            continue
        begun = time.perf_counter()
        try:
            configuration = await asyncio.to_thread(files.load)
        except ConfigurationError as error:
            _reject(application, files.digest(), error)
        except Exception as error:
            # A bug in this program must not end the loop.
            log_failure(error)
        else:
            _use(application, configuration, time.perf_counter() - begun)


def _reject(application: Application, digest: str, error: ConfigurationError) -> None:
    """Keep the configuration in force, and say so in the log, the metrics and /healthz."""
    application.rejected = Rejected(digest, str(error))
    application.metrics.reloads["rejected"] += 1
    log.write(
        {
            "event": "rejected",
            "configuration": digest,
            "problems": [str(problem) for problem in error.problems],
            "in_force": application.issuer.configuration.digest,
        }
    )


def _use(application: Application, configuration: Configuration, seconds: float) -> None:
    """Put a configuration in force, which took so many seconds to load."""
    old, new = application.issuer.configuration.server, configuration.server
    application.rejected = None
    application.issuer.use(configuration)
    application.metrics.reloads["taken"] += 1
    _log_configuration("reload", configuration, ms=round(seconds * 1000, 1))
    if (old.host, old.port, old.path_prefix) != (new.host, new.port, new.path_prefix):
        message = "server.addr and server.path_prefix take effect at the next start"
        log.write({"event": "warning", "message": message})


def _log_configuration(event: str, configuration: Configuration, **more: object) -> None:
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
    """A listening socket; without a host, on all IPv4 and IPv6 addresses."""
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
