"""Manifests that are set aside for a collection and come back whatever happens."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from support.storage_tree import Tree
from wharfinger.host.contents.storage import Storage, collectable, examine, restore
from wharfinger.host.contents.storage.aside import put_aside
from wharfinger.host.system.errors import HostError
from wharfinger.oci.digests import digest_of
from wharfinger.oci.manifests import Manifest, parse

UNREADABLE = b'{"schemaVersion": 2, "layers": 5, "layers": null}'


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "aside.json"


def everything(tree: Tree) -> dict[str, tuple[bytes, int]]:
    """All files below the storage, with their content and time."""
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in tree.path.rglob("*")
        if path.is_file()
    }


def named(storage: Storage, repository: str, before: set[str]) -> list[list[str]]:
    """What the manifests that were added since then refer to."""
    names = []
    for link in storage.revisions(repository):
        if link.name not in before:
            manifest = parse(storage.manifest(link.name) or b"")
            assert isinstance(manifest, Manifest)
            names.append([reference.digest for reference in manifest.references])
    return names


def test_nothing_is_written_if_nothing_is_special(
    tree: Tree, storage: Storage, journal: Path
) -> None:
    tree.image("app", "image", tag="v1")
    before = everything(tree)
    with collectable(storage, journal) as made:
        assert (made, everything(tree)) == ([], before)
        assert not journal.exists()
    restore(journal)


def test_a_manifest_that_the_registry_cannot_read_is_hidden_and_its_blobs_are_named(
    tree: Tree, storage: Storage, journal: Path
) -> None:
    unread = tree.manifest("app", UNREADABLE, 500)
    image = tree.image("app", "image", tag="v1")
    layer = tree.layer("app", b"layer")
    before = everything(tree)
    with collectable(storage, journal):
        assert not tree.revision_path("app", unread).exists()
        (names,) = named(storage, "app", {image})
        assert {unread, layer, digest_of(b"layer of image")} <= set(names)
    assert everything(tree) == before
    assert not journal.exists()


def test_awaited_layers_are_named_too(tree: Tree, storage: Storage, journal: Path) -> None:
    unread = tree.manifest("app", UNREADABLE, 500)
    own, other = tree.blob(b"own"), tree.blob(b"other")
    before = everything(tree)
    with collectable(storage, journal, awaited={"app": {own: 3}, "team": {other: 5}}):
        (names,) = named(storage, "app", set())
        assert set(names) == {unread, own}
        (names,) = named(storage, "team", set())
        assert set(names) == {other}
    assert everything(tree) == before


class Killed(BaseException):
    """The process ends at this point."""


@pytest.mark.parametrize("moment", range(1, 4))
def test_the_end_of_the_maintenance_undoes_a_killed_run(
    tree: Tree,
    storage: Storage,
    journal: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: int,
) -> None:
    for end in (b"", b" ", b"  "):
        tree.manifest("app", UNREADABLE + end, 500)
    before = everything(tree)
    left = [moment]
    original = os.rename

    def rename(*arguments: str, **options: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        original(*arguments, **options)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(Killed):
        put_aside(storage, examine(storage)[1].hidden, journal)
    assert len(everything(tree).keys() - before.keys()) == moment - 1
    restore(journal)
    assert everything(tree) == before
    assert not journal.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"storage": 1, "hidden": []}', '{"hidden": []}'])
def test_a_damaged_journal_is_an_error_that_says_what_to_do(journal: Path, text: str) -> None:
    journal.write_text(text)
    with pytest.raises(HostError) as caught:
        restore(journal)
    assert str(caught.value) == (
        f"{journal} is damaged: rename each file `link.aside` in the registry's storage to `link`, "
        "then remove this file"
    )
    assert journal.exists()


def test_a_manifest_pushed_again_after_a_kill_stays(
    tree: Tree, storage: Storage, journal: Path
) -> None:
    digest = tree.manifest("app", UNREADABLE, 500)
    put_aside(storage, [("app", digest)], journal)
    tree.manifest("app", UNREADABLE, 7)
    now = tree.revision_path("app", digest).stat().st_mtime
    restore(journal)
    assert tree.revision_path("app", digest).stat().st_mtime == now
    assert [path.name for path in tree.revision_path("app", digest).parent.iterdir()] == ["link"]


def test_a_repository_that_is_gone_after_a_kill_stays_gone(
    tree: Tree, storage: Storage, journal: Path
) -> None:
    digest = tree.manifest("app", UNREADABLE, 500)
    put_aside(storage, [("app", digest)], journal)
    shutil.rmtree(tree.root / "repositories/app")
    restore(journal)
    assert not journal.exists()
