"""Removes what was planned. Only while no process writes to the storage.

A kill at any moment leaves each tag either whole or without its current/link, and each manifest
either linked or not. For distribution, a tag without a current/link does not exist. Its garbage
collection ignores it, and the next plan removes it.
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
    """Removes these tags and revisions. Returns one sentence for each that was removed.

    A tag or revision that changed since the plan stays, without a message: a tag that names another
    digest or was pushed again, a revision that was pushed again or that a tag names now. This is
    only a safeguard: the plan must be made while nothing can write.
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
            # From here on the tag does not exist, even if a part of its folder is left.
            _unlink(storage, path / removal.tag / "current")
            actions.append(f"{removal.name}: removed, it named {removal.digest}")
        elif link.problem == MISSING:
            actions.append(f"{removal.name}: removed, an interrupted push or removal had left it")
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
    # The tags' histories go first: nothing would find their entries afterwards.
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
    """Removes these digests from the tags' histories (`index`). Only distribution's
    `garbage-collect -m` reads them, and they would grow for ever."""
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
    """Removes the folder `name` in this folder, with its contents."""
    with storage.folder(path) as folder:
        if folder is not None:
            shutil.rmtree(name, dir_fd=folder)


def _sync(storage: Storage, path: Path) -> None:
    """Makes the removals in this folder durable, because blobs will be removed for them."""
    with storage.folder(path) as folder:
        if folder is not None:
            os.fsync(folder)
