"""`wharf du`: how much space repositories take, as far as tags lead to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import references
from ..api import Fetched, Registry
from ..concurrency import each
from ..errors import Damaged, Denied, NotFound, UsageError
from ..options import Connection
from ..output import Column, Output, progress, say
from ..scopes import pull_scope
from ..text import size
from .listing import refuse_denied

TOTAL = "(total)"


@dataclass
class Content:
    """What a repository's tags lead to. Sizes in bytes.

    blobs: digest → size, manifests included. not_mirrored: digests that an index names and the
    repository does not have. unreadable: tags and digests.
    """

    tags: int = 0
    logical: int = 0
    blobs: dict[str, int] = field(default_factory=dict)
    not_mirrored: set[str] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)


def show_usage(arguments: Sequence[str], connection: Connection, output: Output) -> None:
    """Prints one row for each repository and the total."""
    registry, wanted = _wanted(arguments)
    denied: list[str] = []

    async def work(api: Registry) -> dict[str, Content]:
        repositories = wanted
        if repositories is None:
            with progress(f"repositories of {registry}"):
                repositories = await api.repositories()
        api.transport.announce([pull_scope(name) for name in repositories])
        by_name: dict[str, Content] = {}

        async def add_usage(name: str) -> None:
            try:
                by_name[name] = await content(api, name)
            except NotFound:
                if wanted is not None:
                    raise
            except Denied:
                denied.append(name)

        with progress("repositories", len(repositories)) as done:
            await each(repositories, add_usage, done)
        return {name: by_name[name] for name in repositories if name in by_name}

    by_name = connection.run(registry, work)
    rows, total = sums(registry, by_name)
    columns = [
        Column("repository", "REPOSITORY"),
        Column("tags", "TAGS", right=True),
        Column("logical", "LOGICAL", size, right=True),
        Column("size", "SIZE", size, right=True),
        Column("shared", "SHARED", size, right=True),
    ]
    # A template is for repositories: the total has no reference.
    shown = rows if output.format is not None else [*rows, total]
    output.rows(columns, shown, {"repositories": rows, "total": total})
    refuse_denied(denied)
    for name, usage in by_name.items():
        if usage.not_mirrored:
            say(
                f"{registry}/{name}: not mirrored, so not counted: {len(usage.not_mirrored)} of "
                "the manifests that its indexes name"
            )
        if usage.unreadable:
            say(
                f"{registry}/{name}: unreadable, so not counted: "
                f"{', '.join(sorted(usage.unreadable))}"
            )
    if any(usage.unreadable for usage in by_name.values()):
        raise Damaged(f"something at {registry} is damaged: its operator can check it")


def _wanted(arguments: Sequence[str]) -> tuple[str, list[str] | None]:
    """The registry and its repositories; None: all of them."""
    whole = [text for text in arguments if "/" not in text.rstrip("/") and references.is_host(text)]
    if not arguments or whole:
        if len(arguments) > 1:
            raise UsageError(
                f"{whole[0]} is a whole registry: name it alone, or repositories in it"
            )
        return references.registry(whole[0] if whole else None), None
    wanted = [references.repository_only(text) for text in arguments]
    registries = {repository.registry for repository in wanted}
    if len(registries) > 1:
        raise UsageError(
            f"one registry at a time: {', '.join(sorted(registries))} share no blobs anyway"
        )
    return registries.pop(), list(dict.fromkeys(repository.repository for repository in wanted))


async def content(api: Registry, repository: str) -> Content:
    """Everything that a repository's tags lead to."""
    usage = Content()

    async def of_tag(tag: str) -> Fetched | None:
        try:
            return await api.manifest(repository, tag)
        except NotFound:
            return None  # gone since it was listed
        except Damaged:
            usage.unreadable.add(tag)
            return None

    tagged = [
        manifest
        for manifest in await each(await api.tags(repository), of_tag)
        if manifest is not None
    ]
    usage.tags = len(tagged)
    known = {manifest.digest: manifest for manifest in tagged}
    waiting: Iterable[Fetched] = list(known.values())
    while True:
        children = {
            child.digest
            for fetched in waiting
            for child in fetched.manifest.children
            if child.digest not in known
            and child.digest not in usage.not_mirrored | usage.unreadable
        }
        if not children:
            break

        async def of_child(digest: str) -> Fetched | None:
            try:
                return await api.manifest(repository, digest)
            except NotFound:
                usage.not_mirrored.add(digest)
            except Damaged:
                usage.unreadable.add(digest)
            return None

        waiting = [
            manifest for manifest in await each(sorted(children), of_child) if manifest is not None
        ]
        known.update((manifest.digest, manifest) for manifest in waiting)
    own = {digest: _blobs(manifest) for digest, manifest in known.items()}
    for blobs in own.values():
        usage.blobs.update(blobs)
    for manifest in tagged:
        usage.logical += sum(_closure(manifest.digest, known, own).values())
    return usage


def _blobs(fetched: Fetched) -> dict[str, int]:
    """A manifest's own blobs and itself."""
    blobs = {
        part.digest: part.size or 0 for part in fetched.manifest.contents if not part.elsewhere
    }
    return {fetched.digest: len(fetched.data), **blobs}


def _closure(
    digest: str, known: dict[str, Fetched], own: dict[str, dict[str, int]]
) -> dict[str, int]:
    """The blobs of a manifest and of all manifests in it."""
    sizes: dict[str, int] = {}
    seen: set[str] = set()
    waiting = [digest]
    while waiting:
        current = waiting.pop()
        if current in seen or current not in known:
            continue
        seen.add(current)
        sizes.update(own[current])
        waiting += [child.digest for child in known[current].manifest.children]
    return sizes


def sums(registry: str, by_name: dict[str, Content]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A row for each repository, and the total, in which each blob counts once."""
    holders = Counter(digest for usage in by_name.values() for digest in usage.blobs)
    everything = {digest: n for usage in by_name.values() for digest, n in usage.blobs.items()}
    rows = [
        {
            "repository": name,
            "reference": f"{registry}/{name}",
            "tags": usage.tags,
            "logical": usage.logical,
            "size": sum(usage.blobs.values()),
            "shared": sum(n for digest, n in usage.blobs.items() if holders[digest] > 1),
        }
        for name, usage in by_name.items()
    ]
    total = {
        "repository": TOTAL,
        "tags": sum(usage.tags for usage in by_name.values()),
        "logical": sum(usage.logical for usage in by_name.values()),
        "size": sum(everything.values()),
        "shared": sum(n for digest, n in everything.items() if holders[digest] > 1),
    }
    return rows, total
