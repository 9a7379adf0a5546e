"""The sample of a drill: which images of a snapshot are restored, for all of them (pure)."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from ...oci.manifests import Manifest, Unreadable
from .listing import LAYER, REVISION, TAG_LINK, Entry

# By kind and name, the links of a repository that the snapshot's list has.
Links = Mapping[tuple[str, str], Entry]


@dataclass(frozen=True)
class Image:
    """A tag of the sample, and the links of everything that it needs: manifests and blobs."""

    tag: Entry
    links: tuple[Entry, ...]

    @property
    def name(self) -> str:
        return self.tag.reference

    @property
    def digests(self) -> set[str]:
        """The blobs in which it is stored."""
        return {link.digest for link in self.links}


def candidates(
    entries: Iterable[Entry], newest: int, others: int, chance: random.Random
) -> list[Entry]:
    """Of a list's tags the `newest`, and `others` by chance, in turns: what has just been pushed is
    in the youngest packs, and what lies there for years must be readable too."""
    latest: list[tuple[int, Entry]] = []
    drawn: list[Entry] = []
    seen = 0
    for entry in entries:
        if entry.kind != TAG_LINK:
            continue
        item = (entry.written, entry)
        if len(latest) < newest:
            heapq.heappush(latest, item)
            continue
        # What is not among the newest may be drawn, each with equal chance.
        _, rest = heapq.heappushpop(latest, item)
        seen += 1
        if len(drawn) < others:
            drawn.append(rest)
        elif (place := chance.randrange(seen)) < others:
            drawn[place] = rest
    chance.shuffle(drawn)
    first = [entry for _, entry in sorted(latest, reverse=True)]
    pairs = zip_longest(first, drawn)
    return [entry for entry in chain.from_iterable(pairs) if entry is not None]


def image(tag: Entry, manifests: Mapping[str, Manifest | Unreadable], links: Links) -> Image | None:
    """The image of a tag, as far as its repository has it: an index may name images that were never
    pushed. None if it needs a manifest of a kind that the registry does not serve, or has none.

    manifests: by digest. One that is damaged belongs to the image: the drill must name it.
    """
    needed: dict[Entry, None] = {}
    waiting = [tag.digest]
    while waiting:
        link = links.get((REVISION, waiting.pop()))
        if link is None or link in needed:
            continue
        needed[link] = None
        manifest = manifests[link.digest]
        if isinstance(manifest, Unreadable):
            if not manifest.damaged:
                return None
            continue
        if not manifest.collected:
            return None
        waiting += [child.digest for child in manifest.children]
        blobs = (links.get((LAYER, blob.digest)) for blob in manifest.contents)
        needed |= dict.fromkeys(blob for blob in blobs if blob is not None)
    return Image(tag, tuple(needed)) if needed else None


def within(images: Iterable[Image], sizes: Mapping[str, int], most: int) -> list[Image]:
    """The images that fit into `most` bytes together, the first ones first. sizes: digest → bytes;
    a blob that several images share counts once."""
    chosen: list[Image] = []
    taken: set[str] = set()
    left = most
    for candidate in images:
        more = candidate.digests - taken
        size = total(more, sizes)
        if size <= left:
            chosen.append(candidate)
            taken |= more
            left -= size
    return chosen


def total(digests: Iterable[str], sizes: Mapping[str, int]) -> int:
    """The bytes of these blobs; one that the snapshot lacks has none."""
    return sum(sizes.get(digest, 0) for digest in digests)


def smallest(images: Sequence[Image], sizes: Mapping[str, int]) -> int:
    """The bytes of the smallest image."""
    return min(total(candidate.digests, sizes) for candidate in images)
