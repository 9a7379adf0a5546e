"""What distribution's `garbage-collect` would delete, where it would stop, and what is stored.

It keeps the blob of each manifest that a repository links and whose blob is there, and whatever
such a manifest names; every other blob goes. It looks at no tag (without `-m`). It ends with an
error at a link without a digest, at a manifest that it cannot read, at a repository without the
folder _layers, and where the folder of the repositories is missing; it passes over a manifest whose
blob is gone, so that the layers of such an image go, and it believes a manifest whose content was
changed. Tried with distribution 3.1.2.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...oci.manifests import Manifest, Unreadable, parse
from .model import Damage, Removal
from .sentences import (
    stray_name,
    uncollected_manifest,
    unreadable_layer_link,
    unreadable_link,
    unreadable_manifest,
)
from .storage import Storage


@dataclass(frozen=True)
class Usage:
    """How many blobs are stored, and their bytes."""

    blobs: int
    bytes: int


def usage(storage: Storage) -> Usage:
    """What the storage holds now."""
    blobs = size = 0
    for _, one in storage.blobs():
        blobs += 1
        size += one
    return Usage(blobs, size)


def garbage(
    storage: Storage, removals: Sequence[Removal] = (), awaited: Iterable[str] = ()
) -> tuple[int, int]:
    """The blobs that a collection would delete once `removals` are done: their number and bytes.
    `awaited`: blobs that stay in any case.

    An estimate while others push. What `obstacles` finds keeps nothing here.
    """
    gone = {(one.repository, one.digest) for one in removals if one.tag is None}
    kept = set(awaited)
    read: set[str] = set()
    for repository in storage.repositories():
        for link in storage.revisions(repository):
            digest = link.target
            if digest in read or digest != link.name or (repository, digest) in gone:
                continue
            read.add(digest)
            found = manifest(storage, digest)
            if isinstance(found, Manifest):
                kept.add(digest)
                kept.update(one.digest for one in found.contents)
                kept.update(one.digest for one in found.children)
    blobs = size = 0
    for digest, one in storage.blobs():
        if digest not in kept:
            blobs += 1
            size += one
    return blobs, size


def obstacles(storage: Storage) -> list[str]:
    """Why no collection should begin: it would end with an error, or delete what an image needs
    that can still be repaired. Sentences, each with the way on."""
    found = [stray_name(path).sentence for path in storage.strays()]
    read: dict[str, Manifest | Unreadable] = {}
    for repository in storage.repositories():
        found.extend(one.sentence for one in _in_the_way(storage, repository, read))
    return found


def _in_the_way(
    storage: Storage, repository: str, read: dict[str, Manifest | Unreadable]
) -> Iterator[Damage]:
    """What in a repository stands in a collection's way. `read`: what is known of manifests."""
    for link in storage.revisions(repository):
        digest = link.name
        if link.target != digest:
            yield unreadable_link(storage, repository, link)
            continue
        if digest not in read:
            found = manifest(storage, digest)
            readable = isinstance(found, Manifest) and found.collected
            read[digest] = _FINE if readable else found
        found = read[digest]
        if isinstance(found, Unreadable):
            yield unreadable_manifest(storage, repository, digest, found.why)
        elif not found.collected:
            yield uncollected_manifest(storage, repository, digest, found.media_type)
    for link in storage.layers(repository):
        if link.problem:
            yield unreadable_layer_link(storage, repository, link)


# Of a manifest that can be collected, no more than that is kept.
_FINE = Manifest("")


def manifest(storage: Storage, digest: str) -> Manifest | Unreadable:
    """The manifest with this digest, where its blob has that digest."""
    try:
        data = storage.manifest(digest)
    except OSError as problem:
        return Unreadable(f"its blob cannot be read ({problem.strerror})")
    if data is None:
        return Unreadable("its blob is missing or damaged")
    return parse(data)


def make_collectable(storage: Storage) -> list[str]:
    """Gives each repository the folder _layers, without which the collection of everything ends,
    and blobs of no repository the folder of repositories; one sentence for each that was missing.
    An index without children makes such a repository, so that anybody who may push could end all
    collections. Only where no process writes."""
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
            found = os.fstat(folder)
            os.mkdir(path.name, found.st_mode & 0o777, dir_fd=folder)
            os.chown(path.name, found.st_uid, found.st_gid, dir_fd=folder, follow_symlinks=False)
        actions.append(f"{path}: made, because a garbage collection ends where it is missing")
    return actions
