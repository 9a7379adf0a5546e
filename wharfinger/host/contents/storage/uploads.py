"""Pushes that are under way while the storage is worked on: what has come of them stays.

A push sends its layers and its configuration first, each as an upload, and the manifest that names
them last. Until then a garbage collection takes what has come for garbage. So what came for a
repository into which an upload goes on is named by a manifest without a tag for as long as the
collection lasts. A kill leaves that manifest, which is then what any untagged one is.
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

# Seconds without a byte after which nobody goes on with an upload (nginx gives a slow client 300).
_LEFT = 3600.0
# Seconds for which the layers of a push wait for their manifest.
_PUSH = 86400.0
# Seconds in which an upload that is complete is put in its place.
_PLACING = 5.0
# Layers in one manifest: far fewer bytes than the registry reads of one.
_MANY = 1000


@dataclass(frozen=True)
class Upload:
    """An upload that was begun; `changed`: when something of it last came or went; `received`:
    whether something of it is there that was not put in its place yet."""

    repository: str
    changed: float
    received: bool


def uploads(storage: Storage) -> Iterator[Upload]:
    """All uploads that were begun and not ended."""
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
    """Whether no upload is in the midst of being put in its place: its data have been moved, and
    its repository may not link them yet. Only where no process writes."""
    return not any(
        not upload.received and abs(now - upload.changed) < _PLACING for upload in uploads(storage)
    )


def awaited_layers(storage: Storage, now: float) -> dict[str, dict[str, int]]:
    """By repository, the layers that came for pushes that go on: digest → size."""
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
    """A manifest in each repository names these layers (`awaited`) while the body runs. Only where
    no process writes."""
    with contextlib.ExitStack() as stack:
        for repository, sizes in layers.items():
            digests = sorted(sizes)
            for start in range(0, len(digests), _MANY):
                data = _manifest({layer: sizes[layer] for layer in digests[start : start + _MANY]})
                digest = digest_of(data)
                # The link last and gone first: without its blob it would be damage.
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
    """A file of the storage, as the registry would write it, with the folders that it needs; both
    are gone afterwards."""
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
            # Something else may have come into it, or the collection has taken it away.
            with storage.folder(folder_path.parent) as folder, contextlib.suppress(OSError):
                os.rmdir(folder_path.name, dir_fd=folder)


def _folder(storage: Storage, path: Path, made: list[Path]) -> None:
    """Makes a folder of the storage and those above it, where they are missing."""
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
