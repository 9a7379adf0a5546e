"""Brings blobs of a snapshot into a registry's storage: each is compared with its digest first."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Collection, Iterable, Iterator

from ...oci.digests import has_digest
from ..contents.storage import Storage
from ..system.context import Host
from . import links
from .restic import Restic, Snapshot, batches, pattern
from .settings import Settings
from .snapshots import About

# restic compares every file below the folders that it enters with every pattern.
_PATTERNS = 200


class Blobs:
    """The blobs of one snapshot, on their way into the host's storage. `brought`: how many came."""

    def __init__(
        self, host: Host, settings: Settings, restic: Restic, snapshot: Snapshot, about: About
    ) -> None:
        self._restic = restic
        self._snapshot = snapshot
        self._saved = about.storage
        self._storage = Storage(settings.storage_path)
        # On the storage's file system, so that a blob takes its place by a rename.
        self._beside = settings.storage_path / ".wharfinger-restore"
        self._owner = host.registry_id
        self.brought = 0

    def bring(self, digests: Iterable[str], *, everything: bool = False) -> set[str]:
        """Brings those that the storage lacks. With `everything` they are all that the snapshot
        has, and restic need not look for each. Returns those that are damaged or missing in the
        repository. Raises HostError if it cannot be reached, or the disk is full."""
        try:
            failed = self._bring(digests, everything)
            # restic also counts a connection that was lost as an error of files.
            return self._bring(failed, False) if failed else failed
        finally:
            shutil.rmtree(self._beside, ignore_errors=True)

    def _bring(self, digests: Iterable[str], everything: bool) -> set[str]:
        lacking: set[str] = set()
        complete: set[str] = set()
        for digest in digests:
            if self._storage.blob_size(digest) is None:
                lacking.add(digest)
            else:
                complete.add(_part(digest))
        failed: set[str] = set()
        for part, wanted in itertools.groupby(sorted(lacking), _part):
            whole = everything and part not in complete
            for patterns, some in self._requests(part, list(wanted), whole):
                shutil.rmtree(self._beside, ignore_errors=True)
                self._restic.restore(self._snapshot.id, patterns, self._beside)
                failed |= {digest for digest in some if not self._place(digest)}
        return failed

    def _requests(
        self, part: str, wanted: list[str], whole: bool
    ) -> Iterator[tuple[list[str], Collection[str]]]:
        """Patterns for restic, and the blobs that they name."""
        if whole:
            algorithm, _, digit = part.partition(":")
            yield [f"{pattern(self._saved.root / 'blobs' / algorithm)}/{digit}*"], wanted
            return
        for some in batches(wanted, _PATTERNS):
            yield [pattern(self._saved.blob_path(digest).parent) for digest in some], some

    def _place(self, digest: str) -> bool:
        """Puts one blob in its place. False if it did not come, or came with another content."""
        source = self._beside / self._saved.blob_path(digest).relative_to("/")
        try:
            with source.open("rb") as stream:
                if not has_digest(stream, digest):
                    return False
                os.fsync(stream.fileno())
        except FileNotFoundError:
            return False
        place = self._storage.blob_path(digest)
        links.folder(place.parent, self._owner)
        os.chown(source, self._owner, self._owner)
        source.rename(place)
        self.brought += 1
        return True


def _part(digest: str) -> str:
    """The blobs come in parts, by the beginnings of their digests: a restore that is cut off has
    lost one of them at most."""
    algorithm, _, value = digest.partition(":")
    return f"{algorithm}:{value[0]}"
