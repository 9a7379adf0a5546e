"""What the copier does for one mirror: look what upstream has, and copy what the lock says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wharfinger.client.api import Fetched, Registry
from wharfinger.client.concurrency import each
from wharfinger.client.copying import Side, Tree, copy_contents, tree
from wharfinger.client.errors import ClientError, Damaged, Denied, NoAnswer, NotFound, Unsupported
from wharfinger.deployment.tag_selection import Selection, selected
from wharfinger.oci import manifests
from wharfinger.oci.digests import SHA256, digest_of, list_tag, subject_of
from wharfinger.oci.media_types import INDEXES, OCI_INDEX
from wharfinger.oci.names import TAG
from wharfinger.oci.platforms import Platforms

from .upstream import LeftAlone

# How tags end that belong to an image: those of cosign, and the hexadecimal digits of its digest.
_BELONGING = (".sig", ".att", ".sbom", *"0123456789abcdef")
# A line fails only if it fails so often.
_TRIES = 2


@dataclass(frozen=True, slots=True)
class Mirror:
    """One entry of registry_mirrors. lines: tag → digest, as mirror.lock has them for it."""

    to: str
    source: str
    tags: tuple[str, ...]
    platforms: tuple[str, ...]
    lines: Mapping[str, str]

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Mirror:
        """From the request's JSON."""
        return cls(
            to=str(raw["to"]),
            source=str(raw["source"]),
            tags=tuple(map(str, raw["tags"])),
            platforms=tuple(map(str, raw.get("platforms") or ())),
            lines={str(tag): str(digest) for tag, digest in raw.get("lines", {}).items()},
        )


@dataclass(slots=True)
class Found:
    """What upstream has: the selected tags, and those of the lock that it has no longer (gone).
    all: every tag there; None if the upstream does not list them."""

    tags: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    all: list[str] | None = None


@dataclass(slots=True)
class Copied:
    """The lines of a mirror. here: how many need no work. missing: tags that are still to be
    copied. failed: tag → why. blobs: how many had to be sent."""

    here: int = 0
    missing: list[str] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blobs: int = 0


async def look(upstream: Registry, mirror: Mirror) -> Found:
    """Asks upstream for every selected tag, one HEAD each. Raises ClientError."""
    origin = Side(upstream, mirror.source)
    names = [tag for tag in mirror.tags if Selection(tag).is_name]
    found = Found()
    try:
        found.all = await upstream.tags(mirror.source)
    except (Denied, Unsupported):
        # Some registries let nobody list tags; names can be asked for.
        if len(names) < len(mirror.tags):
            raise
    if found.all is not None:
        # Signatures follow the images that they belong to.
        tags = (tag for tag in found.all if TAG.fullmatch(tag) and subject_of(tag) is None)
        names = selected(mirror.tags, tags)
    heads = await each(names, lambda tag: origin.api.head_or_none(origin.repository, tag))
    found.tags = {tag: head.digest for tag, head in zip(names, heads, strict=True) if head}
    for tag, digest in found.tags.items():
        if not SHA256.fullmatch(digest):
            raise Unsupported(f"{tag} has the digest {digest}: mirror.lock takes sha256 alone")
    found.gone = sorted(
        tag
        for tag in mirror.lines
        if tag not in found.tags and any(Selection(text).matches(tag) for text in mirror.tags)
    )
    return found


async def copy(
    upstream: Registry, registry: Registry, mirror: Mirror, copied: Copied, listed: Iterable[str]
) -> None:
    """Copies the lines that `copied` names as missing. `listed`: all tags of upstream. Raises
    LeftAlone if upstream is not asked any more; other errors are in `copied.failed`."""
    work = _Work(Side(upstream, mirror.source), Side(registry, mirror.to), mirror, copied)
    while copied.missing:
        await work.line(copied.missing[0])
        del copied.missing[0]
    await work.signatures(listed)


async def here(registry: Registry, mirror: Mirror) -> Copied:
    """Which lines are here and which are missing; asks only the own registry."""
    goal, platforms = Side(registry, mirror.to), Platforms(mirror.platforms)

    async def is_here(tag: str) -> bool:
        head = await registry.head_or_none(mirror.to, tag)
        if head is None or head.digest != mirror.lines[tag]:
            return False
        return head.media_type not in INDEXES or bool(await _whole(goal, head.digest, platforms))

    tags = list(mirror.lines)
    are_here = await each(tags, is_here)
    missing = [tag for tag, is_there in zip(tags, are_here, strict=True) if not is_there]
    return Copied(here=len(tags) - len(missing), missing=missing)


async def _whole(goal: Side, digest: str, platforms: Platforms) -> Fetched | None:
    """The manifest, if it is here with all children that are kept. A manifest is pushed after its
    blobs, so those are here, too. `platforms` may have grown since an index was copied."""
    if await goal.api.head_or_none(goal.repository, digest) is None:
        return None
    top = await goal.manifest(digest)
    for child in top.manifest.children:
        if (
            platforms.keeps(top.document, child.digest)
            and await goal.api.head_or_none(goal.repository, child.digest) is None
        ):
            return None
    return top


class _Work:
    """Copies the lines of one mirror."""

    def __init__(self, origin: Side, goal: Side, mirror: Mirror, result: Copied) -> None:
        self.origin, self.goal, self.mirror, self.result = origin, goal, mirror, result
        self.platforms = Platforms(mirror.platforms)

    def _keeps(self, parent: Fetched, child: str) -> bool:
        return self.platforms.keeps(parent.document, child)

    async def line(self, tag: str) -> None:
        """Copies one line; a failure is noted, so that the others go on."""
        for attempt in range(1, _TRIES + 1):
            try:
                await self._line(tag, self.mirror.lines[tag])
            except LeftAlone:
                raise
            except ClientError as error:
                if isinstance(error, NoAnswer) and attempt < _TRIES:
                    continue
                self.result.failed[tag] = str(error)
            else:
                self.result.copied.append(tag)
            return

    async def _line(self, tag: str, digest: str) -> None:
        top = await _whole(self.goal, digest, self.platforms)
        # Otherwise it only had another tag.
        if top is None:
            top = await self.origin.manifest(digest)
            lacking = self.platforms.missing_in(top.document)
            if lacking:
                raise NotFound(
                    f"{self.origin.repository}:{tag} has no image for {', '.join(lacking)}"
                )
            copied = _exact(await tree(self.origin, top, self._keeps))
            self.result.blobs += await copy_contents(self.origin, self.goal, copied)
            for fetched in copied.manifests:
                await self._referrers(fetched.digest)
        await self.goal.api.put_manifest(self.goal.repository, tag, top)

    async def _referrers(self, subject: str) -> None:
        """Copies what refers to a manifest by the referrers API: attestations and signatures. Our
        registry has no such API, so the list goes under the specification's tag."""
        if not await self.origin.api.has_referrers(self.origin.repository, subject):
            return  # then the list is a tag, which signatures() copies
        entries = await self.origin.api.referrers(self.origin.repository, subject)
        for entry in entries:
            fetched = await self.origin.manifest(str(entry["digest"]))
            await self._push(_exact(await tree(self.origin, fetched)), fetched.digest)
        if entries:
            await self.goal.api.put_manifest(
                self.goal.repository, list_tag(subject), _index(entries)
            )

    async def signatures(self, listed: Iterable[str]) -> None:
        """Copies the tags that belong to locked manifests by their name (cosign's, and lists of
        referrers), where they are not here or have changed. A failure is noted under the tag's
        name."""
        locked = set(self.mirror.lines.values())
        for tag in listed:
            if subject_of(tag) not in locked or not tag.endswith(_BELONGING):
                continue
            try:
                there = await self.origin.api.head(self.origin.repository, tag)
                here = await self.goal.api.head_or_none(self.goal.repository, tag)
                if here is not None and here.digest == there.digest:
                    continue
                top = await self.origin.manifest(there.digest)
                await self._push(_exact(await tree(self.origin, top)), tag)
            except LeftAlone:
                raise
            except ClientError as error:
                self.result.failed[tag] = str(error)

    async def _push(self, copied: Tree, reference: str) -> None:
        self.result.blobs += await copy_contents(self.origin, self.goal, copied)
        await self.goal.api.put_manifest(self.goal.repository, reference, copied.top)


def _exact(copied: Tree) -> Tree:
    """The same, once every manifest has its digest. Raises Damaged. wharf itself takes a signed
    schema 1 manifest by the digest that a registry states, since its digest is that of a part."""
    for fetched in copied.manifests:
        if digest_of(fetched.data, fetched.digest) != fetched.digest:
            raise Damaged(
                f"the upstream answers other content than {fetched.digest}: it was refused"
            )
    return copied


def _index(entries: Sequence[Mapping[str, Any]]) -> Fetched:
    """A list of referrers with these descriptors (OCI distribution specification 1.1)."""
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    read = manifests.parse(data)
    if isinstance(read, manifests.Unreadable):
        raise ClientError(f"the list of referrers cannot be written: {read.why}")
    return Fetched(digest_of(data), OCI_INDEX, data, read)
