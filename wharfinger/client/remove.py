"""`wharf rm`: deletes manifests and tags, after showing what goes with them.

A tag can be moved at any time by anybody who may push. What is deleted is therefore compared once
more, right before, with what was shown; the API has no conditional DELETE, so that one request's
time remains.

A manifest that stands in a list of referrers (referrers.py) is taken out of it first, which needs
the right to push; without that right nothing is deleted.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from wharfinger.oci.media_types import INDEXES

from . import names, referrers
from .api import Head, Registry, each
from .asked import Asked
from .errors import ClientError, Damaged, NotFound, Unsupported, UsageError
from .listing import head_or_none
from .output import progress, say


@dataclass(frozen=True)
class View:
    """A repository as its tags show it: tag → where it leads, index digest → all it contains, tag
    of a list of referrers → what it names."""

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
        """Tags of signatures and the like of a digest."""
        prefix = digest.replace(":", "-", 1)
        return [tag for tag in self.heads if tag == prefix or tag.startswith(f"{prefix}.")]


@dataclass(frozen=True)
class Target:
    """One thing to delete: a tag alone, or a manifest. `digest` is what was seen."""

    reference: names.Reference
    digest: str

    @property
    def tag(self) -> str | None:
        return self.reference.tag


def remove(arguments: Sequence[str], yes: bool, asked: Asked) -> None:
    """Deletes what the arguments name. Raises the first error after trying all."""
    wanted = list(dict.fromkeys(names.reference(one) for one in arguments))
    for one in wanted:
        if bool(one.tag) == bool(one.digest):
            which = "either its tag or its digest, not both" if one.tag else "a tag or digest"
            raise UsageError(
                f"'{one}': say {which}: REPO:TAG or REPO@DIGEST (wharf tags "
                f"{one.registry}/{one.repository} --digests lists them)"
            )
    by_registry: dict[str, list[names.Reference]] = {}
    for one in wanted:
        by_registry.setdefault(one.registry, []).append(one)
    if len(by_registry) > 1 and asked.user is not None:
        raise UsageError(
            "--user would be one login for several registries: log in to each with wharf login"
        )
    errors: list[ClientError] = []
    for registry, several in by_registry.items():
        asked.run(registry, functools.partial(_remove, several, yes, errors))
    for error in errors[:-1]:
        say(str(error))
    if errors:
        raise errors[-1]


async def _remove(
    wanted: Sequence[names.Reference], yes: bool, errors: list[ClientError], api: Registry
) -> None:
    views: dict[str, View] = {}
    targets: list[Target] = []
    for one in wanted:
        try:
            if one.repository not in views:
                views[one.repository] = await view(api, one.repository)
            targets.append(await _target(api, one, views[one.repository]))
        except ClientError as error:
            errors.append(error)
    for target in targets:
        for line in warnings(target, views[target.reference.repository], targets):
            print(line, file=sys.stderr)
    if not targets:
        return
    if not yes:
        if not sys.stdin.isatty():
            errors.append(
                UsageError("nobody can be asked here whether to delete, so nothing was: say --yes")
            )
            return
        print(f"Delete {len(targets)} from {api.name}? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            errors.append(ClientError("nothing was deleted"))
            return
    for target in targets:
        try:
            await _delete(api, target, views[target.reference.repository], waited=not yes)
            print(f"deleted {target.reference}")
        except ClientError as error:
            errors.append(error)


async def view(api: Registry, repository: str) -> View:
    """Every tag's digest, and what the indexes among them contain, nested ones too."""
    tags = await api.tags(repository)
    with progress(f"digests of {repository}", len(tags)) as done:
        found = await each(tags, lambda tag: head_or_none(api, repository, tag), done)
    heads = {tag: head for tag, head in zip(tags, found, strict=True) if head is not None}
    indexes = {head.digest for head in heads.values() if head.media_type in INDEXES}
    contents = await each(sorted(indexes), lambda digest: _inside(api, repository, digest))
    lists = {
        tag: await _named_by(api, repository, head.digest)
        for tag, head in heads.items()
        if referrers.is_list(tag, head.digest, head.media_type)
    }
    return View(heads, dict(zip(sorted(indexes), contents, strict=True)), lists)


async def _named_by(api: Registry, repository: str, digest: str) -> frozenset[str]:
    """What an index names, which was read before."""
    try:
        fetched = await api.manifest(repository, digest)
    except (NotFound, Damaged):
        return frozenset()
    return frozenset(one.digest for one in fetched.manifest.children)


async def _inside(api: Registry, repository: str, digest: str) -> frozenset[str]:
    found: set[str] = set()
    waiting = [digest]
    while waiting:
        try:
            fetched = await api.manifest(repository, waiting.pop())
        except (NotFound, Damaged) as error:
            say(f"{error}; what it contains is not known")
            continue
        nested = {
            str(one.get("digest"))
            for one in fetched.document.get("manifests") or []
            if isinstance(one, dict) and one.get("mediaType") in INDEXES
        }
        children = {one.digest for one in fetched.manifest.children}
        waiting += (nested & children) - found
        found |= children
    return frozenset(found)


async def _target(api: Registry, wanted: names.Reference, seen: View) -> Target:
    if wanted.tag is None:
        # Untagged ones are in no list: is it there at all?
        assert wanted.digest
        await api.head(wanted.repository, wanted.digest)
        return Target(wanted, wanted.digest)
    if wanted.tag not in seen.heads:
        raise NotFound(f"{wanted.registry}/{wanted.repository} has no tag {wanted.tag}")
    return Target(wanted, seen.heads[wanted.tag].digest)


def warnings(target: Target, seen: View, targets: Sequence[Target] = ()) -> list[str]:
    """What somebody should know before this is deleted, a heading and indented lines."""
    digest = target.digest
    repository = target.reference.repository
    leading = [tag for tag in seen.tags_of(digest) if tag != target.tag]
    if target.tag is not None:
        lines = [f"{target.reference} (now {digest})"]
        if leading:
            lines.append(f"  the manifest stays, with {_tags(leading)}")
        else:
            lines.append("  no other tag has this manifest: it stays without one, until cleaned up")
        return [*lines, *_lost_lists([target.tag], seen)]
    lines = [str(target.reference)]
    if leading:
        lines.append(f"  {_tags(leading)} will be gone too")
    going = {
        one.digest for one in targets if one.tag is None and one.reference.repository == repository
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
        lines.append(f"  what belongs to it stays, and is then useless: {_tags(belonging)}")
    return lines


def _lost_lists(tags: Sequence[str], seen: View) -> list[str]:
    """What is lost with tags of lists of referrers."""
    return [
        f"  WARNING: this is the list of {len(seen.lists[tag])} signatures and other referrers of "
        f"{tag.replace('-', ':', 1)}: they stay, but oras, cosign and regctl find them no more"
        for tag in tags
        if seen.lists.get(tag)
    ]


def _named(repository: str, tags: Sequence[str]) -> str:
    return " = ".join(f"{repository}:{tag}" for tag in tags)


def _tags(tags: Sequence[str]) -> str:
    shown = ", ".join(tags[:8]) + (f" and {len(tags) - 8} more" if len(tags) > 8 else "")
    return f"{'tag' if len(tags) == 1 else 'tags'} {shown}"


async def _delete(api: Registry, target: Target, seen: View, *, waited: bool) -> None:
    repository = target.reference.repository
    if target.tag is None:
        if waited:
            now = await view(api, repository)
            same = set(now.tags_of(target.digest)) <= set(seen.tags_of(target.digest)) and set(
                now.needed_by(target.digest)
            ) <= set(seen.needed_by(target.digest))
            if not same:
                raise ClientError(
                    f"{target.reference} was not deleted: since it was shown, another tag or index "
                    "has come to need it; look again"
                )
            seen = now
        await _delete_manifest(api, target, seen.listing(target.digest))
        return
    now_at = (await api.head(repository, target.tag)).digest
    if now_at != target.digest:
        raise ClientError(
            f"{target.reference} was not removed: it has moved since it was shown, from "
            f"{target.digest} to {now_at}; look again"
        )
    try:
        await api.delete(repository, target.tag)
    except Unsupported as error:
        others = [tag for tag in seen.tags_of(target.digest) if tag != target.tag]
        along = f", and {_tags(others)} with it" if others else ""
        raise Unsupported(
            f"{error}: {target.reference} was not removed. By its digest the whole manifest can be "
            f"deleted{along}: wharf rm {target.reference.with_digest(target.digest)}"
        ) from error


async def _delete_manifest(api: Registry, target: Target, lists: Sequence[str]) -> None:
    """Takes a manifest out of these lists of referrers, then deletes it. Without the right to do
    both, does neither."""
    repository, digest = target.reference.repository, target.digest
    if lists and await api.has_referrers(repository, digest):
        lists = []
    if lists:
        await api.may_delete(repository)
    for tag in lists:
        try:
            await referrers.take_out(api, repository, tag, {digest})
        except ClientError as error:
            raise type(error)(
                f"{target.reference} was not deleted: it has to be taken out of the list of "
                f"referrers {repository}:{tag} first, and {error}"
            ) from error
    await api.delete(repository, digest)
    for tag in lists:
        # Who attached something meanwhile may have written the list with it again.
        try:
            await referrers.take_out(api, repository, tag, {digest})
        except ClientError as error:
            raise type(error)(
                f"{target.reference} is deleted, but the list of referrers {repository}:{tag} may "
                f"name it again: {error}. Afterwards: wharf repair {api.name}/{repository}"
            ) from error
