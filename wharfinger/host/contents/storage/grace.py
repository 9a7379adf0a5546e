"""Since when nothing needs a manifest or layer: it is removed `registry_untagged_keep` later.

Mostly the storage tells. A tag's history (`index`) says when the tag moved on to the next manifest.
The folder of the tags changes when a tag is made or removed. The folder of a manifest changes when
the manifest is deleted, and stays. None of these times is earlier than the moment in question. But
the folder of the tags changes with every new tag, too. So the timer, every quarter of an hour,
notes which manifests have no tag and when it first saw them so (`updated_notes`), and the earlier
of the two times counts. Without a note, or if the file is damaged, manifests stay longer, never
shorter.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ....oci.manifests import Manifest
from .layout import Storage
from .model import Revision, Tag
from .reading import read_manifest

DAY = 86400.0
#: With this smallest setting (seconds), age counts from the push: that frees a full disk at once.
LEAST = 3600.0
# How long layers that no manifest names stay if manifests stay for ever.
_LAYERS = 14 * DAY
# At most this many manifests are noted; for the others, only the times in the storage count.
_MOST = 200_000


@dataclass
class Note:
    """The timer's note on a repository. `changed`: the times of its folders of tags and manifests;
    `seen`: manifest without a tag → when it was first seen without one, and when it was pushed."""

    changed: tuple[float, float]
    seen: dict[str, tuple[float, float]] = field(default_factory=dict)


Notes = dict[str, Note]


def updated_notes(storage: Storage, notes: Mapping[str, Note], now: float) -> Notes:
    """The notes as of now. Only repositories that changed since the last notes are read."""
    updated: Notes = {}
    total = 0
    for repository in storage.repositories():
        changed = storage.changed(repository)
        known = notes.get(repository)
        if known is None or known.changed != changed:
            seen = {} if known is None else known.seen
            tagged = {link.target for link in storage.tags(repository)}
            known = Note(changed)
            for link in storage.revisions(repository):
                if link.name not in tagged:
                    first = seen.get(link.name)
                    if first is None or first[1] != link.pushed:
                        first = (now, link.pushed)
                    known.seen[link.name] = first
        total += len(known.seen)
        if total > _MOST:
            known = Note(changed)
        updated[repository] = known
    return updated


def encode(notes: Mapping[str, Note]) -> bytes:
    """The notes as the file has them."""
    plain = {
        name: {
            "changed": list(note.changed),
            "seen": {key: list(times) for key, times in note.seen.items()},
        }
        for name, note in notes.items()
    }
    return json.dumps(plain, sort_keys=True).encode()


def decode(data: bytes | None) -> Notes:
    """The notes that `encode` wrote; empty if they are missing or damaged."""
    try:
        raw: dict[str, Any] = json.loads(data or b"{}")
        notes = {
            str(name): Note(
                _two_times(note["changed"]),
                {str(key): _two_times(times) for key, times in note["seen"].items()},
            )
            for name, note in raw.items()
        }
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return {}
    return notes


def _two_times(value: Any) -> tuple[float, float]:
    first, second = (float(moment) for moment in value)
    if not (math.isfinite(first) and math.isfinite(second)):
        raise ValueError(value)
    return first, second


def with_last_need(
    storage: Storage,
    repository: str,
    tags: Mapping[str, Tag],
    revisions: Mapping[str, Revision],
    note: Note | None,
) -> dict[str, Revision]:
    """The revisions; those without a tag get `last_needed`, the latest moment at which a tag or an
    index may have needed them."""
    tagged = {tag.digest for tag in tags.values()}
    moved = _last_moved(storage, repository, tags)
    changed = storage.moment(storage.changed(repository)[0])
    deleted = _last_needed_by_deleted(storage, repository)
    dated = dict(revisions)
    for digest, revision in revisions.items():
        if digest in tagged:
            continue
        moment = max(revision.pushed, changed, moved.get(digest, 0.0))
        seen = note.seen.get(digest) if note is not None else None
        if seen is not None and seen[1] == revision.pushed:
            moment = min(moment, max(seen[0], revision.pushed))
        deleted_index = deleted.get(digest, 0.0)
        # A referrer needs its subject and is deleted with it.
        moment = max(moment, deleted_index, deleted.get(f"subject {revision.subject}", 0.0))
        dated[digest] = dataclasses.replace(revision, last_needed=moment)
    return dated


def _last_moved(storage: Storage, repository: str, tags: Iterable[str]) -> dict[str, float]:
    """Manifest → when a tag last moved on from it."""
    moments: dict[str, float] = {}
    for tag in tags:
        history = sorted(storage.history(repository, tag), key=lambda entry: entry[1])
        for (digest, _), (_, moved) in itertools.pairwise(history):
            moments[digest] = max(moments.get(digest, 0.0), moved)
    return moments


def _last_needed_by_deleted(storage: Storage, repository: str) -> dict[str, float]:
    """Manifest → when an index with this member was deleted; and `subject DIGEST` → when DIGEST was
    deleted."""
    moments: dict[str, float] = {}
    for digest, moment in storage.deleted(repository):
        moments[f"subject {digest}"] = moment
        deleted = read_manifest(storage, digest)
        if isinstance(deleted, Manifest):
            for member in deleted.members:
                moments[member.digest] = max(moments.get(member.digest, 0.0), moment)
    return moments


def held_blobs(
    storage: Storage, keep: float | None, now: float, kept: Collection[str]
) -> dict[str, dict[str, int]]:
    """By repository, the blobs (digest → size) that stay although no manifest needs them: layers
    that came within `keep` seconds, and blobs of manifests that were deleted within that time.
    Those in `kept` stay anyway and are left out."""
    held: dict[str, dict[str, int]] = {}
    for repository in storage.with_contents():
        young = {
            link.target
            for link in storage.layers(repository)
            if not link.problem and now - link.pushed < (_LAYERS if keep is None else keep)
        }
        if keep is None or keep > LEAST:
            for digest, moment in storage.deleted(repository):
                if now - moment < (_LAYERS if keep is None else keep):
                    manifest = read_manifest(storage, digest)
                    young.add(digest)
                    if isinstance(manifest, Manifest):
                        young.update(reference.digest for reference in manifest.references)
        sizes = {
            digest: size
            for digest in young
            if digest not in kept and (size := storage.blob_size(digest)) is not None
        }
        if sizes:
            held[repository] = sizes
    return held
