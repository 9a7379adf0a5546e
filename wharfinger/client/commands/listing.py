"""`wharf repositories` and `wharf tags`."""

from __future__ import annotations

from typing import Any

from .. import kinds, references
from ..api import Registry
from ..concurrency import each
from ..errors import Denied, NotFound
from ..options import Connection
from ..output import Column, Output, progress
from ..scopes import pull_scope
from ..text import size

REPOSITORY = Column("repository", "REPOSITORY")
TAG = Column("tag", "TAG")


def show_repositories(
    argument: str | None, tags: bool, connection: Connection, output: Output
) -> None:
    """Prints the catalog, or with `tags` a row for each tag. Then raises Denied if a repository
    may not be read."""
    registry = references.registry(argument)
    denied: list[str] = []

    async def work(api: Registry) -> list[dict[str, Any]]:
        with progress(f"repositories of {registry}"):
            repositories = await api.repositories()
        if not tags:
            return [
                {"repository": name, "reference": f"{registry}/{name}"} for name in repositories
            ]
        api.transport.announce([pull_scope(name) for name in repositories])

        async def tags_of(name: str) -> list[str | None]:
            try:
                return [*await api.tags(name)] or [None]
            except NotFound:
                return [None]  # catalogs keep the names of empty repositories
            except Denied:
                denied.append(name)
                return []

        with progress("tags", len(repositories)) as done:
            lists = await each(repositories, tags_of, done)
        return [
            {
                "repository": name,
                "tag": tag,
                "reference": f"{registry}/{name}" + (f":{tag}" if tag else ""),
            }
            for name, several in zip(repositories, lists, strict=True)
            for tag in several
        ]

    rows = connection.run(registry, work)
    output.rows([REPOSITORY, TAG] if tags else [REPOSITORY], rows)
    refuse_denied(denied)


def show_tags(argument: str, digests: bool, connection: Connection, output: Output) -> None:
    """Prints a repository's tags; with `digests`, also what each leads to."""
    wanted = references.repository_only(argument)

    async def work(api: Registry) -> list[dict[str, Any]]:
        names = await api.tags(wanted.repository)
        rows: list[dict[str, Any]] = [
            {"tag": tag, "reference": str(wanted.with_tag(tag))} for tag in names
        ]
        if digests:
            with progress("digests", len(names)) as done:
                heads = await each(
                    names, lambda tag: api.head_or_none(wanted.repository, tag), done
                )
            rows = [
                {
                    **row,
                    "digest": head.digest,
                    "media_type": head.media_type,
                    "manifest_size": head.size,
                }
                for row, head in zip(rows, heads, strict=True)
                if head is not None
            ]
        return rows

    columns = [TAG]
    if digests:
        columns += [
            Column("digest", "DIGEST"),
            Column("media_type", "KIND", kinds.of_media_type),
            Column("manifest_size", "MANIFEST", size, right=True),
        ]
    output.rows(columns, connection.run(wanted.registry, work))


def refuse_denied(denied: list[str]) -> None:
    """Raises Denied if repositories were left out."""
    if denied:
        shown = ", ".join(sorted(denied)[:8]) + (", …" if len(denied) > 8 else "")
        raise Denied(
            f"{len(denied)} {'repository' if len(denied) == 1 else 'repositories'} left out, which "
            f"you may not read: {shown}"
        )
