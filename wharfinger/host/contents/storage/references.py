"""Which parts of a repository need which others. Pure.

Tags name revisions; an index needs its children; a referrer (a manifest with a subject) needs its
subject. Conversely, a revision's referrers and the revisions that its signature tags name belong to
it: they stay as long as it stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from ....oci.digests import is_list_tag, subject_of
from .model import Contents, Revision, Tag


def signatures(contents: Contents) -> dict[str, str]:
    """Signature tag → the revision of this repository to which it belongs.

    A tag that names the very digest in its own name belongs to nothing: tools like imgpkg make such
    tags to keep an image. A tag without an ending belongs to a revision only if it names an OCI
    index, since lists of referrers are OCI indexes.
    """
    belonging = {}
    for name, tag in contents.tags.items():
        subject = subject_of(name)
        if subject is None or subject == tag.digest or subject not in contents.revisions:
            continue
        revision = contents.revisions.get(tag.digest)
        if not is_list_tag(name, tag.digest) or (revision is not None and revision.oci_index):
            belonging[name] = subject
    return belonging


def recent(revisions: Mapping[str, Revision], keep: float | None, now: float) -> set[str]:
    """The revisions that were needed or pushed less than `keep` seconds ago; all if `keep` is
    None."""
    if keep is None:
        return set(revisions)
    return {
        digest
        for digest, revision in revisions.items()
        if now - (revision.pushed if revision.last_needed is None else revision.last_needed) < keep
    }


def tagged_digests(tags: Mapping[str, Tag], without: Iterable[str]) -> set[str]:
    """The digests of all tags except `without`."""
    left_out = set(without)
    return {tag.digest for name, tag in tags.items() if name not in left_out}


def needed(contents: Contents, roots: Iterable[str]) -> set[str]:
    """The revisions of the repository that stay if those of `roots` stay: also children of indexes,
    subjects of referrers, and what belongs to any of these.
    """
    revisions = contents.revisions
    belonging: defaultdict[str, list[str]] = defaultdict(list)
    for digest, revision in revisions.items():
        if revision.subject is not None:
            belonging[revision.subject].append(digest)
    for name, subject in signatures(contents).items():
        belonging[subject].append(contents.tags[name].digest)
    kept: set[str] = set()
    waiting = list(roots)
    while waiting:
        digest = waiting.pop()
        if digest in kept or digest not in revisions:
            continue
        kept.add(digest)
        revision = revisions[digest]
        waiting.extend(revision.children)
        waiting.extend(belonging.get(digest, ()))
        if revision.subject is not None:
            waiting.append(revision.subject)
    return kept
