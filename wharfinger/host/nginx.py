"""The nginx of this host: tested before every reload, and looked at after it."""

from __future__ import annotations

import time
from typing import Protocol

from .errors import HostError
from .files import exists, read_text
from .paths import Paths
from .processes import children, program
from .runner import Runner
from .service import start_service


class Nginx(Protocol):
    """What a switch asks of the proxy; tests hand in another."""

    def installed(self) -> bool: ...

    def test(self) -> str | None:
        """None where the configuration is good, else nginx's words."""

    def running(self) -> bool: ...

    def workers(self) -> list[list[int]]:
        """Its present workers: [pid, start time] each."""

    def reload(self) -> None:
        """Leads new requests to the present configuration. Raises HostError where it did not."""

    def start(self) -> list[str]:
        """Starts it; returns how."""


class SystemNginx:
    """nginx as a service. `command` may carry options, as `-c FILE`, for another instance."""

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

    def reload(self) -> None:
        """A reload that nginx accepts can still fail behind its back (a port in use, say): it then
        says so in its log only and goes on as before. So: new workers must appear."""
        before = self.workers()
        said = self._runner.run([*self._command, "-s", "reload"], timeout=60)
        if not said.ok:
            raise HostError(f"nginx was not reloaded: {said.words}")
        deadline = time.monotonic() + 20
        while all(one in before for one in self.workers()):
            if time.monotonic() > deadline:
                raise HostError(
                    "nginx took the new configuration but goes on with the old one: the reason is "
                    "in its error log (/var/log/nginx/error.log)"
                )
            time.sleep(0.02)

    def start(self) -> list[str]:
        if self._command != ("nginx",):
            said = self._runner.run(self._command, timeout=60)
            if not said.ok:
                raise HostError(f"nginx was not started: {said.words}")
            return ["nginx started"]
        return start_service("nginx", self._paths, self._runner, self.running)


def site_present(paths: Paths) -> bool:
    """Whether the toolkit's own site file is in place."""
    return exists(paths.site)
