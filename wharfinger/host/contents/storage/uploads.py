"""Pushes that are under way during a collection: the layers that they have sent stay.

A push sends its layers and its configuration first, each as an upload, and last the manifest that
names them. Until then, a garbage collection takes the layers for garbage. So as long as the
collection lasts, a manifest without a tag names the recent layers of each repository with an upload
under way. A kill leaves that manifest behind, as an ordinary untagged one.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ....oci.digests import digest_of
from ....oci.media_types import OCI_IMAGE
from .layout import Storage

# Seconds without a byte after which an upload counts as abandoned (nginx gives a slow client 300).
_LEFT = 3600.0
# Seconds for which the layers of a push are kept for their manifest.
_PUSH = 86400.0
# Seconds that the registry may need to put a complete upload in its place.
_PLACING = 5.0
# Layers in one manifest: far fewer bytes than the registry reads of one.
_MANY = 1000


@dataclass(frozen=True)
class Upload:
    """An unfinished upload. `changed`: when its files last changed; `received`: whether it has data
    that is not in its place yet."""

    repository: str
    changed: float
    received: bool


def uploads(storage: Storage) -> Iterator[Upload]:
    """All unfinished uploads."""
    for repository in storage.with_uploads():
        path = storage.uploads_path(repository)
        for name in storage.names(path):
            with storage.folder(path / name) as folder:
                if folder is None:
                    continue
                changed, received = os.fstat(folder).st_mtime, False
                with contextlib.suppress(FileNotFoundError):
                    data = os.stat("data", dir_fd=folder, follow_symlinks=False)
                    changed, received = max(changed, data.st_mtime), True
            yield Upload(repository, changed, received)


def uploads_at_rest(storage: Storage, now: float) -> bool:
    """Whether no upload is just being put in its place: its data was moved, but its repository may
    not link it yet. Only while no process writes."""
    return not any(
        not upload.received and abs(now - upload.changed) < _PLACING for upload in uploads(storage)
    )


def awaited_layers(storage: Storage, now: float) -> dict[str, dict[str, int]]:
    """By repository, the layers of pushes that are under way: digest → size."""
    going_on = {upload.repository for upload in uploads(storage) if now - upload.changed < _LEFT}
    awaited = {}
    for repository in sorted(going_on):
        recent = [
            link.target
            for link in storage.layers(repository)
            if not link.problem and now - link.pushed < _PUSH
        ]
        sizes = {layer: size for layer in recent if (size := storage.blob_size(layer)) is not None}
        if sizes:
            awaited[repository] = sizes
    return awaited


@contextlib.contextmanager
def named_by_manifests(storage: Storage, layers: dict[str, dict[str, int]]) -> Iterator[None]:
    """While the body runs, manifests in each repository name these layers (`awaited_layers`). Only
    while no process writes."""
    with contextlib.ExitStack() as stack:
        for repository, sizes in layers.items():
            digests = sorted(sizes)
            for start in range(0, len(digests), _MANY):
                data = _manifest({layer: sizes[layer] for layer in digests[start : start + _MANY]})
                digest = digest_of(data)
                # The link comes last and goes first: without its blob it would be damage.
                stack.enter_context(_file(storage, storage.blob_path(digest), data))
                link = storage.link_path(repository, digest=digest)
                stack.enter_context(_file(storage, link, digest.encode()))
        yield


def _manifest(layers: dict[str, int]) -> bytes:
    """An image's manifest that names these blobs."""
    described = [
        {"mediaType": "application/octet-stream", "digest": digest, "size": size}
        for digest, size in layers.items()
    ]
    manifest = {"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": described[0]}
    return json.dumps({**manifest, "layers": described}).encode()


@contextlib.contextmanager
def _file(storage: Storage, path: Path, data: bytes) -> Iterator[None]:
    """A file of the storage, as the registry would write it, with the folders that it needs. It is
    removed with them afterwards."""
    made: list[Path] = []
    try:
        _folder(storage, path.parent, made)
        with storage.folder(path.parent) as folder:
            assert folder is not None
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            descriptor = os.open(path.name, flags, 0o644, dir_fd=folder)
            with os.fdopen(descriptor, "wb") as file:
                owner = os.fstat(folder)
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
                file.write(data)
        yield
    finally:
        with storage.folder(path.parent) as folder:
            if folder is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path.name, dir_fd=folder)
        for folder_path in reversed(made):
            # The folder may hold something else by now, or the collection may have removed it.
            with storage.folder(folder_path.parent) as folder, contextlib.suppress(OSError):
                os.rmdir(folder_path.name, dir_fd=folder)


def _folder(storage: Storage, path: Path, made: list[Path]) -> None:
    """Makes a folder of the storage, and those above it, if they are missing."""
    with storage.folder(path) as folder:
        if folder is not None:
            return
    _folder(storage, path.parent, made)
    with storage.folder(path.parent) as folder:
        assert folder is not None
        above = os.fstat(folder)
        os.mkdir(path.name, above.st_mode & 0o777, dir_fd=folder)
        made.append(path)
        os.chown(path.name, above.st_uid, above.st_gid, dir_fd=folder, follow_symlinks=False)
