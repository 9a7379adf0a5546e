"""The last requests of a generation that nginx has left, and its end."""

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

# Seconds between two looks at the new generation while the old one is drained.
_LOOK_INTERVAL = 1.0
# Seconds that a process has to end in once it was waited for in vain.
_CUT_OFF = 10
# Lines of a token server's that outlive its container: more than Docker keeps.
_LOG_KEPT = 200_000


class Pause(Enum):
    """What became of the wish to pause a generation instead of stopping it."""

    PAUSED = "it is paused"
    NOT_YET = "it may be the next time"
    IMPOSSIBLE = "it cannot be paused"


@dataclass
class Draining:
    """How a generation is drained.

    timeout: seconds after which it is stopped all the same; revoke: it is stopped at once;
    quiet_period: seconds without a connection to it after which old workers of nginx (busy with a
    slow download from the disk) are not waited for; on_poll: called again and again while it is
    drained; pause: called as often; where it has paused it, it stays as it is
    (`Switch.resume_writing`)."""

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
        """Waits for the old one's last requests (not at all with `revoke`), then removes it. Where
        the new one has ended meanwhile, the old one serves again, and what happened is returned."""
        self.wake(old)
        if not self.draining.revoke:
            stays, taken_back = self._wait(old)
            if stays:
                return taken_back
        self._remove(old)
        return None

    def _wait(self, old: Generation) -> tuple[bool, str | None]:
        """Waits for the last requests. Whether it stays, paused or serving again, and in the latter
        case what happened."""
        clock, draining = self.host.clock, self.draining
        last_look = last_request = clock.monotonic()
        # Only what has passed before comes from the clock on the wall, which may have jumped.
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
                    "and was stopped all the same"
                )
                break
            clock.sleep(POLL_INTERVAL)
        why = self._take_back(old)
        return why is not None, why

    def _is_quiet_since(self, moment: float) -> bool:
        """Whether old workers of nginx need not be waited for any more."""
        quiet_period = self.draining.quiet_period
        return quiet_period is not None and self.host.clock.monotonic() - moment >= quiet_period

    def _busy(self, old: Generation) -> str:
        """What may still come to it: `requests`, or only `workers` that knew it; "" for nothing."""
        traffic = self.host.traffic
        if traffic.connections(old.address, old.port) > 0:
            return "requests"
        return "workers" if traffic.alive(old.workers) else ""

    def _remove(self, old: Generation) -> None:
        name, draining = self.records.name(old.number), self.draining
        # Where writes wait for it, what was waited for long enough is cut off for good.
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
        """What docker still has of a token server's log outlives the container. Killed in between,
        the next run keeps it once more."""
        if self.records.kind == TOKEN_SERVER:
            with suppress(HostError, OSError):
                logs.append(self.host, self.host.engine.logs(name, _LOG_KEPT))

    def _take_back(self, old: Generation) -> str | None:
        """Where the new one has ended while the old one is still there, that serves again; what
        happened, None where nothing did."""
        records, state = self.records, self.records.state
        serving = records.serving
        if serving is None or records.lives(serving) or not records.lives(old):
            return None
        serves = {**proxy.serving_now(state), records.kind: old}
        records.actions += proxy.apply(self.host, state, serves, gently=False)
        records.enter(old, SERVING)
        serving.phase = STARTING  # a kill from here on: it is taken away
        old.workers = []
        records.save()
        # Only now, because this may take its time.
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
        """Goes on with one that was paused. Raises HostError while what it must not meet may still
        be at work: maintenance that was not ended yet."""
        container, maintenance = self.records.container(generation), self.records.state.window
        if container is None or not container.paused:
            return
        if maintenance is not None and maintenance.step != OPENING:
            raise HostError(
                f"{self.records.kind}: generation {generation.number} stays paused until the work "
                f"of {maintenance.job} is over: `{self.host.paths.command} reopen` ends it"
            )
        self.host.engine.unpause(container.name)
