"""Removals as planned, and a kill after each of their steps."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.storage_tree import DAY, NOW, Tree
from wharfinger.host.contents.storage import Storage, apply, plan_retention, plan_untagged
from wharfinger.host.contents.storage.model import Removal
from wharfinger.host.contents.storage.plans import read_repository

SETTINGS = {
    "retention": [{"number": 1, "on": [".*"], "newest": 1}],
    "untagged_keep": 14 * DAY,
}


class Killed(BaseException):
    """Like a SIGKILL: nothing runs after it."""


def fill(tree: Tree) -> str:
    """Fills a storage: `latest` moved twice, and an old tag has a signature. Returns the digest
    that stays."""
    for age in (60, 40):
        tree.image("app", f"day {age}", tag="latest", age=age * DAY)
    tree.image("app", "new", tag="latest", age=20 * DAY)
    old = tree.image("app", "old", tag="v1", age=50 * DAY)
    tree.image("app", "signature", tag=f"{old.replace(':', '-')}.sig", age=50 * DAY)
    return tree.image("app", "new", tag="latest", age=20 * DAY)


def everything(storage: Storage) -> list[str]:
    """Runs retention, and long afterwards the removal of untagged revisions."""
    actions = apply(storage, plan_retention(storage, SETTINGS, NOW)["removals"])
    Tree(storage.path).quiet()
    return actions + apply(storage, plan_untagged(storage, SETTINGS, NOW)["removals"])


def files(tree: Tree) -> set[str]:
    """All paths below the repositories, empty folders included."""
    top = tree.root / "repositories"
    return {path.relative_to(top).as_posix() for path in top.rglob("*")}


def test_all_that_nothing_needs_goes_and_the_rest_stays(tree: Tree, storage: Storage) -> None:
    kept = fill(tree)
    actions = everything(storage)
    assert len(actions) == len(set(actions)) == 6
    hexes = kept.split(":")[1]
    manifests = {path for path in files(tree) if "/_manifests/" in path}
    assert {path for path in manifests if path.endswith("/link")} == {
        f"app/_manifests/revisions/sha256/{hexes}/link",
        "app/_manifests/tags/latest/current/link",
        f"app/_manifests/tags/latest/index/sha256/{hexes}/link",
    }
    assert {path for path in manifests if len(Path(path).name) == 64 and hexes not in path} == set()
    assert everything(storage) == []


def test_each_removal_is_reported(tree: Tree, storage: Storage) -> None:
    digest = tree.image("app", "old", tag="v1", age=50 * DAY)
    tree.image("app", "new", tag="v2", age=DAY)
    tree.image("app", "left over", tag="v3", age=DAY)
    (tree.tag_path("app", "v3") / "current/link").unlink()
    assert everything(storage) == [
        f"app:v1: removed, it named {digest}",
        "app:v3: removed, an interrupted push or removal had left it",
        f"app@{digest}: removed, nothing needs it",
    ]


def changes(monkeypatch: pytest.MonkeyPatch, before: Callable[[], None]) -> None:
    """Calls `before` before each change on disk."""
    for name in ("unlink", "rmdir", "fsync"):
        original: Callable[..., Any] = getattr(os, name)

        def change(*args: Any, _original: Callable[..., Any] = original, **kwargs: Any) -> Any:
            before()
            return _original(*args, **kwargs)

        monkeypatch.setattr(os, name, change)


def after_each_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fill: Callable[[Tree], str]
) -> Iterator[tuple[Tree, Storage, str]]:
    """The storage that `fill` filled, with its answer, after a removal that was killed before each
    of its changes on disk, and finally after one that was completed."""
    for moment in range(1000):
        tree = Tree(tmp_path / str(moment))
        kept = fill(tree)
        storage = Storage(tree.path)
        killed = False
        with monkeypatch.context() as patched:
            left = iter(range(moment))

            def count(steps: Iterator[int] = left) -> None:
                if next(steps, None) is None:
                    raise Killed

            changes(patched, count)
            try:
                everything(storage)
            except Killed:
                killed = True
        yield tree, storage, kept
        if not killed:
            return


def test_a_kill_at_any_moment_leaves_nothing_that_the_next_run_does_not_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = 0
    for tree, storage, kept in after_each_kill(tmp_path, monkeypatch, fill):
        moments += 1
        for link in storage.tags("app"):
            # A tag is complete or unknown to distribution. It never names a manifest that is gone.
            assert link.problem in ("", "missing")
            assert not link.target or storage.revision("app", link.target) is not None
        assert all(not link.problem for link in storage.revisions("app"))
        assert plan_untagged(storage, SETTINGS, NOW)["damage"] == []
        everything(storage)
        assert [link.target for link in storage.tags("app")] == [kept]
        assert [link.name for link in storage.revisions("app")] == [kept]
        assert not [path for path in files(tree) if path.endswith(("v1", ".sig"))]
    assert moments > 21


def signed(tree: Tree, name: str, age: float) -> str:
    """A tagged image with a list of two referrers, the first of which has a referrer of its own.
    That list was written twice. Everything is old except the image and its tag."""
    image = tree.image("app", name, tag=name, age=age)
    first, second = (
        tree.image("app", f"{kind} of {name}", subject=image, age=90 * DAY)
        for kind in ("signature", "sbom")
    )
    deep = tree.image("app", f"signature of sbom of {name}", subject=first, age=90 * DAY)
    tree.index("app", [deep], tag=first.replace(":", "-"), age=90 * DAY)
    tree.index("app", [first], tag=image.replace(":", "-"), age=90 * DAY)
    tree.index("app", [first, second], tag=image.replace(":", "-"), age=90 * DAY)
    return image


def test_a_kill_at_any_moment_leaves_no_list_that_names_what_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images go or stay together with their signatures. Previous lists have no tag."""

    def images(tree: Tree) -> str:
        signed(tree, "old", 60 * DAY)
        return signed(tree, "new", DAY)

    moments = 0
    for _, storage, kept in after_each_kill(tmp_path, monkeypatch, images):
        moments += 1
        _nothing_is_missing(storage)
        everything(storage)
        _nothing_is_missing(storage)
        contents, _, _ = read_repository(storage, "app")
        names = {kept.replace(":", "-"), "new"}
        assert set(contents.tags) > names and len(contents.tags) == 3
        # The image, three referrers and two lists, without the previous one.
        assert len(contents.revisions) == 6
        assert len(contents.revisions[contents.tags[kept.replace(":", "-")].digest].children) == 2
    assert moments > 21


def _nothing_is_missing(storage: Storage) -> None:
    contents, damage, _ = read_repository(storage, "app")
    assert damage == []
    for tag in contents.tags.values():
        assert set(contents.revisions[tag.digest].children) <= set(contents.revisions)


def test_a_tag_that_was_moved_or_pushed_again_stays(tree: Tree, storage: Storage) -> None:
    for name in ("moved", "again", "same"):
        tree.image("app", name, tag=name, age=50 * DAY)
    other = tree.image("app", "newest", tag="newest", age=DAY)
    removals = plan_retention(storage, SETTINGS, NOW)["removals"]
    tree.tag("app", "moved", other, age=50 * DAY)
    tree.image("app", "again", tag="again", age=0)
    assert [action.split(":")[1] for action in apply(storage, removals)] == ["same"]


def test_a_revision_that_was_pushed_again_or_tagged_stays(tree: Tree, storage: Storage) -> None:
    tagged, again, old = (tree.image("app", name, age=50 * DAY) for name in ("1", "2", "3"))
    removals = plan_untagged(storage, SETTINGS, NOW)["removals"]
    assert len(removals) == 3
    tree.tag("app", "now", tagged)
    tree.image("app", "2", age=0)
    assert apply(storage, removals) == [f"app@{old}: removed, nothing needs it"]
    assert storage.revision("app", again) is not None


def test_a_leftover_that_became_a_tag_stays(tree: Tree, storage: Storage) -> None:
    digest = tree.image("app", "image", tag="v1")
    assert apply(storage, [Removal("app", "", "v1")]) == []
    assert storage.tag("app", "v1") is not None
    assert apply(storage, [Removal("app", digest, "gone"), Removal("gone", digest)]) == []


def test_nothing_is_removed_through_a_symbolic_link(tree: Tree, storage: Storage) -> None:
    outside = Tree(tree.path.parent / "outside")
    digest = outside.image("app", "image", tag="v1", age=50 * DAY)
    tags = tree.tag_path("app", "v1").parent
    tags.mkdir(parents=True)
    (tags / "v1").symlink_to(outside.tag_path("app", "v1"))
    (tags / "v2").mkdir()
    (tags / "v2/current").symlink_to(outside.tag_path("app", "v1") / "current")
    for name in ("v1", "v2"):
        pushed = NOW - 50 * DAY
        assert apply(storage, [Removal("app", digest, name, pushed)]) == []
    assert (outside.tag_path("app", "v1") / "current/link").read_text() == digest


def test_a_leftover_whose_link_came_back_broken_stays(tree: Tree, storage: Storage) -> None:
    tree.image("app", "image", tag="v1")
    path = tree.tag_path("app", "v1") / "current/link"
    path.write_text("")
    assert apply(storage, [Removal("app", "", "v1")]) == []
    assert path.exists()


def test_a_tag_goes_with_its_current_link_whatever_else_is_left(
    tree: Tree, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tree)
    removals = plan_retention(storage, SETTINGS, NOW)["removals"]
    removed: list[str] = []
    original = os.unlink

    def unlink(path: str, *, dir_fd: int) -> None:
        removed.append(str(Path(f"/proc/self/fd/{dir_fd}").readlink()))
        original(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink)
    apply(storage, removals)
    first = {
        Path(path).relative_to(tree.tag_path("app", "")).parts[0]: path for path in removed[::-1]
    }
    assert set(first) == {removal.tag for removal in removals}
    assert {Path(path).name for path in first.values()} == {"current"}
