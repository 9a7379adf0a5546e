"""`restore`: brings a snapshot back to a host whose registry does not serve yet.

The order is the one in which a push writes: blobs, layers, manifests, tags. So whatever is there
when it is cut off is whole, and the next run goes on. restic brings blobs into a folder beside the
storage; each is compared with its digest before it takes its place. What a snapshot has and no
manifest or layer link needs is left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...oci.digests import ALGORITHMS
from ...oci.manifests import Manifest
from ..contents.storage import Storage
from ..contents.storage.reading import read_manifest
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists, read_text, write_atomically
from ..system.lock import locked
from ..system.names import REGISTRY
from . import identity, links, listing
from .backup import ABOUT, FORMAT, LIST
from .listing import HISTORY, LAYER, REVISION, TAG_LINK, Entry
from .restic import Restic, Snapshot, pattern
from .settings import Settings, load

# In this order: what a link leads to is there before the link.
_ORDER = (LAYER, REVISION, HISTORY, TAG_LINK)
_CHUNK = 1 << 20
_SNAPSHOT = re.compile(r"latest|[0-9a-f]{8,64}")


@dataclass(frozen=True)
class About:
    """What a snapshot says of itself (about.json)."""

    hostname: str
    storage_path: Path
    etc: Path
    var: Path
    began: float


def backups(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`backups`: this registry's snapshots, the oldest first. Request: {"hostname"}, optional.
    Returns `snapshots`: {"id", "time", "hostname"} each."""
    hostname = str(request.get("hostname") or load(host).hostname)
    rows = [
        {"id": one.short_id, "time": one.time, "hostname": one.hostname}
        for one in Restic(host).snapshots(hostname)
    ]
    return {"actions": [], "snapshots": rows}


def in_words(answer: Mapping[str, Any]) -> str:
    """What `backups` answers, for people: a line for each, the oldest first."""
    lines = [
        f"{row['id']}  {row['time'][:19].replace('T', ' ')} UTC" for row in answer["snapshots"]
    ]
    return "\n".join(lines) or "there are no backups yet"


def restore(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`restore`: the storage's content and the registry's identity are a snapshot's.

    Request: {"snapshot": "latest" or an id}. Only where no registry serves and the storage is empty
    or a restore was cut off. Returns `snapshot`, `tags`, `manifests` and `blobs`. Raises HostError,
    naming each blob that is damaged or missing in the repository and the tags that need it; nothing
    that needs it has a tag then.
    """
    settings = load(host)
    wanted = str(request.get("snapshot") or "latest")
    if not _SNAPSHOT.fullmatch(wanted):
        raise HostError(
            f"snapshot={wanted}: write latest, or an id that `wharfinger-host backups` shows"
        )
    with locked(host.paths.backup_lock, "restore", 5):
        return _Restore(host, settings).run(wanted, check)


class _Restore:
    """One restore of one host's registry."""

    def __init__(self, host: Host, settings: Settings) -> None:
        self.host = host
        self.settings = settings
        self.restic = Restic(host)
        self.storage = Storage(settings.storage_path)
        self.record = host.paths.backup_work / "restoring.json"
        # On the storage's file system, so that a blob takes its place by a rename.
        self.beside = settings.storage_path / ".wharfinger-restore"

    def run(self, wanted: str, check: bool) -> dict[str, Any]:
        snapshot = self._snapshot(wanted)
        self._nothing_is_overwritten(snapshot)
        about = self._about(snapshot)
        if check:
            return {
                "actions": [f"snapshot {snapshot.short_id} ({snapshot.time}) would be restored"]
            }
        self.host.paths.backup_work.mkdir(mode=0o700, parents=True, exist_ok=True)
        begun = json.dumps({"snapshot": snapshot.id}).encode() + b"\n"
        write_atomically(self.record, begun, 0o600)
        entries = list(listing.read(self._list(snapshot, about).splitlines()))
        self._identity(snapshot, about)
        damaged = self._blobs(snapshot, about, entries)
        lost = self._links(entries, damaged)
        shutil.rmtree(self.beside, ignore_errors=True)
        if damaged:
            raise HostError(_damaged(snapshot, damaged, lost))
        self.record.unlink()
        count = [entry.kind for entry in entries].count
        return {
            "snapshot": snapshot.short_id,
            "tags": count(TAG_LINK),
            "manifests": count(REVISION),
            "actions": [
                f"snapshot {snapshot.short_id} of {snapshot.time}: {count(TAG_LINK)} tags, "
                f"{count(REVISION)} manifests"
            ],
        }

    def _snapshot(self, wanted: str) -> Snapshot:
        snapshots = self.restic.snapshots(self.settings.hostname)
        found = [one for one in snapshots if wanted == "latest" or one.id.startswith(wanted)]
        if found:
            return found[-1]
        known = ", ".join(one.short_id for one in snapshots[-10:]) or "none"
        raise HostError(
            f"snapshot={wanted}: the repository has no such backup of {self.settings.hostname}; "
            f"the latest are: {known}"
        )

    def _nothing_is_overwritten(self, snapshot: Snapshot) -> None:
        if self.host.store.load().kinds[REGISTRY].generations:
            raise HostError(
                "restore: a registry is on this host already, and a restore would mix its content "
                "with the backup's: restore on a fresh host, or remove this one first "
                "(playbooks/remove.yml)"
            )
        begun = json.loads(read_text(self.record) or "{}").get("snapshot")
        if begun == snapshot.id:
            return
        if begun:
            raise HostError(
                f"restore: a restore of snapshot {begun[:8]} was begun on this host: end it with "
                f"-e snapshot={begun[:8]}, or empty {self.storage.root} first"
            )
        if next(self.storage.with_contents(), None) is not None:
            raise HostError(
                f"restore: {self.storage.root} holds repositories already: move them away first, "
                "or leave them and run site.yml without a restore"
            )

    def _about(self, snapshot: Snapshot) -> About:
        [path] = [one for one in snapshot.paths if one.endswith(f"/{ABOUT}")]
        raw = json.loads(self.restic.dump(snapshot.id, path))
        if int(raw["format"]) > FORMAT:
            raise HostError(
                f"snapshot {snapshot.short_id} was made by a newer version ({raw['version']}): "
                "restore it with a checkout of that version or a later one"
            )
        return About(
            raw["hostname"],
            Path(raw["storage_path"]),
            Path(raw["etc"]),
            Path(raw["var"]),
            float(raw["began"]),
        )

    def _list(self, snapshot: Snapshot, about: About) -> str:
        [path] = [one for one in snapshot.paths if one.endswith(f"/{LIST}")]
        return self.restic.dump(snapshot.id, path)

    def _identity(self, snapshot: Snapshot, about: About) -> None:
        """The files that make this registry the one of the backup; those that are here stay: the
        inventory's and the controller's win."""
        tops = {"etc": about.etc, "var": about.var}
        there = {
            saved: tops[saved.path.partition("/")[0]] / saved.path.partition("/")[2]
            for saved in identity.SAVED
        }
        wanted = [path for path in there.values() if str(path) in snapshot.paths]
        if not wanted:
            return
        target = self.host.paths.backup_work / "restored"
        shutil.rmtree(target, ignore_errors=True)
        self.restic.restore(snapshot.id, [pattern(path) for path in wanted], target)
        for saved, path in there.items():
            came, here = target / path.relative_to("/"), saved.at(self.host.paths)
            if came.exists() and not exists(here):
                here.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                came.rename(here)
        shutil.rmtree(target)

    def _blobs(self, snapshot: Snapshot, about: About, entries: Iterable[Entry]) -> set[str]:
        """Brings the blobs that are missing; those that are damaged in the repository, or missing
        there. A layer link leads to a blob, and so does a manifest's."""
        needed = {entry.digest for entry in entries if entry.kind in (REVISION, LAYER)}
        missing = {digest for digest in needed if self.storage.blob_size(digest) is None}
        blobs = about.storage_path / "docker/registry/v2/blobs"
        for algorithm, start in _parts():
            wanted = {one for one in missing if one.startswith(f"{algorithm}:{start}")}
            if not wanted:
                continue
            shutil.rmtree(self.beside, ignore_errors=True)
            part = f"{pattern(blobs)}/{algorithm}/{start}*"
            self.restic.restore(snapshot.id, [part], self.beside)
            came = self.beside / blobs.relative_to("/")
            missing -= {one for one in wanted if self._placed(came, one)}
        return missing

    def _placed(self, came: Path, digest: str) -> bool:
        """Puts one blob in its place where it is whole."""
        algorithm, _, value = digest.partition(":")
        source = came / algorithm / value[:2] / value / "data"
        try:
            with source.open("rb") as stream:
                content = hashlib.new(algorithm)
                while chunk := stream.read(_CHUNK):
                    content.update(chunk)
                if content.hexdigest() != value:
                    return False
                os.fsync(stream.fileno())
        except FileNotFoundError:
            return False
        place = self.storage.blob_path(digest)
        links.folder(place.parent, self.host.registry_id)
        os.chown(source, self.host.registry_id, self.host.registry_id)
        source.rename(place)
        return True

    def _links(self, entries: list[Entry], damaged: set[str]) -> list[str]:
        """Writes the links but those that need what is damaged; the tags that are left out."""
        whole = self._whole(entries, damaged) if damaged else None
        lost = []
        for kind in _ORDER:
            for entry in entries:
                if entry.kind != kind:
                    continue
                if entry.digest in damaged or (
                    whole is not None and kind != LAYER and entry.digest not in whole
                ):
                    if kind == TAG_LINK:
                        lost.append(f"{entry.repository}:{entry.name}")
                    continue
                links.write(self.storage, entry, self.host.registry_id)
        return lost

    def _whole(self, entries: list[Entry], damaged: set[str]) -> set[str]:
        """The manifests that need nothing that is damaged."""
        broken = set(damaged)
        revisions = {entry.digest for entry in entries if entry.kind == REVISION}
        while True:
            found = {
                digest
                for digest in revisions - broken
                if isinstance(content := read_manifest(self.storage, digest), Manifest)
                and any(one.digest in broken for one in content.references)
            }
            if not found:
                return revisions - broken
            broken |= found


def _parts() -> Iterator[tuple[str, str]]:
    """The blobs in parts, by the beginnings of their digests: a restore that is cut off has lost
    one of them at most."""
    for algorithm in ALGORITHMS:
        for digit in "0123456789abcdef":
            yield algorithm, digit


def _damaged(snapshot: Snapshot, damaged: set[str], lost: list[str]) -> str:
    shown = sorted(damaged)[:20]
    more = len(damaged) - len(shown)
    lines = [
        f"restore: {len(damaged)} blobs of snapshot {snapshot.short_id} are missing or damaged in "
        "the repository; everything that does not need them was restored:",
        *shown,
        *([f"and {more} more"] if more else []),
        f"tags left out: {', '.join(sorted(lost)[:50]) or 'none'}",
        "Restore an older snapshot on an empty host, or run restore again if the repository can "
        "be repaired (`restic check --read-data`)",
    ]
    return "\n".join(lines)
