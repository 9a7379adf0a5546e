"""Since when nothing needs what is in a repository, so that it goes no sooner than
`registry_untagged_keep` after that.

The storage says it where it can. A tag's history (`index`) says when the tag moved on to the next
manifest. The folder of the tags changes when a tag is made or removed. The folder of a manifest
changes when the manifest is deleted, and keeps its name. Each of these is no earlier than the
moment in question. Since the folder of the tags changes with every new tag too, the quarter-hour
timer notes which manifests it has seen without a tag, and when first (`note`); the earlier of the
two counts. Without a note, or where its file is damaged, things stay longer, never shorter.
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
from .reading import manifest

DAY = 86400.0
#: With this least setting (seconds) age counts from the push: so a full disk is freed at once.
LEAST = 3600.0
# For layers that no manifest names yet, where manifests stay for ever.
_LAYERS = 14 * DAY
# As many manifests are noted; those beyond it stay as long as the storage alone says.
_MOST = 200_000


@dataclass
class Noted:
    """What the timer knows of a repository. `changed`: the times of its folders of tags and
    manifests; `seen`: manifest without a tag → when it was first seen so, and when it was pushed.
    """

    changed: tuple[float, float]
    seen: dict[str, tuple[float, float]] = field(default_factory=dict)


Notes = dict[str, Noted]


def note(storage: Storage, notes: Mapping[str, Noted], now: float) -> Notes:
    """The notes after a look. Only repositories that have changed since the last one are read."""
    found: Notes = {}
    total = 0
    for repository in storage.repositories():
        changed = storage.changed(repository)
        before = notes.get(repository)
        if before is None or before.changed != changed:
            seen = {} if before is None else before.seen
            named = {link.target for link in storage.tags(repository)}
            before = Noted(changed)
            for link in storage.revisions(repository):
                if link.name not in named:
                    first = seen.get(link.name)
                    if first is None or first[1] != link.pushed:
                        first = (now, link.pushed)
                    before.seen[link.name] = first
        total += len(before.seen)
        if total > _MOST:
            before = Noted(changed)
        found[repository] = before
    return found


def encode(notes: Mapping[str, Noted]) -> bytes:
    """The notes as they lie on disk."""
    plain = {
        name: {
            "changed": list(one.changed),
            "seen": {key: list(at) for key, at in one.seen.items()},
        }
        for name, one in notes.items()
    }
    return json.dumps(plain, sort_keys=True).encode()


def decode(data: bytes | None) -> Notes:
    """What `encode` wrote; nothing where it is not there or damaged."""
    try:
        raw: dict[str, Any] = json.loads(data or b"{}")
        found = {
            str(name): Noted(
                _times(one["changed"]), {str(key): _times(at) for key, at in one["seen"].items()}
            )
            for name, one in raw.items()
        }
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return {}
    return found


def _times(value: Any) -> tuple[float, float]:
    first, second = (float(one) for one in value)
    if not (math.isfinite(first) and math.isfinite(second)):
        raise ValueError(value)
    return first, second


def since(
    storage: Storage,
    repository: str,
    tags: Mapping[str, Tag],
    revisions: Mapping[str, Revision],
    noted: Noted | None,
) -> dict[str, Revision]:
    """The revisions, those without a tag with the latest moment in which one may have needed
    them (`since`)."""
    named = {tag.digest for tag in tags.values()}
    left = _left(storage, repository, tags)
    changed = storage.moment(storage.changed(repository)[0])
    deleted = _needed_by_deleted(storage, repository)
    found = dict(revisions)
    for digest, one in revisions.items():
        if digest in named:
            continue
        moment = max(one.pushed, changed, left.get(digest, 0.0))
        seen = noted.seen.get(digest) if noted is not None else None
        if seen is not None and seen[1] == one.pushed:
            moment = min(moment, max(seen[0], one.pushed))
        members = deleted.get(digest, 0.0)
        # A referrer needs its subject, and goes with it.
        moment = max(moment, members, deleted.get(f"subject {one.subject}", 0.0))
        found[digest] = dataclasses.replace(one, since=moment)
    return found


def _left(storage: Storage, repository: str, tags: Iterable[str]) -> dict[str, float]:
    """Manifest → when a tag moved on from it, the last time."""
    found: dict[str, float] = {}
    for tag in tags:
        history = sorted(storage.history(repository, tag), key=lambda one: one[1])
        for (digest, _), (_, following) in itertools.pairwise(history):
            found[digest] = max(found.get(digest, 0.0), following)
    return found


def _needed_by_deleted(storage: Storage, repository: str) -> dict[str, float]:
    """Manifest → when one was deleted that had it as a member; and `subject DIGEST` → when that was
    deleted."""
    found: dict[str, float] = {}
    for digest, moment in storage.deleted(repository):
        found[f"subject {digest}"] = moment
        read = manifest(storage, digest)
        if isinstance(read, Manifest):
            for one in read.members:
                found[one.digest] = max(found.get(one.digest, 0.0), moment)
    return found


def held(
    storage: Storage, keep: float | None, now: float, kept: Collection[str]
) -> dict[str, dict[str, int]]:
    """By repository, the blobs (digest → size) that no manifest needs any more, or yet, and that
    stay all the same: layers that came within `keep`, and what manifests needed that were deleted
    within it. Those of `kept` stay by themselves."""
    found: dict[str, dict[str, int]] = {}
    for repository in storage.filled():
        young = {
            link.target
            for link in storage.layers(repository)
            if not link.problem and now - link.pushed < (_LAYERS if keep is None else keep)
        }
        if keep is None or keep > LEAST:
            for digest, moment in storage.deleted(repository):
                if now - moment < (_LAYERS if keep is None else keep):
                    read = manifest(storage, digest)
                    young.add(digest)
                    if isinstance(read, Manifest):
                        young.update(one.digest for one in read.references)
        sizes = {
            one: size
            for one in young
            if one not in kept and (size := storage.blob_size(one)) is not None
        }
        if sizes:
            found[repository] = sizes
    return found
