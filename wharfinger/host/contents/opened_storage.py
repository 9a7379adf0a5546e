"""The registry's storage as the jobs open it, and the checks before anything in it is changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..rollout.records import Records
from ..system import clock
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists
from ..system.names import REGISTRY
from ..system.state import State
from . import maintenance
from .reports import report
from .settings import Settings
from .storage import Storage, uploads_at_rest


def open_storage(settings: Settings, believed: clock.Record | None = None) -> Storage:
    """The registry's storage, its times as a clock that can be believed has them."""
    if not exists(settings.storage_path / "docker"):
        raise HostError(
            f"{settings.storage_path}/docker is not there: if it is on a file system of its own, "
            "mount it (`mount -a`); where nothing was deployed yet, run site.yml"
        )
    return Storage(settings.storage_path, believed.moment if believed else None)


@contextmanager
def without_writes(
    host: Host, state: State, settings: Settings, job: str, store: Storage, noted: dict[str, Any]
) -> Iterator[maintenance.Maintenance]:
    """Read-only maintenance for work on `store`, which ends where it has lasted long enough; how
    long it was is `noted`, however it ended."""
    _it_serves(host, state, settings.storage_path)
    _nobody_else_writes(host, settings.storage_path)
    before = report(host, job)
    time: maintenance.Maintenance | None = None
    try:
        with maintenance.read_only(
            host,
            state,
            job,
            seconds=settings.gc_max_seconds,
            drain_timeout=settings.drain_timeout,
            expected=float((before or {}).get("window_seconds") or 0),
            resting=lambda: uploads_at_rest(store, host.clock.now()),
        ) as time:
            store.on_poll = time.go_on
            yield time
    finally:
        if time is not None:
            lasted = time.seconds or host.clock.now() - time.record.since
            noted["window_seconds"] = round(lasted, 3)


def _it_serves(host: Host, state: State, folder: Path) -> None:
    """Refuses where the registry does not run, or not on this storage: maintenance would start it
    while somebody may have stopped it to work on the data."""
    records = Records(host, state, REGISTRY)
    serving = records.serving
    if serving is None:
        raise HostError("registry: nothing serves yet: run the whole site.yml first")
    name = records.name(serving.number)
    found = host.engine.inspect(name)
    if found is None or not found.running:
        raise HostError(
            f"nothing was done: the container {name} does not run, and somebody may have stopped "
            f"it to work on the data: start it with `docker start {name}`, or run site.yml"
        )
    spec = records.specification(serving.number)
    mounts = spec.mounts if spec is not None else []
    written = [Path(one["source"]) for one in mounts if not one.get("read_only", True)]
    if written and not any(one.is_relative_to(folder) for one in written):
        raise HostError(
            f"nothing was done: the registry that serves has its storage in {written[0]}, not in "
            f"{folder} (storage_path): run the whole site.yml first"
        )


def _nobody_else_writes(host: Host, folder: Path) -> None:
    """Refuses where another registry (one of before, say) has the same storage: maintenance would
    not keep it from writing, and what it writes could be collected at once."""
    others = host.engine.sharing(host.labels, folder)
    if others:
        raise HostError(
            f"nothing was done: the container {', '.join(others)} may write into {folder} too, and "
            "nothing keeps it from that meanwhile: stop it, or give it that folder read-only"
        )
