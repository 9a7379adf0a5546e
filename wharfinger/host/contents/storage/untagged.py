"""Which revisions of a repository nothing needs any more. Pure."""

from __future__ import annotations

from .model import Contents, Removal
from .references import needed, recent, signatures, tagged_digests


def plan(contents: Contents, keep: float | None, now: float) -> list[Removal]:
    """The revisions to remove, and the signature tags that belong to them (these first).

    `keep` is how long (seconds) a revision stays once nothing needs it; None means for ever. The
    plan is empty if something in the repository cannot be read, since that might need anything.
    """
    if keep is None or contents.damaged:
        return []
    belonging = signatures(contents)
    roots = tagged_digests(contents.tags, without=belonging) | recent(contents.revisions, keep, now)
    kept = needed(contents, roots)
    tags = [
        Removal(contents.repository, contents.tags[name].digest, name, contents.tags[name].pushed)
        for name, subject in sorted(belonging.items())
        if subject not in kept
    ]
    revisions = [
        Removal(contents.repository, digest, None, revision.pushed)
        for digest, revision in sorted(contents.revisions.items())
        if digest not in kept
    ]
    return tags + revisions
