"""`backup`: one snapshot of what the registry holds and of what makes it this registry.

First the storage's links are read into one list (listing.py), a minute's work. Then restic makes
one snapshot of the list, the blobs and the identity (identity.py). Clients push, pull and delete
meanwhile. A blob goes only by a garbage collection, so that alone waits for the whole backup, and
retention for the list. A backup that is killed leaves no snapshot.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..contents.reports import run_and_report
from ..contents.storage import Storage
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists, write_atomically
from ..system.lock import is_held, locked
from . import identity, listing, recovery
from .failures import Locked
from .place import on_one_disk
from .restic import Restic
from .settings import Settings, load

# What a snapshot of this toolkit looks like. A later one may have another.
FORMAT = 1
LIST = "list.jsonl"
ABOUT = "about.json"
# Seconds. A garbage collection may be at work for a day.
COLLECTION = 26 * 3600.0
_RETENTION = 3600.0
# It reads a part of the whole repository.
_DRILL = 26 * 3600.0


def repository(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`backup_repository`: the repository is there and this host's password opens it.

    Request: {"absent": true, "password_file": the controller's path} only makes sure that no
    repository is there, before a password is made. Raises HostError if another password opens it.
    """
    restic = Restic(host)
    if check:
        return {"actions": []}
    if request.get("absent"):
        if restic.is_taken():
            raise HostError(
                "backup_repository: a repository is there already, and this controller does not "
                f"have its password: bring {request['password_file']} from the controller that "
                "made it, or write its password as backup_password"
            )
        return {"actions": []}
    actions = []
    if not restic.exists():
        restic.create()
        actions = [f"backup_repository: the repository was made at {restic.place}"]
    directory = restic.place.directory
    if directory and on_one_disk(directory, load(host).storage_path):
        warning = (
            f"backup_repository: {directory} is on the same file system as the registry's data, "
            "and would be lost with it: mount another disk there, or write a place on another host"
        )
        return {"actions": actions, "warnings": [warning]}
    return {"actions": actions}


def backup(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`backup`: makes a snapshot, then removes those that backup_keep does not name.

    No request keys. Returns `snapshot`, `tags`, `manifests`, `layers`, `bytes` (in the snapshot)
    and `added` (bytes that the repository grew by). Raises HostError.
    """
    settings = load(host)
    if check:
        return {"actions": [f"a backup of {settings.storage_path} would be made"]}

    def act(noted: dict[str, Any]) -> dict[str, Any]:
        # A drill reads the repository, which this backup may prune.
        with (
            locked(host.paths.backup_lock, "backup", 5),
            locked(host.paths.drill_lock, "backup", _DRILL),
        ):
            return _Backup(host, settings).run(noted)

    return run_and_report(host, "backup", act)


class _Backup:
    """One backup of one host's registry."""

    def __init__(self, host: Host, settings: Settings) -> None:
        self.host = host
        self.settings = settings
        self.restic = Restic(host, settings.rate)
        self.work = host.paths.backup_work

    def run(self, noted: dict[str, Any]) -> dict[str, Any]:
        """What `backup` returns."""
        before = self.restic.snapshots(self.settings.hostname)
        paths, began = self.host.paths, self.host.clock.now()
        with locked(paths.blobs_lock, "backup", COLLECTION) as held:
            with locked(paths.links_lock, "backup", _RETENTION):
                counts = self._list()
            files = self._files()
            with self.restic.backup(
                self.settings.hostname, files, before[-1].id if before else "", held
            ) as running:
                summary = running.wait(self._make_way)
        recovery.note_backup(
            self.host, summary["snapshot_id"], began, summary["total_bytes_processed"]
        )
        noted |= {
            # Newer versions than 0.14 have it in full.
            "snapshot": summary["snapshot_id"][:8],
            "repositories": counts.repositories,
            "tags": counts.tags,
            "manifests": counts.manifests,
            "layers": counts.layers,
            "unreadable": counts.unreadable,
            "bytes": summary["total_bytes_processed"],
            "added": summary["data_added"],
        }
        actions = [
            f"snapshot {noted['snapshot']}: {counts.tags} tags, {counts.manifests} manifests"
        ]
        if self.settings.keep:
            try:
                self.restic.forget(self.settings.hostname, self.settings.keep, prune=True)
            except Locked as locked_by:
                # Another host's backup is under way. This one is made all the same.
                actions.append(f"older backups stay until the next one: {locked_by}")
        return {**noted, "actions": actions}

    def _list(self) -> listing.Counts:
        """Writes the list, and what it is a list of."""
        self.work.mkdir(mode=0o700, parents=True, exist_ok=True)
        began = self.host.clock.now()
        path = self.work / f"{LIST}.new"
        with path.open("w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), 0o600)
            counts = listing.write(Storage(self.settings.storage_path), stream)
        path.replace(self.work / LIST)
        about = {
            "format": FORMAT,
            "version": self.settings.version,
            "hostname": self.settings.hostname,
            "storage_path": str(self.settings.storage_path),
            "etc": str(self.host.paths.etc),
            "var": str(self.host.paths.var),
            "began": began,
            **asdict(counts),
        }
        data = json.dumps(about, indent=1, sort_keys=True).encode() + b"\n"
        write_atomically(self.work / ABOUT, data, 0o600)
        return counts

    def _files(self) -> Path:
        """A file that names all that the snapshot gets."""
        blobs = Storage(self.settings.storage_path).root / "blobs"
        saved = [self.work / LIST, self.work / ABOUT, *identity.present(self.host.paths)]
        if exists(blobs):
            saved.append(blobs)
        path = self.work / "files"
        write_atomically(path, "".join(f"{source}\n" for source in saved).encode(), 0o600)
        return path

    def _make_way(self) -> None:
        """A full disk cannot wait for a backup of hours: a collection that waits goes first."""
        if self.settings.free_minimum and is_held(self.host.paths.collection_waits):
            space = os.statvfs(self.settings.storage_path)
            free = space.f_bavail * space.f_frsize
            if free < self.settings.free_minimum:
                raise HostError(
                    "backup: it made way for a garbage collection, since the storage has only "
                    f"{free >> 20} MiB left (storage_free_minimum): the next backup goes on"
                )
