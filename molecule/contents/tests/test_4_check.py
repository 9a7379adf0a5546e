"""Check: what is damaged is found, with the tags that it hits, and repairing it as told heals it.

The tests run in the order in which they are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from filling import Content
from filling.fill import attach, one_image
from filling.manifests import Manifest, belonging
from filling.site import Site, blob_path

FLIP = """
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(int(sys.argv[2]))
    byte = file.read(1)
    file.seek(-1, 1)
    file.write(bytes([byte[0] ^ 1]))
"""


@contextmanager
def damaged(site: Site, digest: str, how: str) -> Iterator[None]:
    """A blob is damaged for a while: flipped, missing or truncated."""
    path = blob_path(digest)
    site.machine.check_output("cp --archive %s /root/saved", str(path))
    size = int(site.machine.check_output("stat --format %%s %s", str(path)))
    if how == "flipped":
        site.script(FLIP, str(path), str(size // 2))
    elif how == "missing":
        site.machine.check_output("rm %s", str(path))
    else:
        site.machine.check_output("truncate --size %s %s", str(size - 1), str(path))
    try:
        yield
    finally:
        site.machine.check_output("mv /root/saved %s", str(path))


def layer(image: Manifest) -> str:
    """The digest of an image's first layer."""
    return str(image.parsed["layers"][0]["digest"])


def tagged(content: Content, repository: str, tag: str) -> Manifest:
    """The manifest that a tag names."""
    return content[repository].manifests[content[repository].tags[tag]]


def found(site: Site) -> list[dict[str, Any]]:
    """What a check finds, which exits with 1 where that is anything, and says it."""
    ran = site.run("check_contents")
    damage: list[dict[str, Any]] = site.report("check_contents")["damage"]
    assert ran.code == (1 if damage else 0), ran.error
    assert [one["sentence"] for one in damage if one["sentence"] not in ran.error] == []
    return damage


def test_a_whole_registry_is_whole(site: Site) -> None:
    number = site.generation()
    with site.read(writing=True) as beside:
        assert found(site) == []
    # No window is needed for that.
    assert beside.writer is not None
    assert beside.writer.statuses == [202]
    assert site.generation() == number


@pytest.mark.parametrize("how", ["flipped", "missing", "truncated"])
def test_a_damaged_layer_is_found_with_every_tag_that_it_hits(site: Site, how: str) -> None:
    # The layer that the images of three platforms share, and another repository.
    index = tagged(site.content, "team/app", "1.1")
    shared = layer(site.content["team/app"].manifests[index.children[0]])
    assert shared == layer(tagged(site.content, "team/other", "1"))
    with damaged(site, shared, how):
        [one] = found(site)
    assert one["digest"] == shared
    assert set(one["repositories"]) == {"team/app", "team/other"}
    # All of team/app share it, but for what is signed with.
    names = [tag for tag in site.content["team/app"].tags if not tag.endswith(".sig")]
    tags = {f"team/app:{tag}" for tag in names}
    assert set(one["tags"]) == tags | {"team/other:1"}
    assert {"team/app:1.1", "team/app:latest"} <= tags
    assert found(site) == []


@pytest.mark.parametrize("how", ["flipped", "missing", "truncated"])
def test_a_damaged_manifest_is_found(site: Site, how: str) -> None:
    name = site.content["classic/app"].tags["1"]
    with damaged(site, name, how):
        damage = found(site)
    assert name in {one["digest"] for one in damage}
    tags = {tag for one in damage for tag in one["tags"]}
    # It is a child of the list too.
    assert tags == {"classic/app:1", "classic/app:multi"}


def test_a_truncated_manifest_is_named_before_anything_is_refused_with_the_way_on(
    site: Site,
) -> None:
    image = one_image(site.pushing("broken/app"), "broken/app", "1")
    path = blob_path(image.digest)
    site.machine.check_output("truncate --size 100 %s", str(path))
    site.pushing("garbage/app").blob("garbage/app", b"what is to be collected")
    number = site.generation()
    try:
        with site.read(writing=True) as beside:
            ran = site.run("collect")
    finally:
        # The way on, as the message below says it; later tests collect too.
        site.machine.check_output("rm %s", str(path))
        pushing = site.pushing("broken/app")
        pushing.manifest("broken/app", image, "1")
    assert beside.writer is not None
    assert beside.writer.statuses == [202]
    assert site.generation() == number
    assert ran.code == 1
    assert f"broken/app@{image.digest}" in ran.error
    assert f"Restore {path} from a backup; or remove that file" in ran.error
    assert "and push the image again" in ran.error
    pushing.pull("broken/app", "1")
    assert site.done("collect")["freed"] > 0
    assert found(site) == []


def test_a_list_of_referrers_that_names_what_was_deleted_is_told_and_is_no_failure(
    site: Site,
) -> None:
    pushing = site.pushing("stale/app")
    image = one_image(pushing, "stale/app", "1")
    signature = attach(pushing, "stale/app", image, b"a signature")
    pushing.delete("stale/app", signature.digest)
    name = belonging(image.digest, "")
    try:
        said = site.operator.play("playbooks/check.yml").said
        (stale,) = site.report("check_contents")["stale"]
        assert f"stale/app:{name} names {signature.digest}, which was deleted" in stale["sentence"]
        assert "wharf repair HOST/stale/app" in said and f"stale/app:{name}" in said
        status = site.machine.run("wharfinger-host status").stdout
        assert "lists of referrers that name what was deleted: 1" in status
        assert "stale/app" not in status  # no problem of the host's
        site.done("collect")
    finally:
        pushing.delete("stale/app", site.content["stale/app"].tags[name])
    assert found(site) == []
    assert site.report("check_contents")["stale"] == []


def test_by_its_playbook(site: Site) -> None:
    site.operator.play("playbooks/check.yml")
    image = tagged(site.content, "a/b/c/d/e", "1")
    with damaged(site, layer(image), "flipped"):
        done = site.operator.begin("playbooks/check.yml").wait()
    assert done.code != 0
    assert layer(image) in done.said and "a/b/c/d/e:1" in done.said
    # Until the next one, the host goes on telling of it.
    assert layer(image) in site.machine.run("wharfinger-host status").stdout
    assert found(site) == []
    assert layer(image) not in site.machine.run("wharfinger-host status").stdout
