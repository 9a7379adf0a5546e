"""The sample of a drill: which tags are drawn, what they need, and what fits."""

from __future__ import annotations

import random

from wharfinger.host.backup import sample
from wharfinger.host.backup.listing import LAYER, REVISION, TAG_LINK, Entry
from wharfinger.host.backup.sample import Image
from wharfinger.oci.manifests import Descriptor, Manifest, Unreadable


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def tag(name: str, number: int, written: int = 0) -> Entry:
    return Entry("app", TAG_LINK, name, digest(number), written)


def link(kind: str, number: int) -> Entry:
    return Entry("app", kind, digest(number), digest(number), 0)


def links(
    *, manifests: tuple[int, ...], blobs: tuple[int, ...] = ()
) -> dict[tuple[str, str], Entry]:
    entries = [*(link(REVISION, number) for number in manifests)]
    entries += [link(LAYER, number) for number in blobs]
    return {(entry.kind, entry.name): entry for entry in entries}


def manifest(*blobs: int, children: tuple[int, ...] = (), collected: bool = True) -> Manifest:
    return Manifest(
        "application/vnd.oci.image.manifest.v1+json",
        children=tuple(Descriptor(digest(number), 1) for number in children),
        blobs=tuple(Descriptor(digest(number), 1) for number in blobs),
        collected=collected,
    )


def test_the_newest_tags_and_others_are_drawn_in_turns() -> None:
    entries = [tag(f"v{number}", number, written=number) for number in range(100)]
    drawn = sample.candidates([link(LAYER, 1), *entries], 3, 4, random.Random(1))
    assert [entry.name for entry in drawn[:6:2]] == ["v99", "v98", "v97"]
    others = [*drawn[1:6:2], *drawn[6:]]
    assert len({entry.name for entry in drawn}) == 7
    assert all(entry.written < 97 for entry in others)


def test_every_older_tag_is_drawn_sooner_or_later() -> None:
    entries = [tag(f"v{number}", number, written=number) for number in range(20)]
    chance = random.Random(2)
    seen = {entry.name for _ in range(100) for entry in sample.candidates(entries, 2, 3, chance)}
    assert seen == {entry.name for entry in entries}


def test_fewer_tags_than_asked_for_are_all_drawn() -> None:
    entries = [tag("a", 1, 1), tag("b", 2, 2)]
    drawn = sample.candidates(entries, 5, 10, random.Random(3))
    assert [entry.name for entry in drawn] == ["b", "a"]
    assert sample.candidates([], 5, 10, random.Random(3)) == []


def test_an_image_has_all_that_its_repository_has_of_it() -> None:
    known = links(manifests=(1, 2), blobs=(10, 11))
    # The index names an image (3) that was never pushed here, and a layer (12) from elsewhere.
    manifests = {
        digest(1): manifest(children=(2, 3)),
        digest(2): manifest(10, 11, 12),
    }
    image = sample.image(tag("latest", 1), manifests, known)
    assert image is not None
    assert image.name == "app:latest"
    assert image.digests == {digest(number) for number in (1, 2, 10, 11)}
    assert image.links[0] == link(REVISION, 1)


def test_an_index_that_names_itself_is_read_once() -> None:
    known = links(manifests=(1,))
    image = sample.image(tag("latest", 1), {digest(1): manifest(children=(1,))}, known)
    assert image is not None
    assert image.links == (link(REVISION, 1),)


def test_a_damaged_manifest_stays_in_the_sample_and_one_that_is_not_served_does_not() -> None:
    known = links(manifests=(1,))
    damaged = Unreadable("its blob is missing or damaged", damaged=True)
    image = sample.image(tag("latest", 1), {digest(1): damaged}, known)
    assert image is not None
    assert image.digests == {digest(1)}
    for other in (Unreadable("its media type is unknown"), manifest(collected=False)):
        assert sample.image(tag("latest", 1), {digest(1): other}, known) is None
    assert sample.image(tag("latest", 1), {}, {}) is None


def image(name: str, *blobs: int) -> Image:
    return Image(tag(name, blobs[0]), tuple(link(LAYER, number) for number in blobs))


def test_what_fits_is_taken_in_order_and_shared_blobs_count_once() -> None:
    sizes = {digest(1): 60, digest(2): 30, digest(3): 50, digest(4): 10}
    images = [image("a", 1, 2), image("too large", 3), image("shares", 1, 4), image("b", 2)]
    chosen = sample.within(images, sizes, 100)
    assert [candidate.tag.name for candidate in chosen] == ["a", "shares", "b"]
    assert sample.within(images, sizes, 5) == []
    assert sample.smallest(images, sizes) == 30


def test_a_blob_that_the_snapshot_lacks_takes_no_room() -> None:
    assert sample.within([image("a", 1)], {}, 0) == [image("a", 1)]
