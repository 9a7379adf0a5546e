"""What a collection would delete, and where it would fail."""

from __future__ import annotations

import hashlib
import shutil

from support.storage_tree import DAY, NOW, Tree
from wharfinger.host.contents.storage import (
    Storage,
    Usage,
    apply,
    examine,
    garbage,
    make_collectable,
    obstacles,
    plan_untagged,
    usage,
)
from wharfinger.oci.digests import digest_of
from wharfinger.oci.media_types import OCI_IMAGE, OCI_INDEX


def test_blobs_that_no_manifest_names_are_garbage(tree: Tree, storage: Storage) -> None:
    image = tree.image("app", "image", age=90 * DAY)
    tree.index("app", [image], tag="v1", age=90 * DAY)
    assert garbage(storage) == (0, 0)
    tree.layer("app", b"of a push without a manifest")
    tree.blob(b"in no repository")
    assert garbage(storage) == (2, 44)
    assert obstacles(storage) == []
    before = usage(storage)
    old = tree.image("app", "old", age=90 * DAY)
    grown = usage(storage)
    size = grown.bytes - before.bytes
    assert grown == Usage(before.blobs + 3, before.bytes + size)
    removals = plan_untagged(storage, {"untagged_keep": DAY}, NOW)["removals"]
    assert [removal.digest for removal in removals] == [old]
    assert garbage(storage, removals) == (5, 44 + size)
    assert garbage(storage) == (2, 44)


def test_a_blob_that_another_repository_names_is_not_garbage(tree: Tree, storage: Storage) -> None:
    tree.image("one", "image", age=90 * DAY)
    tree.image("two", "image", tag="v1")
    removals = plan_untagged(storage, {"untagged_keep": DAY}, NOW)["removals"]
    assert [removal.repository for removal in removals] == ["one"]
    assert garbage(storage, removals) == (0, 0)


def test_a_layer_link_without_a_digest_stops_a_collection(tree: Tree, storage: Storage) -> None:
    digest = tree.layer("app", b"layer")
    tree.image("app", "image")
    path = tree.layer_path("app", digest)
    path.write_text("")
    assert obstacles(storage) == [
        f"The link of the blob {digest} in app is empty, as a power loss can leave it: it cannot be"
        " pulled or pushed there, and a garbage collection fails there. Write the digest into the"
        f" link: printf %s {digest} > {path}"
    ]


UNREADABLE = b'{"schemaVersion": 2, "layers": 5, "layers": null}'


def test_a_manifest_that_the_registry_cannot_read_keeps_its_own_repository_only(
    tree: Tree, storage: Storage
) -> None:
    old = tree.manifest("app", {"schemaVersion": 1, "name": "app"}, 0)
    unread = tree.manifest("team/app", UNREADABLE, 90 * DAY)
    for repository in ("app", "team/app", "other"):
        tree.layer(repository, f"lost in {repository}".encode())
        tree.image(repository, f"old in {repository}", age=90 * DAY)
    problems, special = examine(storage)
    assert problems == []
    assert special.hidden == (("app", old), ("team/app", unread))
    assert [warning.sentence for warning in special.warnings] == [
        f"The manifest app@{old} is of a kind that this registry cannot read"
        " (application/vnd.docker.distribution.manifest.v1+json), so it cannot be pulled. A garbage"
        " collection keeps it and all blobs of app. If nobody needs it, delete it by its digest;"
        " otherwise copy it elsewhere with the registry that it was pushed to",
        f"The manifest team/app@{unread} is undamaged, but the registry cannot read it (its field"
        " layers is not a list), so it cannot be pulled. What it refers to is not known: nothing"
        " untagged and no blob is removed from team/app. Other repositories are cleaned up as"
        " usual. If nobody needs it, delete it by its digest",
    ]
    removals = plan_untagged(storage, {"untagged_keep": DAY}, NOW)["removals"]
    assert "team/app" not in {removal.repository for removal in removals}
    assert "other" in {removal.repository for removal in removals}
    # The layer that was lost in the third repository, and that image's three blobs.
    assert (
        garbage(storage, [removal for removal in removals if removal.repository == "other"])[0] == 4
    )


def alias(tree: Tree, repository: str, data: bytes) -> str:
    """Stores a layer as if it was pushed by its sha512. Returns that digest."""
    stored = tree.layer(repository, data)
    digest = f"sha512:{hashlib.sha512(data).hexdigest()}"
    path = tree.layer_path(repository, digest)
    path.parent.mkdir(parents=True)
    path.write_text(stored)
    return digest


def test_a_layer_that_was_pushed_by_its_sha512_stays(tree: Tree, storage: Storage) -> None:
    digest = alias(tree, "app", b"layer")
    alias(tree, "app", b"that no manifest names")
    content = {"schemaVersion": 2, "mediaType": OCI_IMAGE, "layers": [{"digest": digest}]}
    tree.tag("app", "v1", tree.manifest("app", content, 0))
    assert garbage(storage) == (1, len(b"that no manifest names"))
    assert dict(examine(storage)[1].pinned) == {"app": {digest_of(b"layer")}}


def test_a_manifest_that_an_image_names_as_a_layer_is_needed(tree: Tree, storage: Storage) -> None:
    child = tree.image("app", "child", age=20 * DAY)
    content = {"schemaVersion": 2, "mediaType": OCI_IMAGE, "layers": [{"digest": child}]}
    tree.tag("app", "v1", tree.manifest("app", content, 20 * DAY))
    assert plan_untagged(storage, {"untagged_keep": DAY}, NOW)["removals"] == []


def test_damaged_manifests_stop_a_collection_that_would_remove_their_layers(
    tree: Tree, storage: Storage
) -> None:
    digests = sorted(tree.image("app", name, tag=name) for name in ("changed", "gone", "cut"))
    changed, gone, cut = (tree.blob_path(digest) for digest in digests)
    changed.write_bytes(changed.read_bytes().replace(b"2", b"3", 1))
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:9])
    assert [sentence.split(". ")[0] for sentence in obstacles(storage)] == [
        f"The manifest app@{digest} is unreadable: its blob is missing or damaged"
        for digest in digests
    ]


def test_a_manifest_that_is_gone_and_has_no_tag_is_given_up(tree: Tree, storage: Storage) -> None:
    gone = tree.image("app", "gone", age=20 * DAY)
    kept = tree.image("app", "kept", age=20 * DAY)
    tree.blob_path(gone).unlink()
    assert obstacles(storage) == []
    plan = plan_untagged(storage, {"untagged_keep": DAY}, NOW)
    assert plan["damage"] == []
    assert {removal.digest for removal in plan["removals"]} == {gone, kept}
    index = tree.manifest(
        "app", {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{"digest": gone}]}, 0
    )
    tree.tag("app", "v1", index)
    assert len(obstacles(storage)) == 1
    assert plan_untagged(storage, {"untagged_keep": DAY}, NOW)["removals"] == []


def test_a_link_to_another_manifest_stops_a_collection(tree: Tree, storage: Storage) -> None:
    digest, other = (tree.image("app", name) for name in ("1", "2"))
    path = tree.revision_path("app", digest)
    path.write_text(other)
    assert obstacles(storage) == [
        f"The link of the manifest app@{digest} names {other}: the manifest cannot be pulled by its"
        " digest. Push the image again, or write the digest into the link:"
        f" printf %s {digest} > {path}"
    ]


def test_folders_that_are_not_repositories_stop_a_collection(tree: Tree, storage: Storage) -> None:
    tree.image("app", "image")
    tree.image("Upper/app", "image")
    (tree.root / "repositories/lost+found").mkdir()
    path = tree.root / "repositories/Upper/app"
    assert obstacles(storage) == [
        f"{path} lies among the repositories, but no repository can have this name (or it is a"
        " symbolic link): a garbage collection fails there. Move it away"
    ]


def test_an_index_without_children_does_not_stop_a_collection(tree: Tree, storage: Storage) -> None:
    tree.image("other", "image")
    tree.manifest("app", {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}, 0)
    path = tree.root / "repositories/app/_layers"
    assert make_collectable(storage) == [
        f"{path}: created, because a garbage collection fails without it"
    ]
    assert path.is_dir()
    assert make_collectable(storage) == []


def test_blobs_without_a_repository_do_not_stop_a_collection(tree: Tree, storage: Storage) -> None:
    tree.blob(b"nobody's")
    path = tree.root / "repositories"
    shutil.rmtree(path, ignore_errors=True)
    assert make_collectable(storage) == [
        f"{path}: created, because a garbage collection fails without it"
    ]
    assert path.is_dir()
    assert make_collectable(storage) == []


def test_an_empty_storage_stays_empty(tree: Tree, storage: Storage) -> None:
    shutil.rmtree(tree.root, ignore_errors=True)
    assert make_collectable(storage) == []
    assert not tree.root.exists()


def test_blobs_in_the_making_are_not_counted(tree: Tree, storage: Storage) -> None:
    digest = digest_of(b"")
    folder = tree.blob_path(digest).parent
    folder.mkdir(parents=True)
    (folder / "data.1.tmp").write_text("part")
    assert usage(storage) == Usage(0, 0)
    shutil.rmtree(folder)
    tree.blob(b"")
    assert garbage(storage) == (1, 0)


def test_a_child_without_a_link_of_its_own_is_kept_but_not_its_layers(
    tree: Tree, storage: Storage
) -> None:
    image = tree.image("app", "image")
    tree.index("app", [image], tag="v1")
    tree.revision_path("app", image).unlink()
    config, layer = b'{"name": "image"}', b"layer of image"
    assert garbage(storage) == (2, len(config) + len(layer))


def test_the_layers_of_a_build_cache_stay_as_long_as_it_does(tree: Tree, storage: Storage) -> None:
    old, new = b"layer of before", b"layer of now"
    before = tree.cache("team/cache", [old, b"of both"], tag="main", age=20 * DAY)
    tree.cache("team/cache", [new, b"of both"], tag="main", age=15 * DAY)
    assert garbage(storage) == (0, 0)
    removals = plan_untagged(storage, {"untagged_keep": 14 * DAY}, NOW)["removals"]
    assert [removal.digest for removal in removals] == [before]
    apply(storage, removals)
    # The previous index, its layer and its configuration.
    assert garbage(storage)[0] == 3


def test_a_manifest_that_an_index_calls_a_blob_is_kept(tree: Tree, storage: Storage) -> None:
    child = tree.image("app", "amd64", age=20 * DAY)
    entry = {"mediaType": "application/x-of-ours", "digest": child, "size": 1}
    content = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    tree.tag("app", "v1", tree.manifest("app", content, 20 * DAY))
    assert plan_untagged(storage, {"untagged_keep": DAY}, NOW)["removals"] == []
