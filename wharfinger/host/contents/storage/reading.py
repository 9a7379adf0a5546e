"""Reads manifests from the storage."""

from __future__ import annotations

from typing import Any

from ....oci.manifests import Manifest, Unreadable, document, parse
from .layout import Storage


def read_manifest(storage: Storage, digest: str) -> Manifest | Unreadable:
    """The manifest with this digest; Unreadable if its blob is missing or damaged."""
    try:
        data = storage.manifest(digest)
    except OSError as problem:
        return Unreadable(f"its blob cannot be read ({problem.strerror})", damaged=True)
    if data is None:
        return Unreadable("its blob is missing or damaged", damaged=True)
    return parse(data)


def read_document(storage: Storage, digest: str) -> dict[str, Any]:
    """The JSON object of a manifest; {} if its blob is missing, damaged or none."""
    try:
        return document(storage.manifest(digest) or b"")
    except OSError:
        return {}


def is_given_up(storage: Storage, repository: str, digest: str) -> bool:
    """Whether a manifest's blob is gone, only its link is left, and no tag leads to it. Then there
    is nothing to repair, and the blobs that it needed are no loss."""
    if storage.blob_size(digest) is not None:
        return False
    waiting = [link.target for link in storage.tags(repository)]
    visited: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name == digest:
            return False
        if name in visited or storage.revision(repository, name) is None:
            continue
        visited.add(name)
        manifest = read_manifest(storage, name)
        if isinstance(manifest, Unreadable):
            # It may refer to any manifest.
            return False
        waiting += [reference.digest for reference in manifest.references]
    return True
