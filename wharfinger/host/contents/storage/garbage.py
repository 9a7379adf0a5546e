"""What distribution's `garbage-collect` would delete, where it would fail, and what is stored.

It keeps each manifest that a repository links and whose blob exists, and the blobs that such a
manifest names. It deletes every other blob. Without `-m` it ignores tags. It fails at a link
without a digest, at a manifest that it cannot read, at a repository without the folder _layers, and
if the folder of the repositories is missing. It skips a manifest whose blob is gone, so the layers
of such an image go, and it trusts a manifest whose content was changed. Tried with distribution
3.1.2.

Damage therefore stops a collection until somebody acts. A manifest that is whole but that the
registry cannot read is put aside meanwhile (aside.py), and its repository keeps all its blobs.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ....oci.manifests import Manifest, Unreadable
from .aside import Special, put_aside, restore
from .layout import Storage
from .model import Damage, Removal
from .reading import is_given_up, read_manifest
from .sentences import (
    stray_name,
    uncollected_manifest,
    unjudged_manifest,
    unreadable_layer_link,
    unreadable_link,
    unreadable_manifest,
)
from .uploads import named_by_manifests


@dataclass(frozen=True)
class Usage:
    """How many blobs are stored, and their bytes."""

    blobs: int
    bytes: int


def usage(storage: Storage) -> Usage:
    """What the storage holds now."""
    blobs = size = 0
    for _, blob_size in storage.blobs():
        blobs += 1
        size += blob_size
    return Usage(blobs, size)


def garbage(
    storage: Storage,
    removals: Sequence[Removal] = (),
    awaited: Iterable[str] = (),
    special: Special | None = None,
) -> tuple[int, int]:
    """The number and bytes of the blobs that a collection would delete once `removals` are done.
    `awaited`: blobs that stay in any case. `special`: the answer of `examine`.

    Only an estimate while clients push.
    """
    return unneeded(storage, needed_blobs(storage, removals, special) | set(awaited))


def unneeded(storage: Storage, kept: Container[str]) -> tuple[int, int]:
    """The number and bytes of the blobs that are not in `kept`."""
    blobs = size = 0
    for digest, blob_size in storage.blobs():
        if digest not in kept:
            blobs += 1
            size += blob_size
    return blobs, size


def needed_blobs(
    storage: Storage, removals: Sequence[Removal] = (), special: Special | None = None
) -> set[str]:
    """The manifests and the blobs that they name, once `removals` are done. `special`: as for
    `garbage`."""
    pinned = (special or examine(storage)[1]).pinned
    gone = {(removal.repository, removal.digest) for removal in removals if removal.tag is None}
    kept: set[str] = set().union(*pinned.values())
    read: set[str] = set()
    for repository in storage.repositories():
        for link in storage.revisions(repository):
            digest = link.target
            if digest in read or digest != link.name or (repository, digest) in gone:
                continue
            read.add(digest)
            manifest = read_manifest(storage, digest)
            if isinstance(manifest, Manifest):
                kept.add(digest)
                kept.update(reference.digest for reference in manifest.references)
    return kept


def obstacles(storage: Storage) -> list[str]:
    """Why no collection should begin: the first part of the answer of `examine`."""
    return examine(storage)[0]


def examine(storage: Storage) -> tuple[list[str], Special]:
    """Why no collection should begin, and what it must treat specially.

    The former are sentences that also say what to do. Without that, the collection would fail, or
    would delete what an image needs that can still be repaired.
    """
    problems = [stray_name(path).sentence for path in storage.strays()]
    hidden: list[tuple[str, str]] = []
    warnings: list[Damage] = []
    pinned: dict[str, frozenset[str]] = {}
    read: dict[str, Manifest | Unreadable] = {}
    for repository in storage.repositories():
        unread: dict[str, Damage] = {}
        problems.extend(damage.sentence for damage in _manifests(storage, repository, read, unread))
        targets: dict[str, str] = {}
        problems.extend(damage.sentence for damage in _layers(storage, repository, targets))
        hidden.extend((repository, digest) for digest in unread)
        warnings.extend(unread.values())
        stays = {*unread, *targets.values()} if unread else _aliased(storage, repository, targets)
        if stays:
            pinned[repository] = frozenset(stays)
    return problems, Special(tuple(hidden), tuple(warnings), pinned)


def _manifests(
    storage: Storage,
    repository: str,
    read: dict[str, Manifest | Unreadable],
    unread: dict[str, Damage],
) -> Iterator[Damage]:
    """Yields the damaged manifests of a repository. Adds a warning to `unread` for each manifest
    that is whole but that the registry cannot read. `read`: a cache of manifests."""
    for link in storage.revisions(repository):
        digest = link.name
        if link.target != digest:
            yield unreadable_link(storage, repository, link)
            continue
        if digest not in read:
            manifest = read_manifest(storage, digest)
            readable = isinstance(manifest, Manifest) and manifest.collected
            read[digest] = _FINE if readable else manifest
        manifest = read[digest]
        if isinstance(manifest, Unreadable) and manifest.damaged:
            if is_given_up(storage, repository, digest):
                continue
            yield unreadable_manifest(storage, repository, digest, manifest.why)
        elif isinstance(manifest, Unreadable):
            unread[digest] = unjudged_manifest(storage, repository, digest, manifest.why)
        elif not manifest.collected:
            unread[digest] = uncollected_manifest(storage, repository, digest, manifest.media_type)


def _layers(storage: Storage, repository: str, targets: dict[str, str]) -> Iterator[Damage]:
    """Yields the damaged links of a repository's layers. Adds the targets of the others to
    `targets`."""
    for link in storage.layers(repository):
        if link.problem:
            yield unreadable_layer_link(storage, repository, link)
        else:
            targets[link.name] = link.target


def _aliased(storage: Storage, repository: str, targets: Mapping[str, str]) -> set[str]:
    """The blobs that a manifest names by another digest than the one by which they are stored."""
    aliases = {name: target for name, target in targets.items() if name != target}
    if not aliases:
        return set()
    blobs: set[str] = set()
    for link in storage.revisions(repository):
        manifest = read_manifest(storage, link.name)
        if isinstance(manifest, Manifest):
            blobs.update(
                aliases[reference.digest]
                for reference in manifest.references
                if reference.digest in aliases
            )
    return blobs


# Stands for any manifest that the registry can read, to save memory.
_FINE = Manifest("")


@contextmanager
def collectable(
    storage: Storage,
    journal: Path,
    special: Special | None = None,
    awaited: Mapping[str, Mapping[str, int]] | None = None,
) -> Iterator[list[str]]:
    """Prepares the storage for the registry's garbage collection while the body runs. Yields
    sentences about what was created for that. Only while no process writes.

    `journal`: the file that lists what is put aside. `special`: an answer of `examine` from after
    writes were refused. `awaited`: by repository, further blobs that stay (uploads.py).
    """
    restore(journal)
    actions = make_collectable(storage)
    special = special or examine(storage)[1]
    stays = {repository: dict(sizes) for repository, sizes in (awaited or {}).items()}
    for repository, digests in special.pinned.items():
        sizes = {digest: storage.blob_size(digest) for digest in digests}
        stays.setdefault(repository, {}).update(
            {digest: size for digest, size in sizes.items() if size is not None}
        )
    try:
        put_aside(storage, special.hidden, journal)
        with named_by_manifests(storage, {name: sizes for name, sizes in stays.items() if sizes}):
            yield actions
    finally:
        restore(journal)


def make_collectable(storage: Storage) -> list[str]:
    """Creates the folder _layers in each repository without one, and the folder of the repositories
    if it is missing: without them the whole collection fails. Returns a sentence for each. A push
    of an index without children makes such a repository, so any account that may push could stop
    all collections. Only while no process writes."""
    missing = [
        storage.layers_path(repository)
        for repository in storage.repositories()
        if not storage.has_layers(repository)
    ]
    with storage.folder(storage.root / "repositories") as folder:
        if folder is None:
            missing.append(storage.root / "repositories")
    actions = []
    for path in missing:
        with storage.folder(path.parent) as folder:
            if folder is None:
                continue
            parent = os.fstat(folder)
            os.mkdir(path.name, parent.st_mode & 0o777, dir_fd=folder)
            os.chown(path.name, parent.st_uid, parent.st_gid, dir_fd=folder, follow_symlinks=False)
        actions.append(f"{path}: created, because a garbage collection fails without it")
    return actions
