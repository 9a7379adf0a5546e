"""The scrub: each kind of damage, what it affects, and what is not damage."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.storage_tree import Tree, descriptor
from wharfinger.host.contents.storage import Storage, scrub
from wharfinger.host.contents.storage.layout import Link
from wharfinger.host.contents.storage.scrub import _Throttle
from wharfinger.oci.digests import digest_of
from wharfinger.oci.media_types import OCI_IMAGE, OCI_INDEX
from wharfinger.oci.platforms import Platforms


def check(storage: Storage) -> list[dict[str, Any]]:
    """The damage; the whole report is JSON."""
    report = scrub(storage)
    assert json.loads(json.dumps(report)) == report
    return list(report["damage"])


def only(storage: Storage) -> dict[str, Any]:
    (damage,) = check(storage)
    return damage


def images(tree: Tree) -> tuple[str, str]:
    """Two repositories with an index of two platforms; one of the images also has its own tag.
    Returns the digests of that image and of its layer."""
    for repository in ("app", "team/deep"):
        children = [tree.image(repository, name) for name in ("amd64", "arm64")]
        tree.index(repository, children, tag="v1")
        tree.image(repository, "amd64", tag="amd64")
        tree.image(repository, "other", tag="other")
    return children[0], digest_of(b"layer of amd64")


HIT = ["app:amd64", "app:v1", "team/deep:amd64", "team/deep:v1"]


def test_a_sound_storage_is_read_once_and_nothing_is_found(
    tree: Tree, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(tree)
    opened: list[str] = []
    original = storage.open_blob

    def open_blob(digest: str) -> int:
        opened.append(digest)
        return original(digest)

    monkeypatch.setattr(storage, "open_blob", open_blob)
    calls: list[tuple[int, int]] = []
    report = scrub(storage, progress=lambda done, total: calls.append((done, total)))
    blobs = list(tree.root.glob("blobs/*/*/*/data"))
    size = sum(path.stat().st_size for path in blobs)
    assert report["damage"] == report["harmless"] == []
    assert (report["blobs"], report["bytes"]) == (len(blobs), size)
    assert len(opened) == len(set(opened)) == len(blobs)
    assert calls == sorted(calls)
    assert calls[-1] == (size, size)


def test_an_empty_storage_is_sound(storage: Storage) -> None:
    assert scrub(storage) | {"seconds": 0} == {
        "blobs": 0,
        "bytes": 0,
        "seconds": 0,
        "damage": [],
        "harmless": [],
        "stale": [],
        "not_mirrored": 0,
    }


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5])


@pytest.mark.parametrize(
    ("damage", "kind", "why"),
    [
        (_flip, "changed blob", "its content (14 bytes) has another digest"),
        (_cut, "truncated blob", "it has 5 of 14 bytes"),
        (Path.unlink, "missing blob", "it is not there"),
    ],
)
def test_a_damaged_layer_affects_all_tags_that_lead_to_it(
    tree: Tree, storage: Storage, damage: Callable[[Path], None], kind: str, why: str
) -> None:
    _, layer = images(tree)
    path = tree.blob_path(layer)
    damage(path)
    way = (
        f"Restore {path} from a backup, or push an image with this blob again"
        if kind == "missing blob"
        else f"Restore {path} from a backup; or remove that file (while it is there, the registry"
        " takes it for good and accepts no other) and push an image with this blob again"
    )
    assert only(storage) == {
        "kind": kind,
        "repository": None,
        "digest": layer,
        "path": str(path),
        "sentence": f"The blob {layer} is damaged: {why}. {way}. This affects {', '.join(HIT)}",
        "tags": HIT,
        "repositories": ["app", "team/deep"],
    }


def test_a_damaged_manifest_affects_its_tags_and_indexes(tree: Tree, storage: Storage) -> None:
    manifest, _ = images(tree)
    _cut(tree.blob_path(manifest))
    damage = only(storage)
    assert (damage["kind"], damage["digest"], damage["tags"]) == ("truncated blob", manifest, HIT)


def test_a_damaged_index_affects_its_tag(tree: Tree, storage: Storage) -> None:
    images(tree)
    index = next(link.target for link in storage.tags("app") if link.name == "v1")
    _flip(tree.blob_path(index))
    assert only(storage)["tags"] == ["app:v1", "team/deep:v1"]


def test_a_manifests_link_without_its_blob_is_reported_with_its_path(
    tree: Tree, storage: Storage
) -> None:
    images(tree)
    digest = tree.image("app", "gone", tag="v2")
    tree.blob_path(digest).unlink()
    path = tree.revision_path("app", digest)
    assert only(storage) == {
        "kind": "orphan revision link",
        "repository": "app",
        "digest": digest,
        "path": str(path),
        "sentence": f"The manifest app@{digest} is not there, only its link: a garbage collection"
        f" would remove its layers. Restore {tree.blob_path(digest)} from a backup or push the"
        f" image again; or give it up and remove {path}. This affects app:v2",
        "tags": ["app:v2"],
        "repositories": ["app"],
    }


def test_a_blob_that_the_kernel_cannot_read_is_damage(
    tree: Tree, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, layer = images(tree)
    broken = tree.blob_path(layer).stat().st_ino
    original = os.readv

    def readv(descriptor: int, buffers: Any) -> int:
        if os.fstat(descriptor).st_ino == broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return original(descriptor, buffers)

    monkeypatch.setattr(os, "readv", readv)
    damage = only(storage)
    assert (damage["kind"], damage["digest"], damage["tags"]) == ("unreadable blob", layer, HIT)
    assert "is damaged: it cannot be read (Input/output error)" in damage["sentence"]


@pytest.mark.parametrize("kind", ["revision", "layer", "tag"])
def test_an_empty_link_is_damage_and_reported_once(tree: Tree, storage: Storage, kind: str) -> None:
    manifest, layer = images(tree)
    path = {
        "revision": tree.revision_path("app", manifest),
        "layer": tree.layer_path("app", layer),
        "tag": tree.tag_path("app", "v1") / "current/link",
    }[kind]
    path.write_text("")
    damage = only(storage)
    assert (damage["kind"], damage["repository"]) == (f"empty {kind} link", "app")
    assert damage["path"] == str(path)
    assert damage["tags"] == (["app:v1"] if kind == "tag" else ["app:amd64", "app:v1"])
    assert "is empty, as a power loss can leave it" in damage["sentence"]


def test_the_remains_of_a_tag_after_an_interrupted_push_are_damage(
    tree: Tree, storage: Storage
) -> None:
    images(tree)
    (tree.tag_path("app", "v1") / "current/link").unlink()
    assert only(storage)["sentence"] == (
        "app:v1 has no current/link, as a push or a removal that was cut off leaves it: it is"
        " listed, but cannot be pulled. Push the tag again, or let playbooks/garbage_collect.yml"
        " clear it away"
    )


def test_a_child_that_was_deleted_is_damage(tree: Tree, storage: Storage) -> None:
    manifest, _ = images(tree)
    shutil.rmtree(tree.tag_path("app", "amd64"))
    path = tree.revision_path("app", manifest)
    path.unlink()
    assert only(storage) == {
        "kind": "missing child",
        "repository": "app",
        "digest": manifest,
        "path": str(path),
        "sentence": f"An index in app names {manifest}, which is not in app: the image cannot be"
        " pulled for that platform. Push the image again with all its platforms. This affects"
        " app:v1",
        "tags": ["app:v1"],
        "repositories": ["app"],
    }


def sparse(tree: Tree) -> list[str]:
    """An index of amd64 and arm64 whose members are elsewhere. Returns their digests."""
    children = [tree.image("elsewhere", name) for name in ("amd64", "arm64")]
    platforms = ["linux/amd64", "linux/arm64"]
    tree.index("base/app", children, tag="v1", platforms=platforms)
    return children


def test_what_a_mirror_does_not_keep_is_no_damage(tree: Tree, storage: Storage) -> None:
    sparse(tree)
    tree.image("base/app", "amd64")
    report = scrub(storage, mirrored={"base/app": [Platforms(["linux/amd64"])]})
    assert (report["damage"], report["harmless"], report["not_mirrored"]) == ([], [], 1)
    # In any other repository it is missing.
    assert len(check(storage)) == 1
    (damage,) = scrub(storage, mirrored={"base/other": [Platforms(["linux/amd64"])]})["damage"]
    assert damage["sentence"].startswith("An index in base/app names ")


def test_what_a_mirror_keeps_and_lacks_is_damage_that_it_repairs(
    tree: Tree, storage: Storage
) -> None:
    amd64, arm64 = sparse(tree)
    report = scrub(storage, mirrored={"base/app": [Platforms(["linux/amd64"])]})
    assert report["not_mirrored"] == 1
    assert [problem["sentence"] for problem in report["damage"]] == [
        f"An index in base/app names {amd64}, which is not in base/app: the image cannot be pulled"
        " for that platform. Its mirror keeps that platform: copy it again with"
        " playbooks/mirror.yml. This affects base/app:v1"
    ]
    everything = scrub(storage, mirrored={"base/app": [Platforms([])]})
    assert {problem["digest"] for problem in everything["damage"]} == {amd64, arm64}
    assert everything["not_mirrored"] == 0


def test_a_damaged_image_of_a_mirror_is_damage(tree: Tree, storage: Storage) -> None:
    amd64, _ = sparse(tree)
    tree.image("base/app", "amd64")
    tree.blob_path(amd64).write_bytes(b"{}")
    damage = scrub(storage, mirrored={"base/app": [Platforms(["linux/amd64"])]})["damage"]
    assert [problem["digest"] for problem in damage] == [amd64]


def attached(tree: Tree) -> tuple[str, list[str], str]:
    """An image, two referrers, and the tag of their list."""
    image = tree.image("app", "image", tag="v1")
    referrers = [tree.image("app", name, subject=image) for name in ("signature", "sbom")]
    tag = image.replace(":", "-")
    tree.index("app", referrers, tag=tag)
    return image, referrers, tag


def test_a_list_of_referrers_that_names_a_deleted_manifest_is_reported_apart(
    tree: Tree, storage: Storage
) -> None:
    image, referrers, tag = attached(tree)
    listed = (tree.tag_path("app", tag) / "current/link").read_text()
    assert scrub(storage)["stale"] == []
    tree.revision_path("app", referrers[0]).unlink()
    report = scrub(storage)
    assert (report["damage"], report["harmless"]) == ([], [])
    assert report["stale"] == [
        {
            "kind": "stale list",
            "repository": "app",
            "digest": listed,
            "path": str(tree.tag_path("app", tag) / "current/link"),
            "sentence": f"The list of referrers app:{tag} names {referrers[0]}, which was deleted:"
            f" nothing can be signed with or attached to {image} any more (400"
            " MANIFEST_BLOB_UNKNOWN). Mend it: wharf repair HOST/app",
            "tags": [f"app:{tag}"],
            "repositories": ["app"],
        }
    ]
    tree.revision_path("app", referrers[1]).unlink()
    (stale,) = scrub(storage)["stale"]
    assert f"names {referrers[0]} and 1 more, which was deleted" in stale["sentence"]


@pytest.mark.parametrize("tag", ["v2", "sha256-short"])
def test_an_index_with_a_tag_of_its_own_is_not_a_list(
    tree: Tree, storage: Storage, tag: str
) -> None:
    _, referrers, name = attached(tree)
    tree.tag("app", tag, (tree.tag_path("app", name) / "current/link").read_text())
    tree.revision_path("app", referrers[0]).unlink()
    assert scrub(storage)["stale"] == []
    assert only(storage)["kind"] == "missing child"


def test_a_damaged_referrer_is_damage(tree: Tree, storage: Storage) -> None:
    _, referrers, _ = attached(tree)
    tree.blob_path(referrers[0]).unlink()
    assert {damage["kind"] for damage in check(storage)} == {"orphan revision link"}
    assert scrub(storage)["stale"] == []


def test_a_tag_without_its_manifest_is_damage(tree: Tree, storage: Storage) -> None:
    digest = tree.image("app", "image", tag="v1")
    tree.revision_path("app", digest).unlink()
    assert only(storage)["sentence"] == (
        f"The tag app:v1 names {digest}, which is not in app: push the tag again, or delete it"
    )


def test_a_layer_that_is_not_linked_is_damage(tree: Tree, storage: Storage) -> None:
    _, layer = images(tree)
    tree.layer_path("app", layer).unlink()
    assert only(storage)["sentence"] == (
        f"An image in app needs the blob {layer}, which is stored but not linked there: the image"
        " cannot be pulled. Push it again. This affects app:amd64, app:v1"
    )


def test_a_manifest_that_claims_a_wrong_size_is_damage(tree: Tree, storage: Storage) -> None:
    data = b"layer"
    tree.layer("app", data)
    wrong = {**descriptor(data), "size": 7}
    content = {"schemaVersion": 2, "mediaType": OCI_IMAGE, "layers": [wrong]}
    tree.tag("app", "v1", tree.manifest("app", content, 0))
    assert only(storage)["sentence"] == (
        f"A manifest in app says that {digest_of(data)} has 7 bytes, but it has 5, and its digest"
        " is right: the manifest was made wrongly, and clients refuse it. Make the image again and"
        " push it. This affects app:v1"
    )


def harmless(storage: Storage) -> list[dict[str, Any]]:
    """The harmless findings of a scrub that finds no damage."""
    report = scrub(storage)
    assert report["damage"] == []
    return list(report["harmless"])


def test_a_manifest_that_the_registry_cannot_read_is_not_damage(
    tree: Tree, storage: Storage
) -> None:
    text = b'{"schemaVersion": 2, "layers": 5, "layers": null}'
    digest = tree.manifest("app", text, 0)
    tree.tag("app", "v1", digest)
    tree.tag("app", "v2", tree.manifest("app", {"schemaVersion": 1}, 0))
    first, second = sorted(harmless(storage), key=lambda damage: str(damage["tags"]))
    assert first["sentence"] == (
        f"The manifest app@{digest} is undamaged, but the registry cannot read it (its field layers"
        " is not a list), so it cannot be pulled. What it refers to is not known: nothing untagged"
        " and no blob is removed from app. Other repositories are cleaned up as usual. If nobody"
        " needs it, delete it by its digest. This affects app:v1"
    )
    assert second["kind"] == "unread manifest"
    assert "is of a kind that this registry cannot read" in second["sentence"]


@pytest.mark.parametrize(
    "fields",
    [
        b'"subject": 5',
        b'"subject": {"digest": "latest"}',
        b'"artifactType": 7',
        b'"x": ' + b"9" * 5000,
        b'"x": ' + b"[" * 3000 + b"]" * 3000,
    ],
)
def test_fields_that_the_registry_ignores_are_not_damage(
    tree: Tree, storage: Storage, fields: bytes
) -> None:
    layer = tree.layer("app", b"layer")
    text = b'{"schemaVersion": 2, "config": {"digest": "%s"}, %s}' % (layer.encode(), fields)
    tree.tag("app", "v1", tree.manifest("app", text, 0))
    assert harmless(storage) == []


def _delete(tree: Tree, digest: str) -> None:
    """Deletes a manifest as a client would."""
    tree.revision_path("app", digest).unlink()


@pytest.mark.parametrize(
    ("break_", "kind"),
    [
        (lambda tree, child, layer: _delete(tree, child), "missing child"),
        (lambda tree, child, layer: tree.layer_path("app", layer).unlink(), "missing layer link"),
        (lambda tree, child, layer: tree.blob_path(layer).unlink(), "missing blob"),
        (lambda tree, child, layer: tree.blob_path(child).unlink(), "orphan revision link"),
    ],
)
def test_a_manifest_that_no_tag_leads_to_may_be_incomplete(
    tree: Tree, storage: Storage, break_: Callable[[Tree, str, str], None], kind: str
) -> None:
    child = tree.image("app", "child")
    index = tree.index("app", [child])
    break_(tree, child, digest_of(b"layer of child"))
    assert [damage["kind"] for damage in harmless(storage)] == [kind]
    tree.tag("app", "v1", index)
    assert only(storage)["kind"] == kind


def test_the_previous_list_of_a_deleted_referrer_is_not_damage(
    tree: Tree, storage: Storage
) -> None:
    """oras attach and then oras manifest delete leave the previous list as an untagged index."""
    image = tree.image("app", "image", tag="v1")
    referrer = tree.image("app", "signature", subject=image)
    tree.index("app", [referrer])
    _delete(tree, referrer)
    assert [damage["kind"] for damage in harmless(storage)] == ["missing child"]


def test_a_layer_from_elsewhere_is_not_missed(tree: Tree, storage: Storage) -> None:
    layer = {**descriptor(b"far away"), "urls": ["https://example.com/layer"]}
    content = {"schemaVersion": 2, "mediaType": OCI_IMAGE, "layers": [layer]}
    tree.tag("app", "v1", tree.manifest("app", content, 0))
    assert check(storage) == []


def test_unneeded_damage_is_reported_apart(tree: Tree, storage: Storage) -> None:
    images(tree)
    digest = tree.layer("app", b"of a push without a manifest")
    path = tree.blob_path(digest)
    _flip(path)
    report = scrub(storage)
    assert report["damage"] == []
    assert [damage["sentence"] for damage in report["harmless"]] == [
        f"The blob {digest} is damaged (its content (28 bytes) has another digest), but"
        f" no manifest refers to it; a garbage collection removes it ({path})"
    ]


def test_damage_that_affects_untagged_manifests_only(tree: Tree, storage: Storage) -> None:
    tree.image("app", "image")
    _flip(tree.blob_path(digest_of(b"layer of image")))
    assert only(storage)["sentence"].endswith(". No tag needs it, but app does")


def test_the_sentence_does_not_name_too_many_tags(tree: Tree, storage: Storage) -> None:
    for number in range(9):
        tree.image("app", "image", tag=f"v{number}")
    _flip(tree.blob_path(digest_of(b"layer of image")))
    damage = only(storage)
    assert damage["sentence"].endswith(
        ". This affects app:v0, app:v1, app:v2, app:v3, app:v4 and 4 more"
    )
    assert len(damage["tags"]) == 9


def test_a_symbolic_link_among_the_repositories_is_damage(tree: Tree, storage: Storage) -> None:
    path = tree.root / "repositories/app"
    path.parent.mkdir(parents=True)
    path.symlink_to("/nowhere")
    assert only(storage)["path"] == str(path)


def test_a_folder_that_cannot_be_read_is_damage_of_its_repository(
    tree: Tree, storage: Storage
) -> None:
    images(tree)
    folder = tree.root / "repositories/app/_layers/sha256"
    shutil.rmtree(folder)
    folder.symlink_to("/nowhere")
    damages = check(storage)
    assert {damage["repository"] for damage in damages} == {"app"}
    assert damages[0]["kind"] == "unreadable folder"
    assert damages[0]["sentence"].startswith(f"{folder}: this or a folder above it is a symbolic")


# -- changes during a scrub ----------------------------------------------------------------------


def during(storage: Storage, monkeypatch: pytest.MonkeyPatch, change: Callable[[], None]) -> None:
    """Runs `change` once, after everything is listed and before the first blob is read."""
    original = storage.open_blob
    waiting = [change]

    def open_blob(digest: str) -> int:
        if waiting:
            waiting.pop()()
        return original(digest)

    monkeypatch.setattr(storage, "open_blob", open_blob)


def test_deletions_and_collections_meanwhile_are_not_damage(
    tree: Tree, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(tree)
    digest = tree.image("app", "going", tag="going")

    def delete() -> None:
        shutil.rmtree(tree.tag_path("app", "going"))
        shutil.rmtree(tree.revision_path("app", digest).parent)
        for blob in (digest, digest_of(b"layer of going")):
            shutil.rmtree(tree.blob_path(blob).parent)

    during(storage, monkeypatch, delete)
    assert scrub(storage) | {"blobs": 0, "bytes": 0, "seconds": 0} == {
        "blobs": 0,
        "bytes": 0,
        "seconds": 0,
        "damage": [],
        "harmless": [],
        "stale": [],
        "not_mirrored": 0,
    }


def test_pushes_meanwhile_are_not_damage(
    tree: Tree, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(tree)
    (tree.tag_path("app", "next") / "index").mkdir(parents=True)

    def finish() -> None:
        tree.image("app", "next", tag="next")
        tree.image("new", "new", tag="new")

    during(storage, monkeypatch, finish)
    assert check(storage) == []


def test_damage_of_images_deleted_meanwhile_is_harmless(
    tree: Tree, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(tree)
    digest = tree.image("app", "going", tag="going")
    layer = digest_of(b"layer of going")
    _flip(tree.blob_path(layer))

    def delete() -> None:
        shutil.rmtree(tree.tag_path("app", "going"))
        tree.revision_path("app", digest).unlink()

    during(storage, monkeypatch, delete)
    report = scrub(storage)
    assert report["damage"] == []
    assert [damage["digest"] for damage in report["harmless"]] == [layer]


def test_repairs_meanwhile_are_not_damage(
    tree: Tree, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, layer = images(tree)
    for digest in (manifest, layer):
        _flip(tree.blob_path(digest))
    original = storage.open_blob
    opened: list[str] = []

    def open_blob(digest: str) -> int:
        if digest in opened:
            # The second check.
            images(tree)
        opened.append(digest)
        return original(digest)

    monkeypatch.setattr(storage, "open_blob", open_blob)
    assert check(storage) == []
    assert len(opened) > len(set(opened))


def test_damage_that_only_the_second_check_finds_is_left_to_the_next_scrub(
    tree: Tree, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, layer = images(tree)
    _flip(tree.blob_path(layer))
    original = storage.tags
    looks: list[str] = []

    def tags(repository: str) -> Any:
        looks.append(repository)
        if looks.count(repository) == 2:
            # As if it had been pushed and deleted again between two reads.
            yield Link("racing", digest_of(b"not there"), 0.0)
        yield from original(repository)

    monkeypatch.setattr(storage, "tags", tags)
    assert only(storage)["digest"] == layer
    assert looks.count("app") == 2


def test_no_more_bytes_pass_than_the_rate_allows(
    tree: Tree, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    for _ in range(20):
        tree.layer("app", os.urandom(100_000))
    report = scrub(storage, 1_000_000)
    assert report["bytes"] == 2_000_000
    assert 1.99 <= report["seconds"] <= 2.01
    throttle = _Throttle(1000)
    now[0] += 3600
    throttle.take(1000)
    throttle.take(1000)
    assert 3601.9 <= now[0] - 1000 - 2 <= 3602.1


def test_a_build_cache_is_sound_where_its_layers_are(tree: Tree, storage: Storage) -> None:
    layers = [b"first layer", b"second layer"]
    tree.cache("team/cache", layers, tag="main")
    assert check(storage) == []
    tree.blob_path(digest_of(layers[0])).unlink()
    damage = only(storage)
    assert (damage["kind"], damage["digest"]) == ("missing blob", digest_of(layers[0]))
    assert damage["tags"] == ["team/cache:main"]
    tree.blob(layers[0])
    tree.layer_path("team/cache", digest_of(layers[0])).unlink()
    assert only(storage)["kind"] == "missing layer link"


def test_a_blob_in_an_index_may_be_a_manifest(tree: Tree, storage: Storage) -> None:
    child = tree.image("app", "amd64")
    size = tree.blob_path(child).stat().st_size
    entry = {"mediaType": "application/x-of-ours", "digest": child, "size": size}
    content = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    tree.tag("app", "v1", tree.manifest("app", content, 0))
    assert check(storage) == []
