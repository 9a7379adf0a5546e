"""`wharf repositories` and `wharf tags`."""

from __future__ import annotations

from typing import Any

from wharfinger.oci import media_types

from . import names
from .api import Head, Registry, each, pull_scope
from .asked import Asked
from .errors import Denied, NotFound
from .output import Column, Output, progress
from .text import size

REPOSITORY = Column("repository", "REPOSITORY")
TAG = Column("tag", "TAG")


def show_repositories(argument: str | None, tags: bool, asked: Asked, output: Output) -> None:
    """The catalog, or with `tags` a row for each tag. Raises Denied, after everything that may be
    seen is printed, where a repository may not be read."""
    registry = names.registry(argument)
    denied: list[str] = []

    async def work(api: Registry) -> list[dict[str, Any]]:
        with progress(f"repositories of {registry}"):
            found = await api.repositories()
        if not tags:
            return [{"repository": name, "reference": f"{registry}/{name}"} for name in found]
        api.transport.announce([pull_scope(name) for name in found])

        async def of_one(name: str) -> list[str | None]:
            try:
                return [*await api.tags(name)] or [None]
            except NotFound:
                return [None]  # catalogs keep names of which nothing is left
            except Denied:
                denied.append(name)
                return []

        with progress("tags", len(found)) as done:
            lists = await each(found, of_one, done)
        return [
            {
                "repository": name,
                "tag": tag,
                "reference": f"{registry}/{name}" + (f":{tag}" if tag else ""),
            }
            for name, several in zip(found, lists, strict=True)
            for tag in several
        ]

    rows = asked.run(registry, work)
    output.rows([REPOSITORY, TAG] if tags else [REPOSITORY], rows)
    refuse_denied(denied)


def show_tags(argument: str, digests: bool, asked: Asked, output: Output) -> None:
    """A repository's tags; with `digests`, what each leads to."""
    wanted = names.repository_only(argument)

    async def work(api: Registry) -> list[dict[str, Any]]:
        found = await api.tags(wanted.repository)
        rows: list[dict[str, Any]] = [
            {"tag": tag, "reference": str(wanted.with_tag(tag))} for tag in found
        ]
        if digests:
            with progress("digests", len(found)) as done:
                heads = await each(
                    found, lambda tag: head_or_none(api, wanted.repository, tag), done
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
            Column("media_type", "KIND", lambda kind: kind_in_words(kind)),
            Column("manifest_size", "MANIFEST", size, right=True),
        ]
    output.rows(columns, asked.run(wanted.registry, work))


async def head_or_none(api: Registry, repository: str, tag: str) -> Head | None:
    """What a tag leads to; None where it went away since it was listed."""
    try:
        return await api.head(repository, tag)
    except NotFound:
        return None


def kind_in_words(media_type: str | None) -> str:
    """A manifest's media type in short."""
    kinds = {
        media_types.OCI_IMAGE: "OCI image",
        media_types.OCI_INDEX: "OCI index",
        media_types.OCI_ARTIFACT: "OCI artifact",
        media_types.DOCKER_IMAGE: "Docker image",
        media_types.DOCKER_LIST: "Docker manifest list",
        media_types.SCHEMA_1: "Docker schema 1",
        media_types.SCHEMA_1_SIGNED: "Docker schema 1, signed",
    }
    return kinds.get(media_type or "", media_type or "")


def refuse_denied(denied: list[str]) -> None:
    """Raises Denied where repositories were left out."""
    if denied:
        shown = ", ".join(sorted(denied)[:8]) + (", …" if len(denied) > 8 else "")
        raise Denied(
            f"{len(denied)} {'repository' if len(denied) == 1 else 'repositories'} left out, which "
            f"you may not read: {shown}"
        )
