"""Opens the registry's storage for the jobs, with the checks before anything in it is changed."""

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
from .maintenance import Maintenance, read_only
from .reports import last_report
from .settings import Settings
from .storage import Storage, uploads_at_rest


def open_storage(settings: Settings, clock_record: clock.Record | None = None) -> Storage:
    """The registry's storage. With `clock_record`, its times are corrected to a trusted clock."""
    if not exists(settings.storage_path / "docker"):
        raise HostError(
            f"{settings.storage_path}/docker is not there: if it is on a file system of its own, "
            "mount it (`mount -a`); if nothing was deployed yet, run site.yml"
        )
    return Storage(settings.storage_path, clock_record.moment if clock_record else None)


@contextmanager
def without_writes(
    host: Host,
    state: State,
    settings: Settings,
    job: str,
    storage: Storage,
    results: dict[str, Any],
) -> Iterator[Maintenance]:
    """Read-only maintenance for work on `storage`, which stops once its time is over. `results`
    says how long it lasted, even after a failure."""
    _check_serving(host, state, settings.storage_path)
    _check_no_other_writer(host, settings.storage_path)
    before = last_report(host, job)
    maintenance: Maintenance | None = None
    try:
        with read_only(
            host,
            state,
            job,
            seconds=settings.gc_max_seconds,
            drain_timeout=settings.drain_timeout,
            expected=float((before or {}).get("window_seconds") or 0),
            uploads_at_rest=lambda: uploads_at_rest(storage, host.clock.now()),
        ) as maintenance:
            storage.on_poll = maintenance.check_deadline
            yield maintenance
    finally:
        if maintenance is not None:
            lasted = maintenance.seconds or host.clock.now() - maintenance.record.since
            results["window_seconds"] = round(lasted, 3)


def _check_serving(host: Host, state: State, folder: Path) -> None:
    """Raises HostError if the registry does not run, or uses another storage. Maintenance would
    start it, and somebody may have stopped it to work on the data."""
    records = Records(host, state, REGISTRY)
    serving = records.serving
    if serving is None:
        raise HostError("registry: nothing serves yet: run the whole site.yml first")
    name = records.name(serving.number)
    container = host.engine.inspect(name)
    if container is None or not container.running:
        raise HostError(
            f"nothing was done: the container {name} does not run, and somebody may have stopped "
            f"it to work on the data: start it with `docker start {name}`, or run site.yml"
        )
    spec = records.specification(serving.number)
    mounts = spec.mounts if spec is not None else []
    written = [Path(mount["source"]) for mount in mounts if not mount.get("read_only", True)]
    if written and not any(path.is_relative_to(folder) for path in written):
        raise HostError(
            f"nothing was done: the registry that serves has its storage in {written[0]}, not in "
            f"{folder} (storage_path): run the whole site.yml first"
        )


def _check_no_other_writer(host: Host, folder: Path) -> None:
    """Raises HostError if another container, such as an earlier registry, may write to the same
    storage. It would write during the maintenance, and its uploads could be collected at once."""
    others = host.engine.sharing(host.labels, folder)
    if others:
        raise HostError(
            f"nothing was done: the container {', '.join(others)} may write into {folder} too, and "
            "nothing would prevent that meanwhile: stop it, or mount that folder read-only there"
        )
