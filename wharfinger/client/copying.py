"""Copies manifests, with the manifests and blobs in them, from one repository to another.

`wharf copy` uses it, and the copier of mirrors. It imports neither typer nor pydantic, so that it
runs with a distribution's own httpx.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from wharfinger.oci.manifests import Descriptor

from .api import Fetched, Registry
from .concurrency import each
from .errors import NotFound
from .scopes import pull_scope

# Whether a child of an index is copied: the index, and the child's digest.
Wanted = Callable[[Fetched, str], bool]


def everything(parent: Fetched, child: str) -> bool:
    """Wants every child."""
    return True


@dataclass(frozen=True, slots=True)
class Side:
    """A repository of a registry."""

    api: Registry
    repository: str

    async def manifest(self, reference: str) -> Fetched:
        """As Registry.manifest."""
        return await self.api.manifest(self.repository, reference)


@dataclass(frozen=True, slots=True)
class Tree:
    """A manifest and all manifests in it, each before those that it contains."""

    manifests: tuple[Fetched, ...]

    @property
    def top(self) -> Fetched:
        """The manifest that contains the others."""
        return self.manifests[0]

    @property
    def blobs(self) -> list[Descriptor]:
        """Their blobs, each once, without those that clients fetch from elsewhere."""
        blobs = {
            blob.digest: blob
            for fetched in self.manifests
            for blob in fetched.manifest.contents
            if not blob.elsewhere
        }
        return list(blobs.values())


async def tree(
    side: Side, top: Fetched, wanted: Wanted = everything, absent: set[str] | None = None
) -> Tree:
    """Reads the manifests in `top`, as far as they are wanted. With `absent`, children that are not
    there are added to it; otherwise they raise NotFound, a ClientError like the others."""
    manifests = {top.digest: top}
    waiting = [top]
    while waiting:
        parent = waiting.pop()
        for child in parent.manifest.children:
            if not wanted(parent, child.digest):
                continue
            try:
                fetched = await side.manifest(child.digest)
            except NotFound:
                if absent is None:
                    raise
                absent.add(child.digest)
                continue
            # Move it to the end: a manifest that several contain must come after all of them.
            manifests.pop(child.digest, None)
            manifests[child.digest] = fetched
            waiting.append(fetched)
    return Tree(tuple(manifests.values()))


async def copy_contents(
    origin: Side, goal: Side, copied: Tree, done: Callable[[], None] = lambda: None
) -> int:
    """Copies the blobs, and then all manifests but the top one, which so comes last: whoever sees
    it there can pull all of it. `done` is called after each blob. Returns how many blobs had to be
    sent; the goal has the others. Raises ClientError."""

    async def blob(blob: Descriptor) -> bool:
        if await goal.api.blobs.has(goal.repository, blob.digest):
            return False

        def content() -> AsyncIterator[bytes]:
            return origin.api.transport.stream(
                f"/v2/{origin.repository}/blobs/{blob.digest}", scope=pull_scope(origin.repository)
            )

        mount = origin.repository if goal.api is origin.api else ""
        return await goal.api.blobs.push(goal.repository, blob.digest, blob.size, content, mount)

    sent: Sequence[bool] = await each(copied.blobs, blob, done)
    for fetched in reversed(copied.manifests[1:]):
        await goal.api.put_manifest(goal.repository, fetched.digest, fetched)
    return sum(sent)
