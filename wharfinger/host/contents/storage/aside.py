"""What distribution's `garbage-collect` must not see while it runs, and what it must keep.

It fails, for all repositories, at a manifest that it cannot read. Any account that may push can
make one: the registry accepts `{"layers": 5, "layers": null}` as an index without a mediaType, and
reads it as an image from then on. Besides, it keeps a blob only under the digest by which a
manifest names it: a layer that was pushed by its sha512 is stored by its sha256, so it is removed
although a tag needs it. Tried with 3.1.2.

So, while no process can write:

- A manifest that the registry cannot read is put aside: its `link` is renamed. It cannot be pulled
  anyway. All blobs of its repository stay, because nobody knows which ones it needs.
- A manifest is made that names the blobs that stay for such reasons, as for the layers of pushes
  that go on (uploads.py).

A journal lists the renames before they happen, so that `restore` can undo them after a kill. The
end of the maintenance always calls it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...system.errors import HostError
from ...system.files import read_text, write_atomically
from .layout import Storage
from .model import Damage

_LINK = "link"
_ASIDE = "link.aside"


@dataclass(frozen=True)
class Special:
    """What a collection must treat specially. `hidden`: repositories and digests of manifests that
    the registry cannot read; `warnings` report them. `pinned`: by repository, the blobs that stay
    whether or not a manifest names them."""

    hidden: tuple[tuple[str, str], ...] = ()
    warnings: tuple[Damage, ...] = ()
    pinned: Mapping[str, frozenset[str]] = field(default_factory=dict)


def put_aside(storage: Storage, hidden: Sequence[tuple[str, str]], journal: Path) -> None:
    """Hides these manifests from a collection. Only while no process writes."""
    if not hidden:
        return
    noted = {"storage": str(storage.path), "hidden": hidden}
    write_atomically(journal, json.dumps(noted).encode(), 0o600)
    for repository, digest in hidden:
        _rename(storage, repository, digest, _LINK, _ASIDE)


def restore(journal: Path) -> None:
    """Undoes `put_aside`, also that of a run that was killed. Raises HostError if the journal is
    damaged."""
    text = read_text(journal)
    if text is None:
        return
    try:
        noted = json.loads(text)
        storage = Storage(Path(noted["storage"]))
        hidden = [(str(repository), str(digest)) for repository, digest in noted["hidden"]]
    except (ValueError, TypeError, LookupError) as problem:
        raise HostError(
            f"{journal} is damaged: rename each file `{_ASIDE}` in the registry's storage to "
            f"`{_LINK}`, then remove this file"
        ) from problem
    for repository, digest in hidden:
        _rename(storage, repository, digest, _ASIDE, _LINK)
    journal.unlink()


def _rename(storage: Storage, repository: str, digest: str, name: str, other: str) -> None:
    """Renames a manifest's link. If the other name already exists, that link is newer: the manifest
    was pushed again after a run was killed."""
    path = storage.link_path(repository, digest=digest).parent
    with storage.folder(path) as folder:
        if folder is None:
            return
        with contextlib.suppress(FileNotFoundError):
            if _has(folder, other):
                os.unlink(name, dir_fd=folder)
            else:
                os.rename(name, other, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)


def _has(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
