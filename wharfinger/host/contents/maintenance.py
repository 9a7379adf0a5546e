"""Read-only maintenance: a time in which the registry answers reads and nothing is written.

The storage can be collected, and a tag removed without the risk that a client moves it meanwhile,
only while no process writes. So there are three steps:

  closing   nginx switches to a read-only generation of the registry and, with the same reload,
            refuses POST, PUT, PATCH and DELETE; the writable generation is paused as soon as it
            does nothing but receive uploads (pausing.py), or else stopped and removed
  working   the job works on the storage
  opening   the paused generation resumes, or a new writable one starts; nginx switches to it and
            accepts writes again with the same reload

The step is recorded. If the process dies, it loses the lock, and the next process that takes the
lock makes the registry writable again: `reopen`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..rollout import generations, proxy
from ..rollout.drain import Draining, Pause
from ..rollout.generations import Generations
from ..rollout.records import Records
from ..system import restoring
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import drawing_on, read_text
from ..system.names import REGISTRY
from ..system.restoring import BRINGING, CLOSED
from ..system.state import CLOSING, OPENING, WORKING, Generation, MaintenanceRecord, State
from .pausing import Pauser

# Seconds for which docker retries a push that is answered 503. Later writes are answered 429 with a
# sentence, which docker shows at once. docker retries after 5, 15, 30 and 50 s.
_UNNOTICED = 40.0
# Seconds without a connection to the writable registry after which no more will come.
_QUIET_PERIOD = 3.0
# Seconds for the requests of the writable registry; then it is stopped if it cannot be paused.
_PATIENCE = 20.0
# Seconds to wait for a docker that is only being restarted.
_RESTARTED = 120.0
# Bytes that are reserved for the end of the maintenance, which writes some small files.
_RESERVE = 4 << 20


class Maintenance:
    """Read-only maintenance that has begun. `actions` says what was done."""

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
        # So a clock that jumps meanwhile changes nothing.
        self._clock_offset = host.clock.now() - host.clock.monotonic()
        self._closed = False
        self.seconds = 0.0  # how long writes were refused; set once they are accepted again

    def _now(self) -> float:
        """Seconds since 1970, by the clock as it was when this began."""
        return self.host.clock.monotonic() + self._clock_offset

    @property
    def seconds_left(self) -> float:
        """Seconds until it must be over."""
        return self.record.until - self._now()

    def on_poll(self) -> None:
        """Called at each poll. Turns the 503, which docker does not show, into a readable 429 once
        the maintenance takes longer; notes for how long writes were refused."""
        record, now = self.record, self._now()
        if record.step == OPENING:
            self.seconds = self.seconds or now - record.since
        elif record.status == 503 and now - record.since > _UNNOTICED:
            record.status = 429
            self.host.store.save(self.state)
            self.actions += proxy.apply(self.host, self.state, proxy.serving_now(self.state))

    def check_deadline(self) -> None:
        """Called again and again by the job. Raises HostError once the time is over."""
        if self.seconds_left <= 0:
            raise HostError(
                f"{self.record.job}: it was stopped after registry_gc_max_minutes. What it had "
                "removed by then is gone, and the next run continues. If this happens again, raise "
                "registry_gc_max_minutes"
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
                # nginx leads to the read-only generation now, so writes are refused from here on.
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
            # If nothing serves (state.json was lost), there is nothing to make writable again.
            if serving is None and readonly:
                raise HostError("registry: nothing serves yet: run the whole site.yml first")
        finally:
            self.actions += generations.actions


def _keepalive_of_old_workers(host: Host) -> float:
    """Seconds for which the old workers of nginx 1.27.4 and later still accept requests on
    connections that were idle at the reload, and send them to the previous generation."""
    match = re.search(r"^\s*keepalive_min_timeout (\d+)s;", read_text(host.paths.site) or "", re.M)
    return float(match[1]) if match else 0.0


def container_name(host: Host) -> str:
    """The name of the container in which the collection runs."""
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
    """Nothing is written while the body runs. Writes are accepted again however it ends.

    seconds: how long it may last; expected: how long it lasted the last time, which decides whether
    clients retry (503) or see a message at once (429); uploads_at_rest: see Pauser. Raises
    HostError if the registry cannot be made read-only or writable again.
    """
    _take_reserve(host, job)
    now = host.clock.now()
    status = 429 if expected > _UNNOTICED else 503
    state.window = MaintenanceRecord(job, CLOSING, now, now + seconds, status)
    maintenance = Maintenance(host, state, state.window, drain_timeout, uploads_at_rest)
    try:
        host.store.save(state)
        # No write is refused before the read-only generation is ready.
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
        # Half of the reserve is for docker. The rest is freed piece by piece for the small files
        # here: freed at once, it could all be taken by whatever fills the disk.
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
    """Reserves the space that the end of the maintenance needs. So a disk that fills up meanwhile
    does not keep writes refused, and a disk that is already full is reported before any write is
    refused."""
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
            " MiB there, and docker needs some more: free this space first"
        ) from problem


def _remove_container(host: Host) -> None:
    """Removes the container of the collection. Waits for a docker that is just being restarted (by
    an upgrade, say), since otherwise writes would stay refused until the next run of the timer."""
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
    """Puts back what the collection has put aside in the storage. If that fails, the next
    collection does it; writes are accepted meanwhile."""
    from .storage import restore

    with suppress(OSError, HostError):
        restore(host.paths.aside)


def ensure(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`ensure` (generations.py), which also ends maintenance whose process has died: it starts the
    requested generation as a writable one, and does not first try the previous specification."""
    state = host.store.load()
    interrupted = state.window
    if check or request["spec"].get("kind") != REGISTRY:
        return generations.ensure(host, request, check)
    # Even if the record of the maintenance was lost with state.json.
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
    """`reopen`: ends maintenance whose process has died, so that the registry takes writes again;
    so do repositories whose restore has died. No request keys.

    Called under the lock, so no living process is in maintenance.
    """
    state = host.store.load()
    actions = _repositories_reopened(host, state, check)
    if state.window is None:
        return {"actions": actions}
    interrupted = state.window
    if check:
        return {"actions": [_interruption(interrupted)]}
    maintenance = Maintenance(host, state, interrupted, 600)
    _reopen(host, state, maintenance)
    return {"actions": [*actions, _interruption(interrupted), *maintenance.actions]}


def _repositories_reopened(host: Host, state: State, check: bool) -> list[str]:
    record = restoring.load(host.paths.restoring)
    if record is None or record.step != CLOSED:
        return []
    if not check:
        restoring.save(host.paths.restoring, replace(record, step=BRINGING))
        proxy.apply(host, state, proxy.serving_now(state))
    return [f"{', '.join(record.only)}: writes are accepted again"]
