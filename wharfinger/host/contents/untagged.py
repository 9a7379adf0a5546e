"""Notes on manifests without a tag, and since when: the timer writes them, the jobs read them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ..system import clock_check
from ..system.context import Host
from ..system.files import exists, read_bytes, write_atomically
from .opened_storage import open_storage
from .settings import load
from .storage import grace


def notes(host: Host) -> Any:
    """The timer's notes on manifests without a tag."""
    return grace.decode(read_bytes(host.paths.untagged))


def note_untagged(host: Host) -> None:
    """Notes which manifests have no tag (storage/grace.py). The timer calls this under the host's
    lock, and only while the clock is not in doubt."""
    if not exists(host.paths.contents_settings):
        return  # deployed by an earlier version
    settings = load(host)
    if not exists(settings.storage_path / "docker"):
        return  # nothing was pushed yet, or the jobs report what is wrong
    store = open_storage(settings, clock_check.look(host, check=True))
    before = read_bytes(host.paths.untagged)
    data = grace.encode(grace.updated_notes(store, grace.decode(before), host.clock.now()))
    if data != before:
        # On a full disk manifests stay longer. Other checks report the disk.
        with suppress(OSError):
            host.paths.reports.mkdir(mode=0o750, parents=True, exist_ok=True)
            write_atomically(host.paths.untagged, data, 0o600)
