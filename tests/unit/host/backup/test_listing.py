"""The list of a backup: what is in it, and that it is closed whatever clients do meanwhile."""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.storage_tree import NOW, Tree
from wharfinger.host.backup import listing
from wharfinger.host.backup.listing import HISTORY, LAYER, REVISION, TAG_LINK, Counts, Entry
from wharfinger.host.contents.storage import Storage
from wharfinger.host.contents.storage.layout import Link
from wharfinger.host.system.errors import HostError


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def listed(storage: Storage) -> tuple[list[Entry], Counts]:
    stream = io.StringIO()
    counts = listing.write(storage, stream)
    return list(listing.read(stream.getvalue().splitlines())), counts


def names(entries: list[Entry], kind: str) -> list[str]:
    return [f"{entry.repository}:{entry.name}" for entry in entries if entry.kind == kind]


def test_tags_manifests_and_layers_are_listed_with_their_times(tree: Tree) -> None:
    digest = tree.image("team/app", "one", tag="1.0", age=100)
    tree.image("team", "two", tag="latest", age=50)
    entries, counts = listed(Storage(tree.path))
    assert counts == Counts(repositories=2, tags=2, manifests=2, layers=4)
    assert entries == sorted(entries)
    assert names(entries, TAG_LINK) == ["team:latest", "team/app:1.0"]
    [tag] = [entry for entry in entries if entry.kind == TAG_LINK and entry.name == "1.0"]
    assert tag == Entry("team/app", TAG_LINK, "1.0", digest, int((NOW - 100) * 1e9))


def test_a_tags_history_is_listed_as_far_as_its_manifests_are_there(tree: Tree) -> None:
    first = tree.image("app", "first", tag="latest", age=200)
    second = tree.image("app", "second", tag="latest", age=100)
    third = tree.image("app", "third", tag="latest", age=50)
    tree.revision_path("app", second).unlink()
    entries, _ = listed(Storage(tree.path))
    history = {entry.digest for entry in entries if entry.kind == HISTORY}
    assert history == {first, third}


def test_an_upload_that_goes_on_is_not_listed(tree: Tree) -> None:
    tree.image("app", "one", tag="1.0")
    upload = tree.root / "repositories/app/_uploads/0f0e/data"
    upload.parent.mkdir(parents=True)
    upload.write_bytes(b"half a layer")
    entries, _ = listed(Storage(tree.path))
    assert not [entry for entry in entries if "_uploads" in entry.name]


class Changing(Storage):
    """A storage that clients change while it is read: `between` runs before the manifests' links
    are read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.between: Callable[[], object] = lambda: None

    def revisions(self, repository: str) -> Iterator[Link]:
        self.between()
        yield from super().revisions(repository)


def test_a_tag_whose_manifest_is_deleted_meanwhile_is_left_out(tree: Tree) -> None:
    gone = tree.image("app", "gone", tag="gone")
    tree.image("app", "stays", tag="stays")
    storage = Changing(tree.path)
    storage.between = lambda: tree.revision_path("app", gone).unlink()
    entries, _ = listed(storage)
    assert names(entries, TAG_LINK) == ["app:stays"]
    assert [entry for entry in entries if entry.digest == gone and entry.kind != LAYER] == []


def test_an_index_that_comes_meanwhile_is_left_out_without_its_members(tree: Tree) -> None:
    tree.image("app", "old", tag="old", age=3600)
    storage = Changing(tree.path)

    def pushed() -> None:
        # The folder was read between the members and the index, and showed only the index.
        members = [tree.image("app", "amd64"), tree.image("app", "arm64")]
        index = tree.index("app", members)
        for digest in (*members, index):
            os.utime(tree.revision_path("app", digest), (time.time(), time.time()))
        for digest in members:
            tree.revision_path("app", digest).rename(tree.path / digest[-8:])

    storage.between = pushed
    entries, _ = listed(storage)
    assert len(names(entries, REVISION)) == 1


def test_a_manifest_that_comes_meanwhile_with_all_that_it_names_is_listed(tree: Tree) -> None:
    storage = Changing(tree.path)
    tree.image("app", "old", tag="old", age=3600)

    def pushed() -> None:
        digest = tree.image("app", "new")
        os.utime(tree.revision_path("app", digest), (time.time(), time.time()))

    storage.between = pushed
    entries, _ = listed(storage)
    assert len(names(entries, REVISION)) == 2


def test_a_tag_that_is_being_moved_is_read_again(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.image("app", "one", tag="latest")
    link = tree.tag_path("app", "latest") / "current/link"
    text = link.read_bytes()
    link.write_bytes(b"")
    monkeypatch.setattr(time, "sleep", lambda _seconds: link.write_bytes(text))
    entries, counts = listed(Storage(tree.path))
    assert names(entries, TAG_LINK) == ["app:latest"]
    assert counts.unreadable == 0


def test_a_damaged_tag_is_counted_and_left_out(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.image("app", "one", tag="latest")
    (tree.tag_path("app", "latest") / "current/link").write_bytes(b"nonsense")
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    entries, counts = listed(Storage(tree.path))
    assert names(entries, TAG_LINK) == []
    assert counts.unreadable == 1


def test_a_repository_without_its_folder_of_manifests_is_listed_by_its_layers(tree: Tree) -> None:
    tree.layer("app", b"the first layer of a first push")
    entries, counts = listed(Storage(tree.path))
    assert names(entries, LAYER)
    assert counts.repositories == 1
    shutil.rmtree(tree.root / "repositories/app")
    assert listed(Storage(tree.path)) == ([], Counts())


@pytest.mark.parametrize(
    "line",
    [
        "nothing",
        "[]",
        '["app","tag","1.0","sha256:0",1]',
        '["../etc","tag","1.0","sha256:{0}",1]',
        '["app","tag","../../x","sha256:{0}",1]',
        '["app","revision","1.0","sha256:{0}",1]',
        '["app","tag","1.0","sha256:{0}",-1]',
        '["app","tag","1.0","sha256:{0}","now"]',
        '["app","upload","1.0","sha256:{0}",1]',
    ],
)
def test_a_line_that_no_backup_writes_is_refused(line: str) -> None:
    with pytest.raises(HostError) as refused:
        list(listing.read([line.replace("{0}", "0" * 64)]))
    assert str(refused.value) == "the backup's list cannot be read: line 1 is damaged"
