"""Everything that a step touches, passed in as one object, so that tests can pass in another."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...deployment.fixed import REGISTRY_ID, TOKEN_SERVER_ID
from .clock import Reading, boot_id, synchronised
from .engine import DockerEngine, Engine
from .nginx import Nginx, SystemNginx
from .paths import Paths
from .probe import get, served
from .processes import alive, connections
from .runner import Runner, SystemRunner
from .state import Store


class Clock:
    """Wall-clock time (seconds since 1970), monotonic time, and sleeping."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def reading(self) -> Reading:
        """A reading for `clock.judge`."""
        up = time.clock_gettime(time.CLOCK_BOOTTIME)
        return Reading(boot_id(), self.now(), up, synchronised())


class Traffic:
    """Connections and workers that may still bring requests to a generation."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc

    def connections(self, address: str, port: int) -> int:
        return len(self.each(address, port))

    def each(self, address: str, port: int) -> frozenset[int]:
        """The connections to address:port, each by a number that it keeps while it is open."""
        return connections(self._proc, address, port)

    def alive(self, workers: list[list[int]]) -> list[list[int]]:
        return alive(self._proc, workers)


@dataclass
class Host:
    """One host, or what a test puts in its place.

    `stack` is in the names and labels of docker's objects. A host has one stack; tests have others.
    """

    paths: Paths
    runner: Runner
    engine: Engine
    nginx: Nginx
    traffic: Traffic
    store: Store
    clock: Clock
    probe: Callable[..., tuple[int, bytes]] = get
    served: Callable[[str, int, str, float], str | None] = served
    stack: str = "wharfinger"
    registry_id: int = REGISTRY_ID
    token_server_id: int = TOKEN_SERVER_ID
    root_id: int = 0

    @classmethod
    def real(
        cls,
        paths: Paths | None = None,
        *,
        stack: str = "wharfinger",
        nginx: tuple[str, ...] = ("nginx",),
    ) -> Host:
        """This host. A second stack beside it needs other `paths`, `stack` and `nginx` command."""
        paths = paths or Paths()
        runner = SystemRunner()
        return cls(
            paths=paths,
            runner=runner,
            engine=DockerEngine(paths.docker_socket),
            nginx=SystemNginx(paths, runner, nginx),
            traffic=Traffic(paths.proc),
            store=Store(paths.state),
            clock=Clock(),
            stack=stack,
        )

    @property
    def labels(self) -> dict[str, str]:
        return {"wharfinger.stack": self.stack}
