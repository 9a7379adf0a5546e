"""What `wharf rm` reads of a repository before it deletes, and its warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from wharfinger.oci.media_types import INDEXES

from .. import references, referrers
from ..api import Head, Registry
from ..concurrency import each
from ..errors import Damaged, NotFound
from ..output import progress, say


@dataclass(frozen=True)
class View:
    """A repository as seen through its tags.

    heads: tag → its manifest. contents: digest of an index → the digests in it, nested ones too.
    lists: tag of a list of referrers → the digests that it names.
    """

    heads: dict[str, Head]
    contents: dict[str, frozenset[str]] = field(default_factory=dict)
    lists: dict[str, frozenset[str]] = field(default_factory=dict)

    def tags_of(self, digest: str) -> list[str]:
        """The tags that lead to a digest."""
        return [tag for tag, head in self.heads.items() if head.digest == digest]

    def needed_by(self, digest: str) -> list[str]:
        """The tagged indexes that contain a digest; not the lists of referrers that name it."""
        lists = set(self.listing(digest))
        return [
            index
            for index, inside in self.contents.items()
            if digest in inside and not lists.issuperset(self.tags_of(index))
        ]

    def listing(self, digest: str) -> list[str]:
        """The tags of the lists of referrers that name a digest."""
        return [tag for tag, named in self.lists.items() if digest in named]

    def belonging(self, digest: str) -> list[str]:
        """Tags of a digest's signatures, attestations and lists, by their names."""
        prefix = digest.replace(":", "-", 1)
        return [tag for tag in self.heads if tag == prefix or tag.startswith(f"{prefix}.")]


@dataclass(frozen=True)
class Target:
    """A tag or a manifest to delete. `digest` is the manifest that was shown."""

    reference: references.Reference
    digest: str

    @property
    def tag(self) -> str | None:
        return self.reference.tag


async def view(api: Registry, repository: str) -> View:
    """The digest of every tag, and the contents of the indexes among them."""
    tags = await api.tags(repository)
    with progress(f"digests of {repository}", len(tags)) as done:
        heads_or_none = await each(tags, lambda tag: api.head_or_none(repository, tag), done)
    heads = {tag: head for tag, head in zip(tags, heads_or_none, strict=True) if head is not None}
    indexes = {head.digest for head in heads.values() if head.media_type in INDEXES}
    contents = await each(sorted(indexes), lambda digest: _inside(api, repository, digest))
    lists = {
        tag: await _named_by(api, repository, head.digest)
        for tag, head in heads.items()
        if referrers.is_list(tag, head.digest, head.media_type)
    }
    return View(heads, dict(zip(sorted(indexes), contents, strict=True)), lists)


async def _named_by(api: Registry, repository: str, digest: str) -> frozenset[str]:
    """The digests that an index names. It is in the cache."""
    try:
        fetched = await api.manifest(repository, digest)
    except (NotFound, Damaged):
        return frozenset()
    return frozenset(child.digest for child in fetched.manifest.children)


async def _inside(api: Registry, repository: str, digest: str) -> frozenset[str]:
    inside: set[str] = set()
    waiting = [digest]
    while waiting:
        try:
            fetched = await api.manifest(repository, waiting.pop())
        except (NotFound, Damaged) as error:
            say(f"{error}; what it contains is not known")
            continue
        nested = {
            str(entry.get("digest"))
            for entry in fetched.document.get("manifests") or []
            if isinstance(entry, dict) and entry.get("mediaType") in INDEXES
        }
        children = {entry.digest for entry in fetched.manifest.children}
        waiting += (nested & children) - inside
        inside |= children
    return frozenset(inside)


def warnings(target: Target, seen: View, targets: Sequence[Target] = ()) -> list[str]:
    """What the user should know before this is deleted: a heading and indented lines."""
    digest = target.digest
    repository = target.reference.repository
    leading = [tag for tag in seen.tags_of(digest) if tag != target.tag]
    if target.tag is not None:
        lines = [f"{target.reference} (now {digest})"]
        if leading:
            lines.append(f"  the manifest stays, with {tags_in_words(leading)}")
        else:
            lines.append("  no other tag has this manifest: it stays without one, until cleaned up")
        return [*lines, *_lost_lists([target.tag], seen)]
    lines = [str(target.reference)]
    if leading:
        lines.append(f"  {tags_in_words(leading)} will be gone too")
    going = {
        other.digest
        for other in targets
        if other.tag is None and other.reference.repository == repository
    }
    for index in seen.needed_by(digest):
        if index not in going:
            lines.append(
                f"  WARNING: the index {_named(repository, seen.tags_of(index))} ({index}) still "
                "needs it: pulling that will fail for this platform"
            )
    lines += [
        f"  will be taken out of the list of referrers {repository}:{tag}"
        for tag in seen.listing(digest)
    ]
    lines += _lost_lists(seen.tags_of(digest), seen)
    belonging = seen.belonging(digest)
    if belonging:
        lines.append(f"  what belongs to it stays and becomes useless: {tags_in_words(belonging)}")
    return lines


def _lost_lists(tags: Sequence[str], seen: View) -> list[str]:
    """Warnings about lists of referrers among these tags."""
    return [
        f"  WARNING: this is the list of {len(seen.lists[tag])} signatures and other referrers of "
        f"{tag.replace('-', ':', 1)}: they stay, but oras, cosign and regctl no longer find them"
        for tag in tags
        if seen.lists.get(tag)
    ]


def _named(repository: str, tags: Sequence[str]) -> str:
    return " = ".join(f"{repository}:{tag}" for tag in tags)


def tags_in_words(tags: Sequence[str]) -> str:
    """`tags a, b and 3 more`."""
    shown = ", ".join(tags[:8]) + (f" and {len(tags) - 8} more" if len(tags) > 8 else "")
    return f"{'tag' if len(tags) == 1 else 'tags'} {shown}"
