"""What nothing needs any more stays for a while, counted from the moment when that began."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from support.storage_tree import DAY, NOW, Tree
from wharfinger.host.contents.storage import Storage, needed_blobs, plan_retention, plan_untagged
from wharfinger.host.contents.storage.grace import (
    LEAST,
    Notes,
    decode,
    encode,
    held_blobs,
    updated_notes,
)

KEEP = 14 * DAY
HOUR = 3600.0


def going(
    storage: Storage, notes: Notes | None = None, *, now: float = NOW, keep: float = KEEP
) -> set[str]:
    """What a collection would remove."""
    removals: list[Any] = plan_untagged(storage, {"untagged_keep": keep}, now, notes)["removals"]
    return {removal.name for removal in removals}


def test_a_tag_that_moved_a_minute_ago(tree: Tree, storage: Storage) -> None:
    old = tree.image("app", "old", tag="latest", age=15 * DAY)
    tree.image("app", "new", tag="latest", age=60)
    assert going(storage) == set()
    assert going(storage, now=NOW + KEEP - 61) == set()
    assert going(storage, now=NOW + KEEP) == {f"app@{old}"}


def test_for_each_manifest_the_push_of_the_next_one_counts(tree: Tree, storage: Storage) -> None:
    """`latest` is pushed every day: each manifest goes two weeks after the next one came."""
    days = [tree.image("app", f"{age}", tag="latest", age=age * DAY) for age in range(30, -1, -1)]
    assert going(storage) == {f"app@{digest}" for digest in days[:16]}


def test_a_tag_that_was_removed_half_an_hour_ago(tree: Tree, storage: Storage) -> None:
    digest = tree.image("app", "image", age=90 * DAY)
    tree.image("app", "other", tag="v2", age=80 * DAY)
    tree.changed("app", HOUR / 2)
    assert going(storage) == set()
    assert going(storage, now=NOW + KEEP) == {f"app@{digest}"}


def test_the_timers_note_counts_if_tags_come_and_go(tree: Tree, storage: Storage) -> None:
    digest = tree.image("app", "image", age=90 * DAY)
    tree.image("app", "other", tag="v10", age=80 * DAY)
    tree.changed("app", 10 * DAY)
    notes = updated_notes(storage, {}, NOW - 10 * DAY + 600)
    for age in range(9, -1, -1):
        tree.image("app", f"new {age}", tag=f"v{age}", age=age * DAY)
        tree.changed("app", age * DAY)
        notes = updated_notes(storage, decode(encode(notes)), NOW - age * DAY + 60)
    later = NOW + 4 * DAY + 601
    assert going(storage, notes, now=later - 2) == set()
    assert going(storage, notes, now=later) == {f"app@{digest}"}
    # Without the notes, only the storage tells: that is later, never sooner.
    for data in (None, b"", b"{", b"[]", b'{"app": 7}', encode(notes)[:-9], b"[" * 10**5):
        assert decode(data) == {}
    assert going(storage, None, now=later) == set()
    assert going(storage, None, now=NOW + KEEP) == {f"app@{digest}"}


def test_a_manifest_that_was_pushed_again_stays_for_the_whole_time_again(
    tree: Tree, storage: Storage
) -> None:
    tree.image("app", "image", age=90 * DAY)
    notes = updated_notes(storage, {}, NOW - 30 * DAY)
    # A push tags it, and the tag is removed.
    tree.image("app", "image", age=2 * DAY)
    tree.changed("app", DAY)
    assert going(storage, notes) == set()
    assert going(storage, updated_notes(storage, notes, NOW - DAY)) == set()


def test_only_changed_repositories_are_read(
    tree: Tree, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        tree.image(name, name, age=DAY)
    notes = updated_notes(storage, {}, NOW)
    assert [list(note.seen.values()) for note in notes.values()] == [[(NOW, NOW - DAY)]] * 2
    read: list[str] = []
    revisions = Storage.revisions
    monkeypatch.setattr(
        Storage, "revisions", lambda self, name: read.append(name) or revisions(self, name)
    )
    assert updated_notes(storage, notes, NOW + 900) == notes
    assert read == []
    tree.changed("b", -1000)
    assert updated_notes(storage, notes, NOW + 1800)["b"].seen == notes["b"].seen
    assert read == ["b"]


def test_the_notes_are_bounded(
    tree: Tree, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wharfinger.host.contents.storage.grace._MOST", 3)
    for name in ("a", "b"):
        for number in range(2):
            tree.image(name, f"{name}{number}", age=DAY)
    assert [len(note.seen) for note in updated_notes(storage, {}, NOW).values()] == [2, 0]


def test_after_an_upgrade_nothing_waits_longer_than_the_setting(
    tree: Tree, storage: Storage
) -> None:
    """Without earlier notes, manifests of quiet repositories go at once, all others after the
    setting's time from then on."""
    quiet = tree.image("quiet", "old", age=90 * DAY)
    tree.image("quiet", "new", tag="latest", age=89 * DAY)
    busy = tree.image("busy", "old", age=90 * DAY)
    tree.image("busy", "new", tag="latest", age=89 * DAY)
    tree.changed("busy", HOUR)
    assert going(storage) == {f"quiet@{quiet}"}
    notes = updated_notes(storage, {}, NOW + 900)
    tree.changed("busy", -13 * DAY)
    assert going(storage, notes, now=NOW + 900 + KEEP) == {f"quiet@{quiet}", f"busy@{busy}"}


def test_the_members_of_an_index_stay_with_it(tree: Tree, storage: Storage) -> None:
    children = [tree.image("app", name, age=90 * DAY) for name in ("amd64", "arm64")]
    index = tree.index("app", children, tag="latest", age=90 * DAY)
    notes = updated_notes(storage, {}, NOW - 60 * DAY)
    tree.image("app", "new", tag="latest", age=60)
    assert going(storage, notes) == set()
    assert going(storage, notes, now=NOW + KEEP) == {
        f"app@{digest}" for digest in (index, *children)
    }


def test_the_deletion_of_a_manifest_counts_for_its_referrers_and_members(
    tree: Tree, storage: Storage
) -> None:
    children = [tree.image("app", name, age=90 * DAY) for name in ("amd64", "arm64")]
    index = tree.index("app", children, age=90 * DAY)
    referrer = tree.image("app", "signature", subject=index, age=90 * DAY)
    other = tree.image("app", "other", age=90 * DAY)
    notes = updated_notes(storage, {}, NOW - 60 * DAY)
    tree.changed("app", HOUR, index)
    assert going(storage, notes) == {f"app@{other}"}
    assert going(storage, notes, now=NOW + KEEP) == {
        f"app@{digest}" for digest in (referrer, other, *children)
    }


def test_with_the_smallest_setting_age_counts_from_the_push(tree: Tree, storage: Storage) -> None:
    """On a full disk, a manifest that lost its tag a minute ago goes; one that is being pushed
    stays."""
    moved = tree.image("app", "moved", tag="latest", age=2 * HOUR)
    removed = tree.image("app", "removed", age=3 * HOUR)
    tree.image("app", "pushed now", age=60)
    tree.image("app", "new", tag="latest", age=60)
    tree.changed("app", 60)
    assert going(storage, keep=LEAST) == {f"app@{digest}" for digest in (moved, removed)}
    assert going(storage, keep=LEAST + 1) == set()


def test_signatures_stay_as_long_as_their_untagged_manifest(tree: Tree, storage: Storage) -> None:
    old = tree.image("app", "old", tag="latest", age=40 * DAY)
    tree.image("app", "signature", tag=f"{old.replace(':', '-')}.sig", age=40 * DAY)
    tree.image("app", "new", tag="latest", age=60)
    rule = {"number": 1, "on": ["app"], "newest": 1}
    settings = {"retention": [rule], "untagged_keep": KEEP}
    assert plan_retention(storage, settings, NOW)["removals"] == []
    assert len(plan_retention(storage, settings, NOW + KEEP)["removals"]) == 1


def test_layers_that_no_manifest_names_stay_for_the_same_time(tree: Tree, storage: Storage) -> None:
    image = tree.image("app", "image", tag="latest", age=90 * DAY)
    young, old = tree.layer("app", b"young"), tree.layer("app", b"old")
    os.utime(tree.layer_path("app", young), (NOW - 13 * DAY, NOW - 13 * DAY))
    os.utime(tree.layer_path("app", old), (NOW - 15 * DAY, NOW - 15 * DAY))
    tree.blob(b"of no repository")
    first = tree.layer("new", b"of a first push")
    kept = needed_blobs(storage)
    assert image in kept
    stays = {"app": {young: 5}, "new": {first: 15}}
    assert held_blobs(storage, KEEP, NOW, kept) == stays
    assert held_blobs(storage, None, NOW, kept) == stays
    assert held_blobs(storage, LEAST, NOW, kept) == {"new": {first: 15}}


def test_blobs_of_a_deleted_manifest_stay_for_the_same_time(tree: Tree, storage: Storage) -> None:
    tree.image("app", "other", tag="latest", age=90 * DAY)
    digest = tree.image("app", "image", age=90 * DAY, layers=[b"layer"])
    for path in tree.root.rglob("_layers/**/link"):
        os.utime(path, (NOW - 90 * DAY, NOW - 90 * DAY))
    tree.changed("app", HOUR / 2, digest)
    held = held_blobs(storage, KEEP, NOW, needed_blobs(storage))["app"]
    assert digest in held
    assert sorted(held.values())[0] == len(b"layer")
    assert len(held) == 3
    assert held_blobs(storage, KEEP, NOW + KEEP, needed_blobs(storage)) == {}
    assert held_blobs(storage, LEAST, NOW, needed_blobs(storage)) == {}


def test_the_notes_are_json(tree: Tree, storage: Storage) -> None:
    tree.image("app", "image", age=DAY)
    notes = updated_notes(storage, {}, NOW)
    assert decode(encode(notes)) == notes
    endless = json.dumps({"app": {"changed": [1e400, 0], "seen": {}}}).encode()
    assert decode(endless) == {}
