"""`wharf copy`: the same bytes under another name, within a registry or into another."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from .. import references
from ..api import Registry
from ..copying import Side, Tree, copy_contents, tree
from ..errors import ClientError, Denied, NoAnswer, UsageError
from ..options import Connection
from ..output import notice, progress
from ..references import DEFAULT_TAG
from ..transport import Transport


def copy_reference(source: str, target: str, connection: Connection) -> None:
    """Copies a manifest, the manifests in it, and all their blobs."""
    origin, goal = references.reference(source), references.reference(target)
    if goal.digest:
        raise UsageError(f"'{goal}': the digest follows from the content: write REPO or REPO:TAG")
    if origin.registry != goal.registry and connection.user is not None:
        raise UsageError(
            "--user would be one login for two registries: log in to both with wharf login"
        )
    if not origin.tag and not origin.digest:
        origin = origin.with_tag(DEFAULT_TAG)
    source_settings = connection.settings(origin.registry)
    target_settings = connection.settings(goal.registry)

    async def main() -> str:
        async with (
            Transport(origin.registry, source_settings, notice=notice) as source_transport,
            Transport(goal.registry, target_settings, notice=notice) as target_transport,
        ):
            first = Registry(source_transport)
            second = first if origin.registry == goal.registry else Registry(target_transport)
            return await _copy(first, origin, second, goal)

    print(asyncio.run(main()))


async def _copy(
    origin: Registry, source: references.Reference, goal: Registry, target: references.Reference
) -> str:
    here, there = Side(origin, source.repository), Side(goal, target.repository)
    absent: set[str] = set()
    top = await here.manifest(source.digest or source.tag or "")
    copied = await tree(here, top, absent=absent)
    tag = target.tag or source.tag
    try:
        with progress("blobs", len(copied.blobs)) as done:
            sent = await copy_contents(here, there, copied, done)
        await goal.put_manifest(target.repository, tag or copied.top.digest, copied.top)
    except ClientError as error:
        if not absent or isinstance(error, Denied | NoAnswer):
            raise
        raise type(error)(f"{error}; {_incomplete(copied, absent, source, target)}") from error
    shown = target.with_tag(tag) if tag else target
    return (
        f"{shown} is {copied.top.digest} ({len(copied.manifests)} "
        f"{'manifest' if len(copied.manifests) == 1 else 'manifests'}, {len(copied.blobs)} blobs, "
        f"{sent} of them copied{f'; {_not_mirrored(absent)}' if absent else ''})"
    )


def _not_mirrored(absent: Collection[str]) -> str:
    return f"{len(absent)} manifest{'s are' if len(absent) > 1 else ' is'} not mirrored"


def _incomplete(
    copied: Tree,
    absent: Collection[str],
    source: references.Reference,
    target: references.Reference,
) -> str:
    """Why a registry may have refused an index, and what to write instead."""
    whole = next((part for part in copied.manifests if not part.manifest.members), None)
    instead = ""
    if whole is not None:
        platform = references.Reference(source.registry, source.repository, digest=whole.digest)
        instead = f": copy one platform by its digest: wharf copy {platform} {target}"
    return (
        f"at {source.registry}, {_not_mirrored(absent)}, and {target.registry} may take only whole "
        f"images{instead}"
    )
