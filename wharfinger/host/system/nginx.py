"""The nginx of this host: tested before every reload, and checked after it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from .errors import HostError
from .files import read_text
from .paths import Paths
from .processes import children, clients, command_line, listeners, opened, program
from .runner import Runner
from .service import start_service

# Seconds before a reload in which clients are told to close their connections.
_LEAVING = 2
# Seconds that the workers get to open new logs.
_REOPENING = 10


class Nginx(Protocol):
    """What a switch needs from the proxy; tests pass in another."""

    def installed(self) -> bool: ...

    def test(self) -> str | None:
        """None if the configuration is valid, else nginx's message."""

    def running(self) -> bool: ...

    def workers(self) -> list[list[int]]:
        """The present workers, each as [pid, start time]."""

    def reload(self, *, gently: bool = True) -> None:
        """Uses the present configuration for new requests. `gently`: clients close their
        connections first, which takes up to two seconds. Raises HostError if the reload failed."""

    def reopen(self, files: Sequence[Path]) -> None:
        """Makes nginx open its logs again, after `files` were renamed. Waits a short time until no
        process of nginx has the old files open."""

    def start(self) -> list[str]:
        """Starts nginx; returns what was done."""


class SystemNginx:
    """nginx as a service. `command` may have options, like `-c FILE`, for another instance."""

    def __init__(self, paths: Paths, runner: Runner, command: tuple[str, ...] = ("nginx",)) -> None:
        self._paths = paths
        self._runner = runner
        self._command = command

    def installed(self) -> bool:
        return self._runner.which(self._command[0]) is not None

    def test(self) -> str | None:
        said = self._runner.run([*self._command, "-t", "-q"], timeout=60)
        return None if said.ok else said.words

    def _master(self) -> int | None:
        text = (read_text(self._paths.nginx_pid) or "").strip()
        if not text.isdecimal() or program(self._paths.proc, int(text)) != "nginx":
            return None
        return int(text)

    def running(self) -> bool:
        return self._master() is not None

    def workers(self) -> list[list[int]]:
        master = self._master()
        return [] if master is None else children(self._paths.proc, master)

    def reload(self, *, gently: bool = True) -> None:
        """Reloads, and waits for new workers. A reload that nginx accepts can still fail later (if
        a port is in use, for example): then nginx only logs that and keeps the old configuration.

        The old workers close every connection that is idle at that moment. A client that is just
        sending a request on it loses that request: docs/decisions/close_before_reload.md. If this
        is killed, the next reload removes the flag.
        """
        try:
            if gently:
                self._announce()
            self._reload()
        finally:
            self._paths.closing.unlink(missing_ok=True)

    def _announce(self) -> None:
        """Makes answers say `Connection: close`. Waits until no client is connected any more, for
        at most _LEAVING seconds."""
        own = [self._master(), *(pid for pid, _ in self.workers())]
        ports = {
            listener["port"] for listener in listeners(self._paths.proc) if listener["pid"] in own
        }
        if not clients(self._paths.proc, ports):
            return
        self._paths.closing.touch()
        deadline = time.monotonic() + _LEAVING
        while clients(self._paths.proc, ports) and time.monotonic() < deadline:
            time.sleep(0.02)

    def _reload(self) -> None:
        old_workers = self.workers()
        said = self._runner.run([*self._command, "-s", "reload"], timeout=60)
        if not said.ok:
            raise HostError(f"nginx was not reloaded: {said.words}")
        deadline = time.monotonic() + 20
        while all(worker in old_workers for worker in self.workers()):
            if time.monotonic() > deadline:
                raise HostError(
                    "nginx accepted the new configuration but still uses the old one: the reason "
                    "is in its error log (/var/log/nginx/error.log)"
                )
            time.sleep(0.02)
        # The new workers start a moment before the old ones are told to end. Until then an old one
        # may still answer a request.
        while any(map(self._takes_requests, old_workers)):
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)

    def reopen(self, files: Sequence[Path]) -> None:
        master = self._master()
        if master is None:
            return
        os.kill(master, signal.SIGUSR1)
        deadline = time.monotonic() + _REOPENING
        processes = [master, *(pid for pid, _ in self.workers())]
        while opened(self._paths.proc, processes, files) and time.monotonic() < deadline:
            time.sleep(0.02)

    def _takes_requests(self, worker: list[int]) -> bool:
        words = command_line(self._paths.proc, worker[0])
        return "worker process" in words and "shutting down" not in words

    def start(self) -> list[str]:
        if self._command != ("nginx",):
            said = self._runner.run(self._command, timeout=60)
            if not said.ok:
                raise HostError(f"nginx was not started: {said.words}")
            return ["nginx started"]
        return start_service("nginx", self._paths, self._runner, self.running)
