"""`restore`: brings a snapshot back to a host whose registry does not serve yet.

First everything that would make the restore a mistake is looked for; nothing is changed yet. The
order is then the one in which a push writes: blobs, layers, manifests, tags. So whatever is there
when a restore is cut off is whole, and the next run goes on. restic brings blobs into a folder
beside the storage; each is compared with its digest before it takes its place (blobs.py). What a
snapshot has and no manifest or layer link needs is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...deployment.certificate import Certificate
from ..contents.storage import Storage
from ..keys import certificates
from ..system import restoring
from ..system.context import Host
from ..system.durations import day
from ..system.errors import HostError
from ..system.files import exists
from ..system.lock import locked
from ..system.names import REGISTRY
from ..system.restoring import BRINGING, RESTORED, Restoring
from . import identity, links, snapshots
from .backup import FORMAT
from .blobs import Blobs
from .listing import LAYER, REVISION
from .place import nearest
from .restic import Restic, Snapshot, pattern
from .settings import Settings, load
from .snapshots import About


@dataclass(frozen=True)
class Authority:
    """The controller's authority: `file`, the path of its certificate beside the inventory; its
    `certificates` there as PEM, the present one first; `offline`: its key stays there too."""

    file: str = ""
    certificates: tuple[str, ...] = ()
    offline: bool = False


def restore(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`restore`: the storage's content and the registry's identity are a snapshot's.

    Request: {"snapshot": "latest" or an id, "authority": as `Authority`, "leave_out_damaged": go on
    without what is damaged in the repository}. Only where no registry serves and the storage is
    empty, or a restore was cut off. Returns `snapshot`, `tags`, `manifests` and `left_out`, the
    tags that need damaged blobs. Raises HostError, naming each blob that is damaged or missing in
    the repository and the tags that need it; nothing that needs it has a link then.
    """
    if check and not exists(host.paths.backup_settings):
        return {"actions": ["the registry would be restored from backup_repository"]}
    settings = load(host)
    wanted = snapshots.wanted(request)
    named = request.get("authority") or {}
    authority = Authority(
        str(named.get("file", "")),
        tuple(filter(None, named.get("certificates", ()))),
        bool(named.get("offline")),
    )
    with locked(host.paths.backup_lock, "restore", 5):
        restore = _Restore(host, settings, authority, bool(request.get("leave_out_damaged")))
        return restore.run(wanted, check)


def restored(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`restored`: the restore is over, where the inventory wants no verification. No request
    keys."""
    if not check:
        restoring.verified(host.paths.restoring)
    return {"actions": []}


def check_version(snapshot: Snapshot, about: About, version: str) -> None:
    """Raises HostError if the snapshot was made by a newer version than this one."""
    if about.format > FORMAT or _numbers(about.version) > _numbers(version):
        raise HostError(
            f"snapshot {snapshot.short_id} was made by a newer version ({about.version}, this "
            f"checkout is {version}): restore it with a checkout of that version or a later one"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


class _Restore:
    """One restore of one host's registry."""

    def __init__(
        self, host: Host, settings: Settings, authority: Authority, leave_out: bool
    ) -> None:
        self.host = host
        self.settings = settings
        self.authority = authority
        self.leave_out = leave_out
        self.restic = Restic(host)
        self.storage = Storage(settings.storage_path)
        self.work = host.paths.backup_work

    def run(self, wanted: str, check: bool) -> dict[str, Any]:
        begun = restoring.load(self.host.paths.restoring)
        if begun is not None and begun.step == RESTORED:
            return self._goes_on(begun, wanted)
        snapshot = snapshots.find(self.restic, self.settings.hostname, wanted)
        self._check_host(snapshot, begun)
        about = snapshots.about(self.restic, snapshot)
        check_version(snapshot, about, self.settings.version)
        self._check_authority(snapshot, about)
        self._check_space(snapshot)
        if check:
            return {
                "actions": [f"snapshot {snapshot.short_id} ({snapshot.when}) would be restored"]
            }
        self._put_identity(snapshot, about, begun is not None)
        listed = snapshots.fetch_list(self.restic, snapshot, self.work / "list")
        needed = (entry.digest for entry in listed.entries() if entry.kind in (REVISION, LAYER))
        blobs = Blobs(self.host, self.settings, self.restic, snapshot, about)
        damaged = blobs.bring(needed, everything=True)
        left_out = links.write_all(self.storage, listed.entries(), damaged, self.host.registry_id)
        if damaged and not self.leave_out:
            raise HostError(_damaged(snapshot, damaged, left_out))
        shutil.rmtree(self.work / "list")
        restoring.save(self.host.paths.restoring, Restoring(snapshot.id, RESTORED))
        actions = [
            f"snapshot {snapshot.short_id} of {snapshot.when}: {about.tags} tags, "
            f"{about.manifests} manifests"
        ]
        actions += actions_left_out(left_out)
        return {
            "snapshot": snapshot.short_id,
            "tags": about.tags,
            "manifests": about.manifests,
            "left_out": sorted(left_out),
            "actions": actions,
        }

    @staticmethod
    def _goes_on(begun: Restoring, wanted: str) -> dict[str, Any]:
        """Everything was restored by an earlier run, and the registry is deployed next."""
        if wanted != "latest" and not begun.snapshot.startswith(wanted):
            raise HostError(
                f"snapshot={wanted}: snapshot {begun.snapshot[:8]} has been restored on this host "
                "already: to restore another one, remove the registry first (playbooks/remove.yml "
                "-e remove_data=HOSTNAME)"
            )
        return {"snapshot": begun.snapshot[:8], "left_out": [], "actions": []}

    def _check_host(self, snapshot: Snapshot, begun: Restoring | None) -> None:
        """Raises HostError if a restore would overwrite something."""
        if self.host.store.load().kinds[REGISTRY].generations:
            raise HostError(
                "restore: a registry is on this host already, and a restore would mix its content "
                "with the backup's: write -e only=REPOSITORY to bring single repositories back, or "
                "restore on a fresh host, or remove this one first (playbooks/remove.yml)"
            )
        if begun is not None and not begun.only:
            if begun.snapshot != snapshot.id:
                raise HostError(
                    f"restore: a restore of snapshot {begun.snapshot[:8]} was begun on this host: "
                    f"end it with -e snapshot={begun.snapshot[:8]}, or give it up with "
                    "playbooks/remove.yml -e remove_data=HOSTNAME"
                )
            return
        if next(self.storage.with_contents(), None) is not None:
            raise HostError(
                f"restore: {self.storage.root} holds repositories already: move them away first, "
                "or leave them and run site.yml without a restore"
            )

    def _check_authority(self, snapshot: Snapshot, about: About) -> None:
        """Raises HostError if clients may trust another authority than the snapshot's, or nobody
        here could sign with the snapshot's."""
        path = str(about.etc / "certificates/ca.crt")
        if path not in snapshot.paths or not self.authority.certificates:
            return
        saved = self.restic.dump(snapshot.id, path)
        if any(pem.strip() == saved.strip() for pem in self.authority.certificates):
            return
        file = self.authority.file
        own, backed_up = self._certificate(self.authority.certificates[0]), self._certificate(saved)
        which = (
            f"restore: the authority beside the inventory ({file}, made {_day_made(own)}) is "
            f"{{}} than that of snapshot {snapshot.short_id} (made {_day_made(backed_up)})"
        )
        if own is not None and backed_up is not None and own.not_before >= backed_up.not_before:
            raise HostError(
                which.format("newer")
                + ", and clients that trust only the newer one would refuse the restored registry: "
                "restore a snapshot that was made later, or, if clients still trust the older "
                f"authority, move {file} and the keys beside it away"
            )
        if self.authority.offline:
            raise HostError(
                which.format("older")
                + ", and certificates_ca_offline keeps the key on the controller: bring "
                f"{file} and its key from the controller that has the newer ones"
            )

    def _check_space(self, snapshot: Snapshot) -> None:
        """Raises HostError if the disk has no room for what is not there yet."""
        size = self.restic.size(snapshot.id)
        if size is None:
            return
        path = self.settings.storage_path
        needed = size - sum(there for _, there in self.storage.blobs())
        space = os.statvfs(nearest(path))
        free = space.f_bavail * space.f_frsize
        if needed > free:
            raise HostError(
                f"restore: snapshot {snapshot.short_id} needs {_mebibytes(needed)} MiB more, and "
                f"the disk of {path} has {free >> 20} MiB free: make room there, or mount a larger "
                "disk, and run it again"
            )

    def _certificate(self, pem: str) -> Certificate | None:
        with tempfile.NamedTemporaryFile("w", suffix=".crt") as file:
            file.write(pem)
            file.flush()
            return certificates.facts(self.host.runner, Path(file.name))

    def _put_identity(self, snapshot: Snapshot, about: About, begun: bool) -> None:
        """The files that make this registry the one of the backup. Nothing of this host is changed
        before all of them are there."""
        tops = {"etc": about.etc, "var": about.var}
        wanted = {}
        for saved in identity.SAVED:
            top, _, below = saved.path.partition("/")
            if str(tops[top] / below) in snapshot.paths:
                wanted[saved] = tops[top] / below
        folder = self.work / "identity"
        self.work.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            if wanted:
                patterns = [pattern(path) for path in wanted.values()]
                self.restic.restore(snapshot.id, patterns, folder, whole=True)
            restored = {saved: folder / str(path).lstrip("/") for saved, path in wanted.items()}
            others = identity.conflicting(self.host.paths, restored)
            if others and not begun:
                raise HostError(
                    "restore: this host has files of another deployment already, which a restore "
                    f"does not replace: {', '.join(map(str, others))}: remove that deployment "
                    "first (playbooks/remove.yml)"
                )
            restoring.save(self.host.paths.restoring, Restoring(snapshot.id, BRINGING))
            identity.put(self.host.paths, restored)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _mebibytes(size: int) -> int:
    """Rounded up."""
    return -(-size >> 20)


def _day_made(certificate: Certificate | None) -> str:
    if certificate is None:
        return "at an unknown time"
    return day(certificate.not_before)


def some_of(names: Iterable[str]) -> str:
    """The first fifty names, for a message."""
    ordered = sorted(names)
    more = [f"and {len(ordered) - 50} more"] if len(ordered) > 50 else []
    return ", ".join([*ordered[:50], *more])


def actions_left_out(tags: Collection[str]) -> list[str]:
    """What an answer says of the tags that are left out, if there are any."""
    return [f"left out, since blobs of them are damaged: {some_of(tags)}"] if tags else []


def _damaged(snapshot: Snapshot, damaged: set[str], left_out: list[str]) -> str:
    shown = sorted(damaged)[:20]
    more = len(damaged) - len(shown)
    lines = [
        f"restore: {len(damaged)} blobs of snapshot {snapshot.short_id} are missing or damaged in "
        "the repository; everything that does not need them was restored:",
        *shown,
        *([f"and {more} more"] if more else []),
        f"tags left out: {some_of(left_out) or 'none'}",
        "No registry was started. Run restore again once the repository is repaired (`restic check "
        "--read-data` shows what is wrong), or with -e leave_out_damaged=true to serve without "
        "them, or restore an older snapshot on an empty host",
    ]
    return "\n".join(lines)
