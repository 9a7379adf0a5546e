"""Read-only maintenance: a time in which nothing is written and everything is read.

The registry's storage can only be collected, and a tag only be removed without the danger that
somebody moves it meanwhile, while no process writes. So:

  closing   a generation of the registry that only reads is switched to, and with the same reload
            nginx refuses POST, PUT, PATCH and DELETE; the one that could write is paused as soon as
            it does nothing but receive uploads (pausing.py), or else stopped and gone
  working   what the maintenance is for
  opening   the one that was paused goes on and is switched to, or a fresh one that writes; nginx
            takes writes with the same reload

Whoever dies in it leaves the step on record, and whoever finds it under the lock (which its holder
has lost by dying) goes back to writing: `reopen`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..rollout import generations, proxy
from ..rollout.drain import Draining, Pause
from ..rollout.generations import Generations
from ..rollout.records import Records
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import drawing_on, read_text
from ..system.names import REGISTRY
from ..system.state import CLOSING, OPENING, WORKING, Generation, MaintenanceRecord, State
from .pausing import Pauser

# Seconds that docker goes on trying to push where it is answered 503; beyond them it is told 429
# with a sentence, which it shows at once. docker tries again after 5, 15, 30 and 50 s.
_UNNOTICED = 40.0
# Seconds without a connection to the registry that could write, after which none will come.
_QUIET_PERIOD = 3.0
# Seconds for what the registry that can write has begun, after which it is ended where it could not
# be paused.
_PATIENCE = 20.0
# Seconds in which docker is back where it was only restarted.
_RESTARTED = 120.0
# Bytes that are kept free for the way back, which writes some small files.
_RESERVE = 4 << 20


class Maintenance:
    """Read-only maintenance that has begun: `writes` were let in again once it is over."""

    def __init__(
        self,
        host: Host,
        state: State,
        record: MaintenanceRecord,
        drain_timeout: float,
        uploads_at_rest: Callable[[], bool] = lambda: True,
    ) -> None:
        self.host = host
        self.uploads_at_rest = uploads_at_rest
        self.state = state
        self.record = record
        self.actions: list[str] = []
        self.drain_timeout = drain_timeout
        # A clock that jumps meanwhile changes nothing.
        self._clock_offset = host.clock.now() - host.clock.monotonic()
        self._closed = False
        self.seconds = 0.0  # how long writes were refused, once they are taken again

    def _now(self) -> float:
        """Seconds since 1970, by the clock as it was when this began."""
        return self.host.clock.monotonic() + self._clock_offset

    @property
    def seconds_left(self) -> float:
        """Seconds until it must be over."""
        return self.record.until - self._now()

    def on_poll(self) -> None:
        """Called again and again: what clients do not notice as 503 becomes a readable 429 once it
        takes longer; when writes are taken again is noted."""
        record, now = self.record, self._now()
        if record.step == OPENING:
            self.seconds = self.seconds or now - record.since
        elif record.status == 503 and now - record.since > _UNNOTICED:
            record.status = 429
            self.host.store.save(self.state)
            self.actions += proxy.apply(self.host, self.state, proxy.serving_now(self.state))

    def check_deadline(self) -> None:
        """Called again and again by what works in it. Raises HostError once its time is over."""
        if self.seconds_left <= 0:
            raise HostError(
                f"{self.record.job}: it was ended after registry_gc_max_minutes and what it had "
                "removed by then is gone; the next run goes on. Where this happens again, set "
                "registry_gc_max_minutes higher"
            )
        self.on_poll()

    def step(self, step: str) -> None:
        self.record.step = step
        self.host.store.save(self.state)

    def generations(self, *, closing: bool) -> Generations:
        keepalive = _keepalive_of_old_workers(self.host)
        draining = Draining(
            self.drain_timeout, quiet_period=_QUIET_PERIOD + keepalive, on_poll=self.on_poll
        )
        records = Records(self.host, self.state, REGISTRY)
        if closing and records.serving is not None:
            draining.timeout = min(self.drain_timeout, _PATIENCE + keepalive)
            name = records.name(records.serving.number)
            pauser = Pauser(self.host, name, keepalive, self.uploads_at_rest)

            def pause(old: Generation) -> Pause:
                # nginx was led to the one that only reads: writes are refused from now on.
                if not self._closed:
                    self._closed, self.record.since = True, self._now()
                return pauser.pause(old)

            draining.pause = pause
        return Generations(self.host, self.state, REGISTRY, draining=draining)

    def serve(self, *, readonly: bool) -> None:
        generations = self.generations(closing=readonly)
        try:
            if not readonly:
                generations.switch.resume_writing()
            generations.repair()
            serving = generations.refresh(readonly=readonly)
            # Where nothing serves (a state.json that was lost), nothing has to be let in again.
            if serving is None and readonly:
                raise HostError("registry: nothing serves yet: run the whole site.yml first")
        finally:
            self.actions += generations.actions


def _keepalive_of_old_workers(host: Host) -> float:
    """Seconds for which nginx's old workers take requests on connections that were idle at the
    reload, and send them to the registry that they know: nginx 1.27.4 and later."""
    match = re.search(r"^\s*keepalive_min_timeout (\d+)s;", read_text(host.paths.site) or "", re.M)
    return float(match[1]) if match else 0.0


def container_name(host: Host) -> str:
    """The name of the container in which the storage is worked on."""
    return f"{host.stack}-collection"


@contextmanager
def read_only(
    host: Host,
    state: State,
    job: str,
    *,
    seconds: float,
    drain_timeout: float,
    expected: float,
    uploads_at_rest: Callable[[], bool] = lambda: True,
) -> Iterator[Maintenance]:
    """Nothing is written while the body runs; writes are let in again however it ends.

    seconds: how long it may last; expected: how long it lasted the last time, which decides whether
    clients had better wait (503) or be told at once (429); uploads_at_rest: see Pauser. Raises
    HostError where it cannot be opened or closed.
    """
    _take_reserve(host, job)
    now = host.clock.now()
    status = 429 if expected > _UNNOTICED else 503
    state.window = MaintenanceRecord(job, CLOSING, now, now + seconds, status)
    maintenance = Maintenance(host, state, state.window, drain_timeout, uploads_at_rest)
    try:
        host.store.save(state)
        # Nobody is refused anything until the one that only reads is there to be switched to.
        maintenance.serve(readonly=True)
        maintenance.step(WORKING)
        yield maintenance
    except (Exception, KeyboardInterrupt):
        _reopen(host, state, maintenance)
        raise
    _reopen(host, state, maintenance)


def _reopen(host: Host, state: State, maintenance: Maintenance) -> None:
    reserve = _reserve_path(host)
    with suppress(OSError):
        # For docker. What is left is for the small files here, piece by piece: whoever fills the
        # disk would take all of it at once.
        os.truncate(reserve, min(reserve.stat().st_size, _RESERVE // 2))
    with drawing_on(reserve):
        _remove_container(host)
        _restore(host)
        maintenance.step(OPENING)
        maintenance.serve(readonly=False)
        maintenance.actions += proxy.apply(host, state, proxy.serving_now(state))
        maintenance.on_poll()
        state.window = None
        host.store.save(state)
    reserve.unlink(missing_ok=True)


def _reserve_path(host: Host) -> Path:
    return host.paths.reports / "reserve"


def _take_reserve(host: Host, job: str) -> None:
    """Takes the place that the way back needs: a disk that is full by then keeps nobody out, and
    one that is full already is told before anybody is refused anything."""
    path = _reserve_path(host)
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        with path.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, _RESERVE)
    except OSError as problem:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise HostError(
            f"{job}: nothing was done: {path.parent}: {problem.strerror}. It needs {_RESERVE >> 20}"
            " MiB there and some more for docker: free them first"
        ) from problem


def _remove_container(host: Host) -> None:
    """The container in which the storage is worked on is gone. docker may just be restarted (an
    upgrade does that), which ends the work: it is waited for, so that nobody is kept out until the
    renewals' timer comes."""
    deadline = host.clock.monotonic() + _RESTARTED
    while True:
        try:
            host.engine.remove(container_name(host))
            return
        except HostError:
            if host.clock.monotonic() >= deadline:
                raise
            host.clock.sleep(1)


def _restore(host: Host) -> None:
    """What was put aside in the storage for the work is back in its place. Where it cannot be now,
    the next collection does it, and nobody is kept out for that."""
    from .storage import restore

    with suppress(OSError, HostError):
        restore(host.paths.aside)


def ensure(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`ensure` (generations.py), also where the maintenance's process is gone: the generation
    that is asked for takes writes again, and what cannot be started any more is not tried."""
    state = host.store.load()
    interrupted = state.window
    if check or request["spec"].get("kind") != REGISTRY:
        return generations.ensure(host, request, check)
    # Also where a state.json that was lost tells of no maintenance.
    if host.engine.inspect(container_name(host)) is not None:
        host.engine.remove(container_name(host))
    _restore(host)
    if interrupted is None:
        return generations.ensure(host, request, check)
    _reserve_path(host).unlink(missing_ok=True)
    interrupted.step = OPENING
    host.store.save(state)
    answer = generations.ensure(host, request, check)
    state = host.store.load()
    state.window = None
    host.store.save(state)
    return {**answer, "actions": [_interruption(interrupted), *answer["actions"]]}


def _interruption(record: MaintenanceRecord) -> str:
    return f"{record.job}: it was interrupted; the registry takes writes again"


def reopen(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`reopen`: where the maintenance's process is gone, the registry takes writes again. No
    request keys.

    Called under the lock, which no living process holds then.
    """
    state = host.store.load()
    if state.window is None:
        return {"actions": []}
    interrupted = state.window
    if check:
        return {"actions": [_interruption(interrupted)]}
    maintenance = Maintenance(host, state, interrupted, 600)
    _reopen(host, state, maintenance)
    return {"actions": [_interruption(interrupted), *maintenance.actions]}
