"""The check finds damage and the affected tags, and a repair as it says works.

The tests run in the order in which they are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from filling import Content
from filling.fill import attach, one_image
from filling.manifests import Manifest, belonging, configuration
from filling.pushing import Pushing
from filling.site import REPOSITORIES, STORAGE, Site, blob_path, layer_path, revision_path, tag_path
from load.session import Account, Session
from support import hosts
from support.registry import MANIFEST, digest

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
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
    """A blob is damaged while the body runs: flipped, missing or truncated."""
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


def damage_found(site: Site) -> list[dict[str, Any]]:
    """The damage that a check finds. If there is any, the check reports it and exits with 1."""
    ran = site.run("check_contents")
    damage: list[dict[str, Any]] = site.report("check_contents")["damage"]
    assert ran.code == (1 if damage else 0), ran.error
    assert [finding["sentence"] for finding in damage if finding["sentence"] not in ran.error] == []
    return damage


def test_a_whole_registry_is_whole(site: Site) -> None:
    number = site.generation()
    with site.read(writing=True) as beside:
        assert damage_found(site) == []
    # A check needs no window.
    assert beside.writer is not None
    assert beside.writer.statuses == [202]
    assert site.generation() == number


@pytest.mark.parametrize("how", ["flipped", "missing", "truncated"])
def test_a_damaged_layer_is_found_with_every_tag_that_it_hits(site: Site, how: str) -> None:
    # The images of three platforms share this layer, and so does another repository.
    index = tagged(site.content, "team/app", "1.1")
    shared = layer(site.content["team/app"].manifests[index.children[0]])
    assert shared == layer(tagged(site.content, "team/other", "1"))
    with damaged(site, shared, how):
        [finding] = damage_found(site)
    assert finding["digest"] == shared
    assert set(finding["repositories"]) == {"team/app", "team/other"}
    # All tags of team/app share it, except for the signatures.
    names = [tag for tag in site.content["team/app"].tags if not tag.endswith(".sig")]
    tags = {f"team/app:{tag}" for tag in names}
    assert set(finding["tags"]) == tags | {"team/other:1"}
    assert {"team/app:1.1", "team/app:latest"} <= tags
    assert damage_found(site) == []


@pytest.mark.parametrize("how", ["flipped", "missing", "truncated"])
def test_a_damaged_manifest_is_found(site: Site, how: str) -> None:
    name = site.content["classic/app"].tags["1"]
    with damaged(site, name, how):
        damage = damage_found(site)
    assert name in {finding["digest"] for finding in damage}
    tags = {tag for finding in damage for tag in finding["tags"]}
    # It is also a child of the list.
    assert tags == {"classic/app:1", "classic/app:multi"}


def test_a_truncated_manifest_is_named_before_anything_is_refused_with_the_way_on(
    site: Site,
) -> None:
    image = one_image(site.pushing("broken/app"), "broken/app", "1")
    path = blob_path(image.digest)
    site.machine.check_output("truncate --size 100 %s", str(path))
    garbage = site.pushing("garbage/app").blob("garbage/app", b"what is to be collected")
    site.aged(20, layer_path("garbage/app", garbage))
    number = site.generation()
    try:
        with site.read(writing=True) as beside:
            ran = site.run("collect")
    finally:
        # The way on that the message below suggests. Later tests collect too.
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
    assert damage_found(site) == []


def test_a_list_of_referrers_with_a_deleted_manifest_is_reported_and_not_a_failure(
    site: Site,
) -> None:
    pushing = site.pushing("stale/app")
    image = one_image(pushing, "stale/app", "1")
    signature = attach(pushing, "stale/app", image, b"a signature")
    pushing.delete("stale/app", signature.digest)
    name = belonging(image.digest, "")
    try:
        said = site.operator.play("playbooks/scrub.yml").said
        (stale,) = site.report("check_contents")["stale"]
        assert f"stale/app:{name} names {signature.digest}, which was deleted" in stale["sentence"]
        assert "wharf repair HOST/stale/app" in said and f"stale/app:{name}" in said
        status = site.machine.run("wharfinger-host status").stdout
        assert "lists of referrers that name what was deleted: 1" in status
        assert "stale/app" not in status  # this is not a problem of the host
        site.done("collect")
    finally:
        pushing.delete("stale/app", site.content["stale/app"].tags[name])
    assert damage_found(site) == []
    assert site.report("check_contents")["stale"] == []


# Accepted by the registry, which does not look at these fields.
ODD = [
    b'"subject": 5',
    b'"subject": {"digest": "latest"}',
    b'"artifactType": 7',
    b'"x": ' + b"9" * 5000,
    b'"x": ' + b"[" * 3000 + b"]" * 3000,
]
UNREADABLE = b'{"schemaVersion": 2, "layers": 5, "layers": null}'
# Runs on the host: stores a manifest that a registry without our middleware would have accepted.
TAKEN = f"""
import pathlib, shutil, sys
for path, text in zip(sys.argv[1::2], sys.argv[2::2]):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for folder in (path, *path.parents):
        if str(folder) == {str(STORAGE)!r}:
            break
        shutil.chown(folder, 64500, 64500)
"""


def test_odd_manifests_of_one_user_stop_nobody_elses_collection(site: Site) -> None:
    repository = "someuser/odd"
    person = hosts.account("someuser")
    account = Account(person.name, person.password)
    session = Session(site.session.target, account, site.session.trusts, timeout=300)
    pushing = Pushing(session, Content(), [repository])
    text = configuration(of="odd")
    config = pushing.blob(repository, text)
    manifests = [
        b'{"schemaVersion": 2, "config": {"digest": "%s", "size": %d}, "layers": [], %s}'
        % (config.encode(), len(text), fields)
        for fields in ODD
    ]
    for number, data in enumerate(manifests):
        pushing.manifest(repository, Manifest(data, MANIFEST), f"odd{number}")
    refused = pushing.request(
        "PUT", f"/v2/{repository}/manifests/1", UNREADABLE, Content_Type=OCI_INDEX
    )
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "MANIFEST_INVALID")
    unread = digest(UNREADABLE)
    site.script(
        TAKEN,
        *(str(blob_path(unread)), UNREADABLE.decode()),
        *(str(revision_path(repository, unread)), unread),
        *(str(tag_path(repository, "1")), unread),
    )
    kept = pushing.blob(repository, b"what the unread one may need")
    garbage = site.pushing("garbage/app").blob("garbage/app", b"what nobody needs any more")
    site.aged(20, layer_path("garbage/app", garbage), layer_path(repository, kept))
    with site.read():
        answer = site.done("collect")
    (warning,) = answer["damage"]
    assert warning["sentence"] == (
        f"The manifest {repository}@{unread} is undamaged, but the registry cannot read it (its"
        " field layers is not a list), so it cannot be pulled. What it refers to is not known:"
        f" nothing untagged and no blob is removed from {repository}. Other repositories are"
        " cleaned up as usual. If nobody needs it, delete it by its digest"
    )
    assert not site.machine.file(str(blob_path(garbage))).exists
    assert site.machine.file(str(blob_path(kept))).exists
    for number, data in enumerate(manifests):
        path = f"/v2/{repository}/manifests/odd{number}"
        assert pushing.request("GET", path, Accept=MANIFEST).content == data
    assert pushing.size(repository, config) == len(text)
    # The check names the unreadable manifest and does not fail.
    assert damage_found(site) == []
    kinds = {
        finding["kind"]: finding["tags"] for finding in site.report("check_contents")["harmless"]
    }
    assert kinds["unread manifest"] == [f"{repository}:1"]
    site.machine.check_output(f"rm -r {REPOSITORIES}/{repository}")
    site.whole()


def test_by_its_playbook(site: Site) -> None:
    # Also by its former name.
    site.operator.play("playbooks/check.yml")
    image = tagged(site.content, "a/b/c/d/e", "1")
    with damaged(site, layer(image), "flipped"):
        done = site.operator.begin("playbooks/scrub.yml").wait()
    assert done.code != 0
    assert layer(image) in done.said and "a/b/c/d/e:1" in done.said
    # Until the next check, the host goes on reporting the damage.
    assert layer(image) in site.machine.run("wharfinger-host status").stdout
    assert damage_found(site) == []
    assert layer(image) not in site.machine.run("wharfinger-host status").stdout
