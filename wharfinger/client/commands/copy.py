"""`wharf copy`: the same bytes under another name, within a registry or into another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from wharfinger.oci.manifests import Descriptor

from .. import references
from ..api import Fetched, Registry
from ..concurrency import each
from ..errors import UsageError
from ..options import Connection
from ..output import notice, progress
from ..references import DEFAULT_TAG
from ..scopes import pull_scope
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
    top = await origin.manifest(source.repository, source.digest or source.tag or "")
    everything = await _all(origin, source.repository, top)
    blobs = {
        blob.digest: blob
        for fetched in everything
        for blob in fetched.manifest.contents
        if not blob.elsewhere
    }
    copier = _Copier(origin, source.repository, goal, target.repository)
    with progress("blobs", len(blobs)) as done:
        travelled = sum(await each(list(blobs.values()), copier.blob, done))
    # The manifests in an index must be pushed before the index.
    for fetched in reversed(everything):
        last = fetched is everything[0]
        tag = target.tag or source.tag
        await goal.put_manifest(target.repository, tag if last and tag else fetched.digest, fetched)
    shown = target.with_tag(target.tag or source.tag or "") if target.tag or source.tag else target
    return (
        f"{shown} is {top.digest} ({len(everything)} "
        f"{'manifest' if len(everything) == 1 else 'manifests'}, {len(blobs)} blobs, "
        f"{travelled} of them copied)"
    )


async def _all(api: Registry, repository: str, top: Fetched) -> list[Fetched]:
    """The manifest and all manifests in it, each before those that it contains."""
    manifests = {top.digest: top}
    waiting = [top]
    while waiting:
        parent = waiting.pop()
        for child in parent.manifest.children:
            fetched = await api.manifest(repository, child.digest)
            # Move it to the end: a manifest that several contain must come after all of them.
            manifests.pop(child.digest, None)
            manifests[child.digest] = fetched
            waiting.append(fetched)
    return list(manifests.values())


class _Copier:
    """Copies blobs from one repository to another."""

    def __init__(self, origin: Registry, source: str, goal: Registry, target: str) -> None:
        self.origin, self.source = origin, source
        self.goal, self.target = goal, target

    async def blob(self, blob: Descriptor) -> bool:
        """Copies a blob. Returns whether its bytes had to be sent."""
        if await self.goal.blobs.has(self.target, blob.digest):
            return False

        def content() -> AsyncIterator[bytes]:
            return self.origin.transport.stream(
                f"/v2/{self.source}/blobs/{blob.digest}", scope=pull_scope(self.source)
            )

        mount = self.source if self.goal is self.origin else ""
        return await self.goal.blobs.push(self.target, blob.digest, blob.size, content, mount)
