"""The list: every tag, manifest and layer link of the registry's storage, in one sorted file.

A backup saves this file instead of a million small ones. Clients push and delete while it is read,
so each repository is read in the order tags, manifests, layers: what a tag names was there before
the tag, and what a manifest names before the manifest. Afterwards the repository's part is closed:
a tag whose manifest was deleted meanwhile is left out, and so is a manifest that came meanwhile
unless everything it names is in the list too.

A line is a JSON array [repository, kind, name, digest, time]. Kinds: `tag` (name is the tag),
`history` (name is the tag, digest what it once named), `revision` (a manifest) and `layer` (name
is the digest that clients know it by). Time is when the link was written, in nanoseconds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from ...oci.digests import DIGEST
from ...oci.manifests import Manifest
from ...oci.names import REPOSITORY, TAG
from ..contents.storage.layout import MISSING, Link, Storage
from ..contents.storage.reading import read_manifest
from ..system.errors import HostError

TAG_LINK = "tag"
HISTORY = "history"
REVISION = "revision"
LAYER = "layer"
KINDS = (TAG_LINK, HISTORY, REVISION, LAYER)

# Seconds by which the kernel's times of files lag behind the clock, at most.
_COARSE = 0.1
# How often, and how many seconds apart, a link is read again that another process is writing.
_TRIES = 5
_PAUSE = 0.05


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One line of the list; `written` in nanoseconds since 1970."""

    repository: str
    kind: str
    name: str
    digest: str
    written: int

    @property
    def reference(self) -> str:
        """Of a tag: REPOSITORY:TAG."""
        return f"{self.repository}:{self.name}"

    def line(self) -> str:
        values = [self.repository, self.kind, self.name, self.digest, self.written]
        return json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n"


@dataclass
class Counts:
    """How much is in a list, and the links that were left out because they cannot be read."""

    repositories: int = 0
    tags: int = 0
    manifests: int = 0
    layers: int = 0
    unreadable: int = 0

    def add(self, entries: Iterable[Entry]) -> None:
        kinds = [entry.kind for entry in entries]
        self.repositories += bool(kinds)
        self.tags += kinds.count(TAG_LINK)
        self.manifests += kinds.count(REVISION)
        self.layers += kinds.count(LAYER)


def write(storage: Storage, stream: IO[str]) -> Counts:
    """Reads the storage and writes the list. Raises HostError where the storage cannot be read."""
    counts = Counts()
    for repository in storage.with_contents():
        entries = _repository(storage, repository, counts)
        stream.writelines(entry.line() for entry in entries)
        counts.add(entries)
    return counts


def read(lines: Iterable[str]) -> Iterator[Entry]:
    """The entries of a list. Raises HostError at a line that no list has: it may come from a
    damaged backup, or from one that somebody else has written."""
    for number, line in enumerate(lines, 1):
        try:
            repository, kind, name, digest, written = json.loads(line)
            entry = Entry(repository, kind, name, digest, written)
            whole = _is_whole(entry)
        except (ValueError, TypeError):
            whole = False
        if not whole:
            raise HostError(f"the backup's list cannot be read: line {number} is damaged")
        yield entry


def _is_whole(entry: Entry) -> bool:
    if entry.kind not in KINDS or not isinstance(entry.written, int) or entry.written < 0:
        return False
    named = TAG if entry.kind in (TAG_LINK, HISTORY) else DIGEST
    return bool(
        REPOSITORY.fullmatch(entry.repository)
        and named.fullmatch(entry.name)
        and DIGEST.fullmatch(entry.digest)
    )


def _repository(storage: Storage, repository: str, counts: Counts) -> list[Entry]:
    began = time.time()
    tags = {link.name: link for link in _tags(storage, repository, counts)}
    history = [
        (tag, digest, written)
        for tag in tags
        for digest, written in storage.history(repository, tag)
    ]
    revisions = {link.name: link for link in _whole(storage.revisions(repository), counts)}
    layers = {link.name: link for link in _whole(storage.layers(repository), counts)}
    tagged = {link.target for link in tags.values()}
    young = [
        name
        for name, link in revisions.items()
        if name not in tagged and link.pushed > began - _COARSE
    ]
    _leave_out_unfinished(storage, young, revisions, layers)
    entries = [
        Entry(repository, TAG_LINK, name, link.target, _nanoseconds(link.pushed))
        for name, link in tags.items()
        if link.target in revisions
    ]
    entries += [
        Entry(repository, HISTORY, tag, digest, _nanoseconds(written))
        for tag, digest, written in history
        if digest in revisions and tags[tag].target in revisions
    ]
    for kind, links in ((REVISION, revisions), (LAYER, layers)):
        entries += [
            Entry(repository, kind, name, link.target, _nanoseconds(link.pushed))
            for name, link in links.items()
        ]
    return sorted(entries)


def _tags(storage: Storage, repository: str, counts: Counts) -> Iterator[Link]:
    """The tags that name something. One that is just being moved is read again."""
    for link in storage.tags(repository):
        current: Link | None = link
        for _ in range(_TRIES):
            if current is None or not current.problem:
                break
            time.sleep(_PAUSE)
            current = storage.tag(repository, link.name)
        if current is None or current.problem == MISSING:
            continue
        if current.problem:
            counts.unreadable += 1
            continue
        yield current


def _whole(links: Iterable[Link], counts: Counts) -> Iterator[Link]:
    for link in links:
        if link.problem:
            counts.unreadable += 1
        else:
            yield link


def _leave_out_unfinished(
    storage: Storage, young: list[str], revisions: dict[str, Link], layers: dict[str, Link]
) -> None:
    """Takes those of `young`, manifests that came while the repository was read, out of `revisions`
    that name something that was not seen: an index, say, that came while its folder was read, its
    members just before."""
    while young:
        unfinished = [name for name in young if not _is_finished(storage, name, revisions, layers)]
        if not unfinished:
            return
        for name in unfinished:
            del revisions[name]
            young.remove(name)


def _is_finished(
    storage: Storage, name: str, revisions: dict[str, Link], layers: dict[str, Link]
) -> bool:
    content = read_manifest(storage, name)
    if not isinstance(content, Manifest):
        # Nothing is known of what it needs; the registry has taken it all the same.
        return True
    needed = {blob.digest for blob in content.contents if not blob.elsewhere}
    return (
        needed <= layers.keys() and {child.digest for child in content.children} <= revisions.keys()
    )


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1_000_000) * 1000
