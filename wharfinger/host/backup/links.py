"""Writes links and folders of a registry's storage as the registry itself does."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..contents.storage.layout import Storage
from ..system.files import exists
from .listing import LAYER, REVISION, TAG_LINK, Entry


def write(storage: Storage, entry: Entry, owner: int) -> None:
    """Writes the link of one entry of a snapshot's list, with its time. One that exists stays."""
    path = place(storage, entry)
    if exists(path):
        return
    folder(path.parent, owner)
    partial = path.with_name(".link.new")
    partial.write_text(entry.digest)
    os.chown(partial, owner, owner)
    os.utime(partial, ns=(entry.written, entry.written))
    partial.rename(path)


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


def folder(path: Path, owner: int) -> None:
    """Makes a folder of the storage, with those above it."""
    if exists(path):
        return
    folder(path.parent, owner)
    with suppress(FileExistsError):
        path.mkdir(mode=0o755)
    os.chown(path, owner, owner)
