"""`drill`: proves that the newest backup could be restored.

A sample of its images is restored into a folder beside the storage. A second registry serves that
folder (drill_registry.py), and every manifest and blob of the sample is asked for and compared with
the snapshot's list. Then restic reads a part of the whole repository, another one each time, so
that TURNS drills have read everything. Nothing of this touches the registry that serves.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...oci.digests import has_digest
from ..contents.reports import run_and_report
from ..contents.storage import Storage
from ..contents.storage.reading import read_manifest
from ..system.context import Host
from ..system.errors import HostError
from ..system.lock import locked
from . import links, recovery, sample, snapshots
from .drill_leftovers import clean, scratch
from .drill_registry import serving
from .failures import Damaged
from .listing import LAYER, REVISION, Entry
from .restic import Restic, Snapshot, batches, pattern
from .sample import Image
from .settings import Settings, load
from .snapshots import SnapshotList

# A weekly drill has read the whole repository once in a quarter of a year.
TURNS = 12
# The sample's tags, at most: each costs restic a look at all names beside its blobs.
_NEWEST = 5
_OTHERS = 10
# Seconds that a drill waits for a backup.
_BACKUP = 26 * 3600.0
# Patterns in one call of restic: the kernel limits the length of arguments.
_PATTERNS = 400
# Findings that the report names.
_SHOWN = 20
_PACK = re.compile(r"\b(?:pack|want) ([0-9a-f]{64})\b", re.IGNORECASE)
_BLOB = re.compile(r"/blobs/([a-z0-9]+)/../([0-9a-f]+)/data")


def drill(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`drill`: restores a sample of the newest backup, serves it and compares it; then reads a part
    of the repository.

    No request keys. Returns `snapshot`, `tags` (in the snapshot), `sample` (tags that were
    compared), `manifests`, `blobs`, `bytes` (restored), `speed` (bytes per second), `turn` and
    `turns`. Raises HostError, naming what is damaged and what needs it.
    """
    settings = load(host)
    if check:
        return {"actions": ["a sample of the newest backup would be restored and compared"]}

    def act(noted: dict[str, Any]) -> dict[str, Any]:
        with locked(host.paths.drill_lock, "drill", _BACKUP):
            clean(host, settings)
            try:
                return _Drill(host, settings).run(noted)
            finally:
                clean(host, settings)

    return run_and_report(host, "drill", act)


class _Drill:
    """One drill."""

    def __init__(self, host: Host, settings: Settings) -> None:
        self.host = host
        self.settings = settings
        self.restic = Restic(host)
        self.scratch = scratch(settings)
        self.restored = self.scratch / "restored"
        self.snapshot: Snapshot
        self.saved: Storage
        # Where its storage is restored to.
        self.served: Path
        self.storage: Storage

    def run(self, noted: dict[str, Any]) -> dict[str, Any]:
        """What `drill` returns."""
        self.snapshot = self._newest()
        noted["snapshot"] = self.snapshot.short_id
        self.scratch.mkdir(mode=0o700)
        room = self._room()
        about = snapshots.about(self.restic, self.snapshot)
        self.saved = about.storage
        self.served = self._at(about.storage_path)
        self.storage = Storage(self.served)
        noted["tags"] = about.tags
        entries = snapshots.fetch_list(self.restic, self.snapshot, self.scratch / "list")
        problems = self._compare(entries, room, noted)
        problems += self._read_a_part(entries, room, noted)
        if problems:
            raise HostError(_failed(self.snapshot, problems))
        return {
            **noted,
            "actions": [
                f"snapshot {self.snapshot.short_id}: {noted['sample']} of {noted['tags']} tags "
                f"restored and compared, part {noted['turn']} of {TURNS} of the repository read"
            ],
        }

    def _newest(self) -> Snapshot:
        hostname = self.settings.hostname
        known = self.restic.snapshots(hostname)
        if not known:
            raise HostError(
                f"drill: the repository has no backup of {hostname} yet: run playbooks/backup.yml"
            )
        return known[-1]

    def _room(self) -> int:
        """Bytes that the sample may have. Raises HostError if there are none."""
        settings = self.settings
        space = os.statvfs(settings.storage_path)
        # Clients go on to push meanwhile.
        free = (space.f_bavail * space.f_frsize - settings.free_minimum) // 2
        if free <= 0:
            raise HostError(
                f"drill: {settings.storage_path} has no room to restore a sample: "
                f"{space.f_bavail * space.f_frsize >> 20} MiB are free, and storage_free_minimum "
                f"keeps {settings.free_minimum >> 20} MiB of that: make room (docs/operations.md, "
                "The disk is full)"
            )
        return min(settings.drill_size, free)

    def _compare(self, entries: SnapshotList, room: int, noted: dict[str, Any]) -> list[str]:
        """Restores the sample and compares what the second registry serves."""
        tags = sample.candidates(entries.entries(), _NEWEST, _OTHERS, random.Random())
        noted |= {"sample": 0, "manifests": 0, "blobs": 0, "bytes": 0}
        if not tags:
            return []
        chosen, sizes = self._chosen(tags, entries, room)
        wanted = set().union(*(image.digests for image in chosen))
        manifests = {digest for digest in wanted if self.storage.blob_size(digest) is not None}
        began = self.host.clock.monotonic()
        self._bring(self.saved.blob_path(digest) for digest in wanted - manifests)
        seconds = self.host.clock.monotonic() - began
        if (content := sample.total(wanted - manifests, sizes)) and seconds > 0:
            noted["speed"] = round(content / seconds)
        noted["bytes"] = sample.total(wanted, sizes)
        for image in chosen:
            for entry in (*image.links, image.tag):
                links.write(self.storage, entry, self.host.registry_id)
        self._give_away()
        problems = list(self._served(chosen, sizes))
        noted |= {
            "sample": len(chosen),
            "manifests": len({link.digest for link in _links(chosen) if link.kind == REVISION}),
            "blobs": len({link.digest for link in _links(chosen) if link.kind != REVISION}),
        }
        return problems

    def _chosen(
        self, tags: Sequence[Entry], entries: SnapshotList, room: int
    ) -> tuple[list[Image], dict[str, int]]:
        """The images of the sample, and the bytes of each blob (digest → size). Their manifests are
        restored."""
        known = _linked(entries, {tag.repository for tag in tags})
        revisions = {entry.digest for linked in known.values() for entry in linked.values()}
        manifests: dict[str, Any] = {}
        wanted = {tag.digest for tag in tags}
        while wanted:
            self._bring(self.saved.blob_path(digest) for digest in wanted)
            manifests |= {digest: read_manifest(self.storage, digest) for digest in wanted}
            children = {
                child.digest
                for digest in wanted
                for child in getattr(manifests[digest], "children", ())
            }
            wanted = (children & revisions) - manifests.keys()
        images = [sample.image(tag, manifests, known[tag.repository]) for tag in tags]
        served = [image for image in images if image is not None]
        digests = set().union(*(image.digests for image in served))
        sizes = self._sizes(digests)
        chosen = sample.within(served, sizes, room)
        if served and not chosen:
            raise HostError(
                f"drill: none of {len(served)} images fits into {room >> 20} MiB, which is "
                "backup_drill_size, or half of what is free above storage_free_minimum; the "
                f"smallest has {sample.smallest(served, sizes) >> 20} MiB: raise "
                f"backup_drill_size, or make room at {self.settings.storage_path}"
            )
        return chosen, sizes

    def _sizes(self, digests: Iterable[str]) -> dict[str, int]:
        files = {str(self.saved.blob_path(digest)): digest for digest in digests}
        sizes: dict[str, int] = {}
        for part in batches(sorted(files), _PATTERNS):
            reported = self.restic.sizes(self.snapshot.id, [Path(file).parent for file in part])
            sizes |= {files[path]: size for path, size in reported.items() if path in files}
        return sizes

    def _served(self, chosen: Sequence[Image], sizes: Mapping[str, int]) -> Iterator[str]:
        """What the second registry does not serve as the list has it, a line each."""
        needed: dict[Entry, list[str]] = {}
        for image in chosen:
            for link in image.links:
                needed.setdefault(link, []).append(image.name)
        with serving(self.host, self.served, self.scratch / "config") as served:
            tags = [(image.links[0], image.tag.name, [image.name]) for image in chosen]
            for link, tag, names in [*tags, *((link, "", names) for link, names in needed.items())]:
                problem = served.problem(link, sizes.get(link.digest), tag)
                if problem is not None:
                    yield f"{link.name} of {', '.join(names[:5])}: {problem}"

    def _read_a_part(self, entries: SnapshotList, room: int, noted: dict[str, Any]) -> list[str]:
        """Lets restic read a part of the repository, the next one each time."""
        turn = recovery.turn(self.host, TURNS)
        noted |= {"turn": turn, "turns": TURNS}
        try:
            self.restic.check(turn, TURNS)
        except Damaged as problem:
            words = str(problem).strip()
            said = f"restic check of part {turn} of {TURNS} of the repository says: {words}"
            return [said, *self._needing(sorted(set(_PACK.findall(words))), entries, room)]
        recovery.note_drill(self.host, turn % TURNS + 1, noted.get("speed"))
        return []

    def _needing(self, packs: Sequence[str], entries: SnapshotList, room: int) -> list[str]:
        """What of the snapshot is damaged in these packs, a line each: everything of which a part
        is in them is restored and compared with its digest."""
        if not packs:
            return []
        try:
            paths = self.restic.holding(self.snapshot.id, packs)
        except (HostError, ValueError):
            return []  # what describes the packs is damaged too, as restic has said
        digests = {f"{blob[1]}:{blob[2]}" for path in paths if (blob := _BLOB.search(path))}
        sizes = self._sizes(digests)
        tried: set[str] = set()
        for digest in sorted(digests, key=lambda digest: sizes.get(digest, 0)):
            room -= sizes.get(digest, 0)
            if room < 0:
                break
            tried.add(digest)
        self._bring(self.saved.blob_path(digest) for digest in tried)
        damaged = {digest for digest in digests if not self._is_whole(digest)}
        where: dict[str, set[str]] = {}
        for entry in entries.entries():
            if entry.digest in damaged:
                where.setdefault(entry.digest, set()).add(entry.repository)
        lines = [
            f"{digest} of {', '.join(sorted(names)[:5])}: "
            + ("it is damaged" if digest in tried else "it may be damaged, and is too large to try")
            for digest, names in sorted(where.items())
        ]
        return lines or ["no image of this snapshot needs what is damaged; older backups may"]

    def _is_whole(self, digest: str) -> bool:
        """Whether a blob was restored with its own content."""
        try:
            with self.storage.blob_path(digest).open("rb") as stream:
                return has_digest(stream, digest)
        except FileNotFoundError:
            return False

    def _bring(self, paths: Iterable[Path]) -> None:
        """Restores files of the snapshot."""
        for part in batches([pattern(path) for path in paths], _PATTERNS):
            self.restic.restore(self.snapshot.id, part, self.restored)

    def _at(self, path: Path) -> Path:
        """Where a path of the snapshot is restored to."""
        return self.restored / path.relative_to("/")

    def _give_away(self) -> None:
        """The second registry's user may read what was restored."""
        owner = self.host.registry_id
        for path in (self.served, *self.served.rglob("*")):
            os.chown(path, owner, owner, follow_symlinks=False)


def _linked(
    entries: SnapshotList, repositories: set[str]
) -> dict[str, dict[tuple[str, str], Entry]]:
    """By repository: its manifests and layers."""
    known: dict[str, dict[tuple[str, str], Entry]] = {name: {} for name in repositories}
    for entry in entries.entries():
        if entry.repository in known and entry.kind in (REVISION, LAYER):
            known[entry.repository][entry.kind, entry.name] = entry
    return known


def _links(images: Iterable[Image]) -> Iterator[Entry]:
    for image in images:
        yield from image.links


def _failed(snapshot: Snapshot, problems: Sequence[str]) -> str:
    more = len(problems) - _SHOWN
    return "\n".join(
        [
            f"drill: snapshot {snapshot.short_id} could not be restored whole:",
            *problems[:_SHOWN],
            *([f"and {more} more"] if more > 0 else []),
            "The registry itself is not affected. docs/backup.md, When a drill fails, says how the "
            "next backup saves again what is damaged",
        ]
    )
