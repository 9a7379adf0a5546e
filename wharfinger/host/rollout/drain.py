"""Drains a generation: waits for its last requests after nginx has left it, then removes it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from ..system import logs
from ..system.errors import HostError
from ..system.names import TOKEN_SERVER
from ..system.state import OPENING, RETIRED, SERVING, STARTING, Generation
from . import proxy
from .readiness import POLL_INTERVAL, Readiness
from .records import Records

# Seconds between two checks that the new generation lives while the old one is drained.
_LOOK_INTERVAL = 1.0
# Seconds for a process to end by itself after its drain has timed out.
_CUT_OFF = 10
# Lines of a token server's log that outlive its container: more than Docker keeps.
_LOG_KEPT = 200_000


class Pause(Enum):
    """The result of an attempt to pause a generation instead of stopping it."""

    PAUSED = "it is paused"
    NOT_YET = "it may be the next time"
    IMPOSSIBLE = "it cannot be paused"


@dataclass
class Draining:
    """How a generation is drained.

    timeout: seconds after which it is stopped even if it still has requests; revoke: it is stopped
    at once; quiet_period: seconds without a connection to it after which nginx's old workers, which
    may be busy with a slow download from the disk, are not waited for; on_poll, pause: called at
    each poll; a generation that `pause` has paused stays so (`Switch.resume_writing`)."""

    timeout: float = 600
    revoke: bool = False
    quiet_period: float | None = None
    on_poll: Callable[[], None] = lambda: None
    pause: Callable[[Generation], Pause] = lambda old: Pause.IMPOSSIBLE


class Drain:
    """Drains the generations of one kind."""

    def __init__(self, records: Records, readiness: Readiness, draining: Draining) -> None:
        self.records = records
        self.host = records.host
        self.readiness = readiness
        self.draining = draining

    def drain(self, old: Generation) -> str | None:
        """Waits for the old generation's last requests (not at all with `revoke`), then removes it.
        If the new one ends meanwhile, the old one serves again, and the return value says why."""
        self.wake(old)
        if not self.draining.revoke:
            stays, taken_back = self._wait(old)
            if stays:
                return taken_back
        self._remove(old)
        return None

    def _wait(self, old: Generation) -> tuple[bool, str | None]:
        """Waits for the last requests. Returns whether the old generation stays, paused or serving
        again; and if it serves again, why."""
        clock, draining = self.host.clock, self.draining
        last_look = last_request = clock.monotonic()
        # The wall clock, which may jump, only says how long an earlier run has drained it.
        elapsed = max(clock.now() - old.since, 0)
        deadline = last_look + max(draining.timeout - elapsed, 0)
        while True:
            pause = draining.pause(old)
            if pause is Pause.PAUSED:
                self.records.did(f"generation {old.number} is paused")
                return True, None
            busy = self._busy(old)
            if not busy and pause is Pause.IMPOSSIBLE:
                break
            if busy == "requests":
                last_request = clock.monotonic()
            elif pause is Pause.IMPOSSIBLE and self._is_quiet_since(last_request):
                break
            draining.on_poll()
            if clock.monotonic() - last_look >= _LOOK_INTERVAL:
                last_look = clock.monotonic()
                if (why := self._take_back(old)) is not None:
                    return True, why
            if clock.monotonic() >= deadline:
                self.records.did(
                    f"generation {old.number} still had requests after {draining.timeout:g} s "
                    "and was stopped anyway"
                )
                break
            clock.sleep(POLL_INTERVAL)
        why = self._take_back(old)
        return why is not None, why

    def _is_quiet_since(self, moment: float) -> bool:
        """Whether nginx's old workers need no longer be waited for."""
        quiet_period = self.draining.quiet_period
        return quiet_period is not None and self.host.clock.monotonic() - moment >= quiet_period

    def _busy(self, old: Generation) -> str:
        """Why it is still busy: `requests` if it has connections, `workers` if only nginx's old
        workers could still send it some; "" if it is not busy."""
        traffic = self.host.traffic
        if traffic.connections(old.address, old.port) > 0:
            return "requests"
        return "workers" if traffic.alive(old.workers) else ""

    def _remove(self, old: Generation) -> None:
        name, draining = self.records.name(old.number), self.draining
        # During read-only maintenance, writes wait for it: it gets little time to end.
        stop_timeout = (
            old.stop_timeout if draining.quiet_period is None else min(old.stop_timeout, _CUT_OFF)
        )
        self.host.engine.stop(name, 0 if draining.revoke else stop_timeout)
        self._keep_log(name)
        self.host.engine.remove(name)
        self.records.enter(old, RETIRED)
        old.workers = []
        self.records.save()

    def _keep_log(self, name: str) -> None:
        """Keeps what docker still has of a token server's log. After a kill in between, the next
        run may keep some lines twice."""
        if self.records.kind == TOKEN_SERVER:
            with suppress(HostError, OSError):
                logs.append(self.host, self.host.engine.logs(name, _LOG_KEPT))

    def _take_back(self, old: Generation) -> str | None:
        """If the new generation has ended and the old one still runs, makes the old one serve again
        and returns what happened. Otherwise returns None."""
        records, state = self.records, self.records.state
        serving = records.serving
        if serving is None or records.lives(serving) or not records.lives(old):
            return None
        serves = {**proxy.serving_now(state), records.kind: old}
        records.actions += proxy.apply(self.host, state, serves, gently=False)
        records.enter(old, SERVING)
        serving.phase = STARTING  # after a kill from here on, it is removed
        old.workers = []
        records.save()
        # Only now, because this may take long.
        container = records.container(serving)
        why = (
            "its container has disappeared"
            if container is None
            else self.readiness.why_it_ended(container)
        )
        records.discard(serving)
        records.did(f"generation {old.number} serves again, because {serving.number} has ended")
        return (
            f"{records.kind}: the new generation {serving.number} ended while {old.number} "
            f"answered its last requests, and {old.number} serves again: {why}"
        )

    def wake(self, generation: Generation) -> None:
        """Resumes a paused generation. Raises HostError while read-only maintenance may still work
        on the storage."""
        container, maintenance = self.records.container(generation), self.records.state.window
        if container is None or not container.paused:
            return
        if maintenance is not None and maintenance.step != OPENING:
            raise HostError(
                f"{self.records.kind}: generation {generation.number} stays paused until the work "
                f"of {maintenance.job} is over: `{self.host.paths.command} reopen` ends it"
            )
        self.host.engine.unpause(container.name)
