"""What a snapshot of this toolkit has in it, and the snapshot that a person means."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contents.storage import Storage
from ..system.errors import HostError
from . import listing
from .backup import ABOUT, LIST
from .listing import Entry
from .restic import Restic, Snapshot, pattern

_WANTED = re.compile(r"latest|[0-9a-f]{8,64}")


@dataclass(frozen=True)
class About:
    """What a snapshot says of itself (about.json): the toolkit's `format` of snapshots and
    `version`, the registry's `hostname`, the folders that it was made from, when it was `began`
    (seconds since 1970), and how many links its list has, by kind."""

    format: int
    version: str
    hostname: str
    storage_path: Path
    etc: Path
    var: Path
    began: float
    tags: int
    manifests: int
    layers: int

    @property
    def storage(self) -> Storage:
        """Where the blobs are in the snapshot."""
        return Storage(self.storage_path)


def wanted(request: Mapping[str, Any]) -> str:
    """The snapshot that the request names: `latest` or the beginning of an id. Raises HostError."""
    name = str(request.get("snapshot") or "latest")
    if not _WANTED.fullmatch(name):
        raise HostError(
            f"snapshot={name}: write latest, or an id that `wharfinger-host backups` shows"
        )
    return name


def find(restic: Restic, hostname: str, name: str) -> Snapshot:
    """The snapshot of this name: `latest` or the beginning of an id. Raises HostError if the
    repository has none."""
    snapshots = restic.snapshots(hostname)
    matching = [
        snapshot for snapshot in snapshots if name == "latest" or snapshot.id.startswith(name)
    ]
    if matching:
        return matching[-1]
    known = ", ".join(snapshot.short_id for snapshot in snapshots[-10:]) or "none"
    raise HostError(
        f"snapshot={name}: the repository has no such backup of {hostname}; the latest are: {known}"
    )


def about(restic: Restic, snapshot: Snapshot) -> About:
    """Raises HostError if the snapshot cannot be read."""
    raw = json.loads(restic.dump(snapshot.id, _path(snapshot, ABOUT)))
    return About(
        format=int(raw["format"]),
        version=str(raw["version"]),
        hostname=str(raw["hostname"]),
        storage_path=Path(raw["storage_path"]),
        etc=Path(raw["etc"]),
        var=Path(raw["var"]),
        began=float(raw["began"]),
        tags=int(raw["tags"]),
        manifests=int(raw["manifests"]),
        layers=int(raw["layers"]),
    )


class SnapshotList:
    """A snapshot's list, in a file of this host: it may have millions of lines."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def entries(self) -> Iterator[Entry]:
        """Sorted by repository. Raises HostError at a damaged line."""
        with self._path.open(encoding="utf-8", errors="replace") as lines:
            yield from listing.read(lines)


def fetch_list(restic: Restic, snapshot: Snapshot, folder: Path) -> SnapshotList:
    """Brings the snapshot's list into `folder`, which is replaced. Raises HostError if it is
    damaged in the repository."""
    path = _path(snapshot, LIST)
    shutil.rmtree(folder, ignore_errors=True)
    restic.restore(snapshot.id, [pattern(Path(path))], folder, whole=True)
    return SnapshotList(folder / path.lstrip("/"))


def _path(snapshot: Snapshot, name: str) -> str:
    [path] = [path for path in snapshot.paths if path.endswith(f"/{name}")]
    return path
