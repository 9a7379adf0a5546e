"""Brings blobs of a snapshot into a registry's storage: each is compared with its digest first.

They come in parts. restic restores one part while threads compare and place the part before it:
both would otherwise wait for the disk in turn.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ...oci.digests import has_digest
from ..contents.storage import Storage
from ..system.context import Host
from . import links
from .restic import Restic, Snapshot, batches, pattern
from .settings import Settings
from .snapshots import About

# restic compares every file below the folders that it enters with every pattern.
_PATTERNS = 200
# Hashing and fsync leave the interpreter's lock to others.
_THREADS = 2


class Blobs:
    """The blobs of one snapshot, on their way into the host's storage. `brought`: how many came."""

    def __init__(
        self, host: Host, settings: Settings, restic: Restic, snapshot: Snapshot, about: About
    ) -> None:
        self._restic = restic
        self._snapshot = snapshot
        self._saved = about.storage
        self._storage = Storage(settings.storage_path)
        # On the storage's file system, so that a blob takes its place by a rename. Two parts at
        # most are there.
        self._beside = [settings.storage_path / f".wharfinger-restore{number}" for number in (1, 2)]
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
            for folder in self._beside:
                shutil.rmtree(folder, ignore_errors=True)

    def _bring(self, digests: Iterable[str], everything: bool) -> set[str]:
        lacking: set[str] = set()
        complete: set[str] = set()
        for digest in digests:
            if self._storage.blob_size(digest) is None:
                lacking.add(digest)
            else:
                complete.add(_part(digest))
        failed: set[str] = set()
        with ThreadPoolExecutor(_THREADS) as threads:
            placing: list[Future[set[str]]] = []
            parts = self._parts(lacking, complete, everything)
            for folder, (patterns, some) in zip(itertools.cycle(self._beside), parts, strict=False):
                shutil.rmtree(folder, ignore_errors=True)
                self._restic.restore(self._snapshot.id, patterns, folder)
                failed.update(*(thread.result() for thread in placing))
                shares = [some[first::_THREADS] for first in range(_THREADS)]
                placing = [threads.submit(self._place_all, folder, share) for share in shares]
            failed.update(*(thread.result() for thread in placing))
        self.brought += len(lacking) - len(failed)
        return failed

    def _parts(
        self, lacking: Iterable[str], complete: Collection[str], everything: bool
    ) -> Iterator[tuple[list[str], Sequence[str]]]:
        """Patterns for restic, and the blobs that they name. complete: the parts of which some
        blobs are in the storage already."""
        for part, wanted in itertools.groupby(sorted(lacking), _part):
            yield from self._requests(part, list(wanted), everything and part not in complete)

    def _requests(
        self, part: str, wanted: list[str], whole: bool
    ) -> Iterator[tuple[list[str], Sequence[str]]]:
        if whole:
            algorithm, _, digit = part.partition(":")
            yield [f"{pattern(self._saved.root / 'blobs' / algorithm)}/{digit}*"], wanted
            return
        for some in batches(wanted, _PATTERNS):
            yield [pattern(self._saved.blob_path(digest).parent) for digest in some], some

    def _place_all(self, folder: Path, digests: Sequence[str]) -> set[str]:
        """Puts blobs that restic has restored to `folder` in their places. Returns those that did
        not come, or came with another content."""
        return {digest for digest in digests if not self._place(folder, digest)}

    def _place(self, folder: Path, digest: str) -> bool:
        source = folder / self._saved.blob_path(digest).relative_to("/")
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
        return True


def _part(digest: str) -> str:
    """The blobs come in parts, by the beginnings of their digests: a restore that is cut off has
    lost one of them at most."""
    algorithm, _, value = digest.partition(":")
    return f"{algorithm}:{value[0]}"
