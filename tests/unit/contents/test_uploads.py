"""Pushes that are under way: the layers that they have already sent stay."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.storage_tree import DAY, NOW, Tree
from wharfinger.host.contents.storage import (
    awaited_layers,
    garbage,
    named_by_manifests,
    uploads_at_rest,
)
from wharfinger.host.contents.storage.layout import Storage
from wharfinger.host.contents.storage.reading import read_manifest
from wharfinger.host.system.errors import HostError
from wharfinger.oci.manifests import Manifest


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def begun(tree: Tree, repository: str, *, age: float = 0, received: bool = True) -> None:
    """Begins an upload to a repository; its last data came `age` seconds before NOW."""
    folder = tree.root / "repositories" / repository / "_uploads" / f"upload-{age}"
    folder.mkdir(parents=True)
    paths = [folder / "startedat", *([folder / "data"] if received else []), folder]
    for path in paths:
        if path != folder:
            path.write_bytes(b"something")
    for path in paths:
        os.utime(path, (NOW - age, NOW - age))


def aged(tree: Tree, repository: str, digest: str, age: float) -> None:
    os.utime(tree.layer_path(repository, digest), (NOW - age, NOW - age))


def awaited(tree: Tree) -> Mapping[str, Mapping[str, int]]:
    return awaited_layers(Storage(tree.path), NOW)


def test_layers_of_a_push_under_way_are_awaited(tree: Tree) -> None:
    young, old = tree.layer("team/app", b"young"), tree.layer("team/app", b"yesterday")
    aged(tree, "team/app", young, 3 * 3600)
    aged(tree, "team/app", old, 2 * DAY)
    tree.layer("other/app", b"of a push that was left")
    begun(tree, "team/app", age=300)
    begun(tree, "other/app", age=2 * 3600)
    assert awaited(tree) == {"team/app": {young: 5}}


def test_a_layer_whose_blob_is_gone_is_not_awaited(tree: Tree) -> None:
    layer = tree.layer("team/app", b"gone")
    tree.blob_path(layer).unlink()
    begun(tree, "team/app")
    assert awaited(tree) == {}


def test_awaited_layers_are_not_garbage(tree: Tree) -> None:
    layer = tree.layer("team/app", b"awaited")
    tree.blob(b"nobody's")
    storage = Storage(tree.path)
    assert garbage(storage)[0] == 2
    assert garbage(storage, (), [layer]) == (1, len(b"nobody's"))


@pytest.mark.parametrize("first", [True, False], ids=["first push", "further push"])
def test_a_manifest_names_them_during_a_collection_and_afterwards_nothing_is_left(
    tree: Tree, first: bool
) -> None:
    if not first:
        tree.image("team/app", "before", tag="1")
    layer, other = tree.layer("team/app", b"one"), tree.layer("team/app", b"another")
    begun(tree, "team/app")
    storage = Storage(tree.path)
    before = sorted(tree.path.rglob("*"))
    with named_by_manifests(storage, awaited_layers(storage, NOW)):
        (repository,) = storage.repositories()
        made = [
            link.target
            for link in storage.revisions(repository)
            if tree.revision_path(repository, link.name) not in before
        ]
        manifest = read_manifest(storage, made[0])
        assert isinstance(manifest, Manifest)
        assert {layer, other} <= {content.digest for content in manifest.contents}
        data = json.loads(tree.blob_path(made[0]).read_bytes())
        assert data["layers"][0]["size"] == tree.blob_path(layer).stat().st_size or len(made) == 1
        assert garbage(storage)[0] == 0
    assert sorted(tree.path.rglob("*")) == before


def test_more_layers_than_one_manifest_names(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wharfinger.host.contents.storage.uploads._MANY", 2)
    for number in range(5):
        tree.layer("team/app", f"layer {number}".encode())
    begun(tree, "team/app")
    storage = Storage(tree.path)
    with named_by_manifests(storage, awaited_layers(storage, NOW)):
        assert len(list(storage.revisions("team/app"))) == 3
        assert garbage(storage)[0] == 0
    assert list(storage.repositories()) == []


def test_the_remains_of_a_kill_are_overwritten_and_removed(tree: Tree) -> None:
    tree.layer("team/app", b"one")
    begun(tree, "team/app")
    storage = Storage(tree.path)
    layers = awaited_layers(storage, NOW)
    first = named_by_manifests(storage, layers)
    first.__enter__()  # and never exits
    with named_by_manifests(storage, layers):
        assert len(list(storage.revisions("team/app"))) == 1
    assert list(storage.revisions("team/app")) == []


def test_what_the_collection_has_removed_meanwhile_need_not_be_removed(tree: Tree) -> None:
    tree.layer("team/app", b"one")
    begun(tree, "team/app")
    storage = Storage(tree.path)
    with named_by_manifests(storage, awaited_layers(storage, NOW)):
        (link,) = storage.revisions("team/app")
        tree.blob_path(link.target).unlink()
        tree.blob_path(link.target).parent.rmdir()
    assert list(storage.repositories()) == []


@pytest.mark.parametrize(
    ("age", "received", "at_rest"),
    [(0, True, True), (1, False, False), (-1, False, False), (60, False, True)],
    ids=["it is received", "just moved", "by another clock", "left before its first byte"],
)
def test_an_upload_that_is_being_put_in_its_place(
    tree: Tree, age: float, received: bool, at_rest: bool
) -> None:
    begun(tree, "team/app", age=age, received=received)
    assert uploads_at_rest(Storage(tree.path), NOW) is at_rest


def test_a_link_among_the_uploads_leads_nowhere(tree: Tree) -> None:
    begun(tree, "team/app")
    folder = tree.root / "repositories/team/app/_uploads"
    (folder / "planted").symlink_to("/etc")
    with pytest.raises(HostError, match="symbolic link"):
        uploads_at_rest(Storage(tree.path), NOW)
