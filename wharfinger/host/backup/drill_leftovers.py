"""What a drill has on the host while it runs, and how that is removed, also if it was killed.

The timer imports this, so it must be small.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ..system.context import Host
from ..system.files import exists, remove_tree
from ..system.lock import Busy, locked
from .settings import Settings, load


def scratch(settings: Settings) -> Path:
    """Where the sample goes: on the storage's file system, which has room."""
    return settings.storage_path / ".wharfinger-drill"


def container_name(host: Host) -> str:
    """The second registry's container."""
    return f"{host.stack}-drill"


def clean(host: Host, settings: Settings) -> None:
    """Removes all of it."""
    host.engine.remove(container_name(host))
    remove_tree(host.paths.drill_sockets)
    # restic's check copies the index here, and a killed one leaves it.
    for copy in host.paths.backup_cache.glob("restic-check-cache-*"):
        remove_tree(copy)
    remove_tree(scratch(settings))


def clean_up(host: Host) -> list[str]:
    """Removes what a drill that was killed has left; returns what was done."""
    if not exists(host.paths.backup_settings):
        return []
    settings = load(host)
    if not exists(scratch(settings)):
        return []
    with suppress(Busy), locked(host.paths.drill_lock, "renew", 0):
        clean(host, settings)
        return ["drill: what a drill that was cut off had left was removed"]
    return []
