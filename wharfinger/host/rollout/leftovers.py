"""Removes leftovers: containers with our labels and directories that no record names, and old
records."""

from __future__ import annotations

from ..system.engine import Container
from ..system.files import remove_tree
from ..system.state import DRAINING, RETIRED, Generation
from .readiness import POLL_INTERVAL
from .records import Records


def remove_leftovers(records: Records, timeout: float) -> None:
    """Removes them. `timeout`: seconds for the last requests to such a container.

    If no generation is recorded as serving (state.json was lost or restored), nginx may lead to any
    container that runs: they all stay until a recorded generation serves."""
    serving, engine = records.serving, records.host.engine
    draining = {records.name(generation.number) for generation in records.record.in_phase(DRAINING)}
    for container in engine.containers(records.labels):
        if serving is None and container.alive:
            return
        if container.name in draining:
            continue
        if serving is None or container.name != records.name(serving.number):
            _wait_for_last_requests(records, container, serving, timeout)
            engine.remove(container.name)
            records.did(f"the leftover container {container.name} was removed")
    previous = records.record.previous
    retired = [
        generation for generation in records.record.in_phase(RETIRED) if generation is not previous
    ]
    if retired:
        for generation in retired:
            records.record.generations.remove(generation)
        records.save()
    known = {str(generation.number) for generation in records.record.generations}
    parent = records.host.paths.generations / records.kind
    if parent.is_dir():
        for path in sorted(parent.iterdir()):
            if path.name not in known:
                remove_tree(path)


def _wait_for_last_requests(
    records: Records, container: Container, serving: Generation | None, timeout: float
) -> None:
    """Waits for the last requests to a container that no record names."""
    clock = records.host.clock
    deadline = clock.monotonic() + timeout
    while (
        serving is not None
        and container.running
        and container.address is not None
        and records.host.traffic.connections(container.address, serving.port) > 0
        and clock.monotonic() < deadline
    ):
        clock.sleep(POLL_INTERVAL)
