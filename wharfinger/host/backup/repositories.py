"""`restore_repositories`: brings single repositories back while the registry serves.

Blobs come first, beside everything else; only a garbage collection waits. Then nginx refuses writes
to these repositories, and to no others, while their links are written: layers, manifests, tags. A
tag that names something else by now gets the backup's manifest. Nothing is removed: what was pushed
since the backup stays, and so does the manifest that a replaced tag has named.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ...oci.names import REPOSITORY
from ..contents.maintenance import reopen
from ..contents.storage import Storage
from ..rollout import proxy
from ..system import restoring
from ..system.context import Host
from ..system.errors import HostError
from ..system.lock import locked
from ..system.names import REGISTRY
from ..system.restoring import BELOW, BRINGING, CLOSED, Restoring
from . import links, snapshots
from .backup import COLLECTION
from .blobs import Blobs
from .listing import LAYER, REVISION, TAG_LINK, Entry
from .restic import Restic, Snapshot
from .restore import actions_left_out, check_version, some_of
from .settings import Settings, load

# Seconds for the requests that nginx's workers had taken before they were told to refuse them.
# Within this time docker tries again by itself.
_LAST_REQUESTS = 30.0
# Seconds to wait for a command that is at work.
_PATIENCE = 900.0


def restore_repositories(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Request: {"snapshot": "latest" or an id, "only": a list of repositories, `NAME/**` for all
    below NAME, "leave_out_damaged": go on without what is damaged in the repository}. Returns
    `snapshot` and `tags` (how many came back or were replaced). Raises HostError."""
    wanted, only = snapshots.wanted(request), _checked_names(request["only"])
    settings = load(host)
    if host.store.load().kinds[REGISTRY].serving is None:
        raise HostError(
            f"only={','.join(only)}: no registry serves on this host, and single repositories are "
            "restored into one that does: leave it out to restore everything"
        )
    begun = restoring.load(host.paths.restoring)
    if begun is not None and not begun.only:
        raise HostError(f"only={','.join(only)}: {begun.problem()}")
    work = _Repositories(host, settings, only, bool(request.get("leave_out_damaged")))
    with locked(host.paths.backup_lock, "restore", 5):
        return work.run(wanted, check)


def _checked_names(names: Sequence[object]) -> list[str]:
    only = [str(name) for name in names]
    for name in only:
        if not REPOSITORY.fullmatch(name.removesuffix(BELOW)):
            raise HostError(
                f"only={name}: this is not the name of a repository: write team/app, team/** for "
                "all below team, or several with commas between them"
            )
    return only


class _Repositories:
    """One restore of single repositories."""

    def __init__(
        self, host: Host, settings: Settings, only: Sequence[str], leave_out: bool
    ) -> None:
        self.host = host
        self.settings = settings
        self.only = only
        self.leave_out = leave_out
        self.restic = Restic(host)
        self.storage = Storage(settings.storage_path)
        self.folder = host.paths.backup_work / "list"

    def run(self, wanted: str, check: bool) -> dict[str, Any]:
        snapshot = snapshots.find(self.restic, self.settings.hostname, wanted)
        about = snapshots.about(self.restic, snapshot)
        check_version(snapshot, about, self.settings.version)
        try:
            entries = self._entries(snapshot)
            changes = self._changes(entries)
            if check:
                return self._answer(snapshot, changes, [], 0)
            blobs = Blobs(self.host, self.settings, self.restic, snapshot, about)
            with locked(self.host.paths.blobs_lock, "restore", COLLECTION):
                self._save(snapshot, BRINGING)
                damaged = blobs.bring(
                    entry.digest for entry in entries if entry.kind in (REVISION, LAYER)
                )
                whole, without = self._split(entries, damaged)
                left_out = [entry.reference for entry in without if entry.kind == TAG_LINK]
                if damaged and not self.leave_out:
                    restoring.over(self.host.paths.restoring)
                    raise HostError(_damaged(snapshot, damaged, left_out))
                with self._closed(snapshot):
                    changes = self._changes(whole)
                    self._write(whole, changes)
                restoring.over(self.host.paths.restoring)
            return self._answer(snapshot, changes, left_out, blobs.brought)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, entries: Sequence[Entry], changes: Mapping[str, str]) -> None:
        """Writes the links; those of tags that name something else by now are replaced."""
        owner = self.host.registry_id
        for entry in entries:
            replace = entry.kind == TAG_LINK and entry.reference in changes
            links.write(self.storage, entry, owner, replace=replace)
        links.begin_grace(self.storage, entries, owner)

    def _entries(self, snapshot: Snapshot) -> list[Entry]:
        """The snapshot's links of these repositories, sorted. Raises HostError where it has none
        of a repository."""
        listed = snapshots.fetch_list(self.restic, snapshot, self.folder)
        entries, names = [], []
        for repository, group in itertools.groupby(
            listed.entries(), lambda entry: entry.repository
        ):
            names.append(repository)
            if any(restoring.covers(name, repository) for name in self.only):
                entries += list(group)
        for name in self.only:
            if not any(restoring.covers(name, repository) for repository in names):
                raise HostError(
                    f"only={name}: snapshot {snapshot.short_id} has no such repository; it has: "
                    f"{some_of(names) or 'none'}"
                )
        return entries

    def _split(
        self, entries: Sequence[Entry], damaged: set[str]
    ) -> tuple[list[Entry], list[Entry]]:
        """`links.split` for several repositories."""
        whole, without = [], []
        for _, group in itertools.groupby(entries, lambda entry: entry.repository):
            good, bad = links.split(self.storage, group, damaged)
            whole += good
            without += bad
        return whole, without

    def _changes(self, entries: Sequence[Entry]) -> dict[str, str]:
        """REPOSITORY:TAG → what happens to it, of the tags that change."""
        changes = {}
        for entry in entries:
            if entry.kind != TAG_LINK:
                continue
            current = self.storage.tag(entry.repository, entry.name)
            tag = entry.reference
            if current is None or not current.target:
                changes[tag] = f"{tag}: back, {entry.digest}"
            elif current.target != entry.digest:
                changes[tag] = (
                    f"{tag}: {entry.digest} again; it was {current.target}, which stays for "
                    "registry_untagged_keep"
                )
        return changes

    def _save(self, snapshot: Snapshot, step: str) -> None:
        restoring.save(self.host.paths.restoring, Restoring(snapshot.id, step, tuple(self.only)))

    @contextmanager
    def _closed(self, snapshot: Snapshot) -> Iterator[None]:
        """nginx refuses writes to these repositories. However the body ends, it accepts them
        again; if this process is killed, the next command does that (maintenance.reopen)."""
        host = self.host
        with locked(host.paths.lock, "restore", _PATIENCE):
            reopen(host, {}, False)
            state = host.store.load()
            workers = host.nginx.workers()
            self._save(snapshot, CLOSED)
            try:
                proxy.apply(host, state, proxy.serving_now(state))
                deadline = host.clock.monotonic() + _LAST_REQUESTS
                while host.traffic.alive(workers) and host.clock.monotonic() < deadline:
                    host.clock.sleep(0.2)
                yield
            finally:
                self._save(snapshot, BRINGING)
                proxy.apply(host, state, proxy.serving_now(state))

    @staticmethod
    def _answer(
        snapshot: Snapshot, changes: Mapping[str, str], left_out: Sequence[str], brought: int
    ) -> dict[str, Any]:
        actions = list(changes.values())
        if brought:
            actions.append(f"blobs that were missing and are back: {brought}")
        actions += actions_left_out(left_out)
        return {
            "snapshot": snapshot.short_id,
            "tags": len(changes),
            "left_out": sorted(left_out),
            "actions": actions,
        }


def _damaged(snapshot: Snapshot, damaged: set[str], left_out: Sequence[str]) -> str:
    return (
        f"restore: {len(damaged)} blobs of snapshot {snapshot.short_id} are missing or damaged in "
        f"the repository: {some_of(damaged)}. They are needed by: {some_of(left_out) or 'no tag'}. "
        "Nothing was changed: name an older snapshot, or write -e leave_out_damaged=true to "
        "restore what does not need them"
    )
