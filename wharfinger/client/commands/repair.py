"""`wharf repair`: takes missing manifests out of the lists of referrers."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from wharfinger.oci.digests import LIST_TAG

from .. import references
from ..api import Registry
from ..options import Connection
from ..referrers import take_out


def repair(repositories: Collection[str], dry_run: bool, connection: Connection) -> None:
    """Takes missing manifests out of all lists in these repositories, and prints a line for each
    entry."""
    by_registry: dict[str, list[str]] = {}
    for text in dict.fromkeys(repositories):
        wanted = references.repository_only(text)
        by_registry.setdefault(wanted.registry, []).append(wanted.repository)
    for registry, several in by_registry.items():
        connection.run(registry, partial(_repair, several, dry_run))


async def _repair(repositories: Collection[str], dry_run: bool, api: Registry) -> None:
    would = "would be " if dry_run else ""
    for repository in repositories:
        name = f"{api.name}/{repository}"
        lists = [tag for tag in await api.tags(repository) if LIST_TAG.fullmatch(tag)]
        count = 0
        for tag in lists:
            taken = await take_out(api, repository, tag, dry_run=dry_run)
            count += len(taken.digests)
            for digest in taken.digests:
                print(f"{name}:{tag}: {digest} is gone, {would}taken out")
            if taken.emptied:
                print(f"{name}:{tag}: it is empty, {would}removed")
        if not count:
            print(f"{name}: no list of referrers names anything that is gone")
