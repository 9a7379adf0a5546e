"""Removes what was planned. Only where no process writes into the storage.

A kill at any moment leaves each tag either whole or without its current/link, and each manifest
either linked or not. Distribution takes a tag without a current/link for unknown, its garbage
collection never looks at it, and the next plan clears it away.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from ....oci.digests import ALGORITHMS
from .layout import MISSING, Storage
from .model import Removal


def apply(storage: Storage, removals: Sequence[Removal]) -> list[str]:
    """Removes these tags and revisions; one sentence for each that went.

    What is no longer as it was planned stays, without a word: a tag that names something else now
    or was pushed again, a revision that was pushed again or that a tag names by now. So a plan must
    be made where nothing can write; this only makes sure.
    """
    actions: list[str] = []
    for repository, wanted in _by_repository(removals):
        storage.on_poll()
        actions += _remove_tags(
            storage, repository, [removal for removal in wanted if removal.tag is not None]
        )
        actions += _remove_revisions(
            storage, repository, [removal for removal in wanted if removal.tag is None]
        )
    return actions


def _by_repository(removals: Iterable[Removal]) -> Iterable[tuple[str, list[Removal]]]:
    grouped: defaultdict[str, list[Removal]] = defaultdict(list)
    for removal in removals:
        grouped[removal.repository].append(removal)
    return grouped.items()


def _remove_tags(storage: Storage, repository: str, removals: Sequence[Removal]) -> list[str]:
    actions = []
    path = storage.tags_path(repository)
    for removal in removals:
        assert removal.tag is not None
        link = storage.tag(repository, removal.tag)
        if link is None:
            continue
        if removal.digest:
            if (link.target, link.pushed) != (removal.digest, removal.pushed):
                continue
            # From here on there is no such tag, whatever is left of it.
            _unlink(storage, path / removal.tag / "current")
            actions.append(f"{removal.name}: removed, it named {removal.digest}")
        elif link.problem == MISSING:
            actions.append(
                f"{removal.name}: cleared away, a push or removal that was cut off left it"
            )
        else:
            continue
        _remove_tree(storage, path, removal.tag)
    if actions:
        _sync(storage, path)
    return actions


def _remove_revisions(storage: Storage, repository: str, removals: Sequence[Removal]) -> list[str]:
    named = {link.target for link in storage.tags(repository)} if removals else set()
    unwanted: dict[str, Removal] = {}
    for removal in removals:
        link = storage.revision(repository, removal.digest)
        as_planned = link is not None and (link.target, link.pushed) == (
            removal.digest,
            removal.pushed,
        )
        if as_planned and removal.digest not in named:
            unwanted[removal.digest] = removal
    if not unwanted:
        return []
    # What tags remember of these goes first: afterwards nobody would find it any more.
    _remove_from_histories(storage, repository, set(unwanted))
    for digest in unwanted:
        folder = storage.link_path(repository, digest=digest).parent
        _unlink(storage, folder)
        _remove_tree(storage, folder.parent, folder.name)
    for folder in {
        storage.link_path(repository, digest=digest).parent.parent for digest in unwanted
    }:
        _sync(storage, folder)
    return [f"{removal.name}: removed, nothing needs it" for removal in unwanted.values()]


def _remove_from_histories(storage: Storage, repository: str, digests: set[str]) -> None:
    """Takes these digests out of the tags' histories (`index`), which only distribution's
    `garbage-collect -m` reads, and which would grow for ever."""
    for tag in [link.name for link in storage.tags(repository)]:
        for algorithm in ALGORITHMS:
            path = storage.tags_path(repository) / tag / "index" / algorithm
            for value in storage.names(path):
                if f"{algorithm}:{value}" in digests:
                    _remove_tree(storage, path, value)


def _unlink(storage: Storage, path: Path) -> None:
    """Removes the file `link` in this folder."""
    with storage.folder(path) as folder:
        if folder is not None:
            os.unlink("link", dir_fd=folder)


def _remove_tree(storage: Storage, path: Path, name: str) -> None:
    """Removes a folder below another one, with what is in it."""
    with storage.folder(path) as folder:
        if folder is not None:
            shutil.rmtree(name, dir_fd=folder)


def _sync(storage: Storage, path: Path) -> None:
    """Makes what was removed in this folder durable: blobs will go on the strength of it."""
    with storage.folder(path) as folder:
        if folder is not None:
            os.fsync(folder)
