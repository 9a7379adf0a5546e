"""Writes links and folders of a registry's storage as the registry itself does."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from ...oci.manifests import Manifest
from ..contents.storage.layout import Storage
from ..contents.storage.reading import read_manifest
from .listing import HISTORY, LAYER, REVISION, TAG_LINK, Entry

# In this order: what a link leads to is there before the link.
_ORDER = {LAYER: 0, REVISION: 1, HISTORY: 2, TAG_LINK: 3}


def write(storage: Storage, entry: Entry, owner: int, *, replace: bool = False) -> None:
    """Writes the link of one entry of a snapshot's list, with its time. One that exists stays,
    unless `replace` says otherwise."""
    # Strings and descriptors: a restore writes a million links, and Path took half of its time.
    path = str(place(storage, entry))
    if not replace and os.path.exists(path):
        return
    parent = os.path.dirname(path)
    folder(parent, owner)
    partial = f"{parent}/.link.new"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        os.write(descriptor, entry.digest.encode())
        os.fchown(descriptor, owner, owner)
        os.utime(descriptor, ns=(entry.written, entry.written))
    finally:
        os.close(descriptor)
    os.rename(partial, path)


def place(storage: Storage, entry: Entry) -> Path:
    """The link's file."""
    if entry.kind == LAYER:
        return storage.layer_path(entry.repository, entry.name)
    if entry.kind == REVISION:
        return storage.link_path(entry.repository, digest=entry.name)
    if entry.kind == TAG_LINK:
        return storage.link_path(entry.repository, tag=entry.name)
    algorithm, _, value = entry.digest.partition(":")
    index = storage.tags_path(entry.repository) / entry.name / "index"
    return index / algorithm / value / "link"


def folder(path: str | Path, owner: int) -> None:
    """Makes a folder of the storage, with those above it."""
    if os.path.exists(path):
        return
    folder(os.path.dirname(path), owner)
    with suppress(FileExistsError):
        os.mkdir(path, mode=0o755)
    os.chown(path, owner, owner)


def write_all(
    storage: Storage, entries: Iterable[Entry], damaged: Collection[str], owner: int
) -> list[str]:
    """Writes the links of a list, sorted by repository, but those that need one of the `damaged`
    blobs. Those that exist stay. Returns the tags that are left out."""
    left_out = []
    for _, group in itertools.groupby(entries, lambda entry: entry.repository):
        whole, without = split(storage, group, damaged)
        for entry in whole:
            write(storage, entry, owner)
        begin_grace(storage, whole, owner)
        left_out += [entry.reference for entry in without if entry.kind == TAG_LINK]
    return left_out


def split(
    storage: Storage, entries: Iterable[Entry], damaged: Collection[str]
) -> tuple[list[Entry], list[Entry]]:
    """The entries of one repository in the order to write them, and those that need one of the
    `damaged` blobs."""
    ordered = sorted(entries, key=lambda entry: _ORDER[entry.kind])
    if not damaged:
        return ordered, []
    broken = _broken(storage, ordered, damaged)
    without = [entry for entry in ordered if entry.digest in broken]
    return [entry for entry in ordered if entry.digest not in broken], without


def _broken(storage: Storage, entries: Iterable[Entry], damaged: Collection[str]) -> set[str]:
    """The damaged blobs, and the manifests that need one of them."""
    broken = set(damaged)
    revisions = {entry.digest for entry in entries if entry.kind == REVISION}
    while True:
        more = {
            digest
            for digest in revisions - broken
            if isinstance(content := read_manifest(storage, digest), Manifest)
            and any(reference.digest in broken for reference in content.references)
        }
        if not more:
            return broken
        broken |= more


def begin_grace(storage: Storage, entries: Iterable[Entry], owner: int) -> None:
    """Manifests without a tag stay for registry_untagged_keep from now on: its age is counted from
    the last change of the folder of tags (contents/storage/grace.py)."""
    for repository in {entry.repository for entry in entries if entry.kind == REVISION}:
        tags = storage.tags_path(repository)
        folder(tags, owner)
        os.utime(tags)
