"""A job's report as an operator reads it."""

from __future__ import annotations

from typing import Any

from wharfinger.contents import lines

DAY = 1_700_000_000.0
DAMAGE = [{"sentence": "The manifest a@sha256:0 is unreadable: …", "tags": ["a:v1"]}]


def row(tag: str, *, keep: bool = False, rule: int | None = 2, reason: str = "old") -> Any:
    return {
        "repository": "team/app",
        "tag": tag,
        "digest": "sha256:0",
        "pushed": DAY,
        "keep": keep,
        "rule": rule,
        "reason": reason,
    }


def test_retention_shows_each_tag_that_went_and_why() -> None:
    rows = [row("v1"), row("latest-1"), row("v2", keep=True), row("x", keep=True, rule=None)]
    answer = {"rows": rows, "removed": 2, "damage": [], "window_seconds": 11.6}
    assert lines("retention", answer, check=False) == [
        "2 of 4 tags removed; 1 in repositories that no rule names",
        "team/app:v1        2023-11-14 22:13  rule 2  old",
        "team/app:latest-1  2023-11-14 22:13  rule 2  old",
        "their space is freed by playbooks/garbage_collect.yml or its timer",
        "pushes were refused for 12 s, pulls went on",
    ]


def test_a_dry_run_of_retention_says_what_would_be_removed() -> None:
    answer = {"rows": [row("v1")], "removed": 1, "damage": DAMAGE}
    said = lines("retention", answer, check=True)
    assert said[0] == "1 of 1 tags would be removed; 0 in repositories that no rule names"
    assert said[-1] == "Damaged: The manifest a@sha256:0 is unreadable: …"


def test_a_dry_run_says_what_would_stop_the_removals() -> None:
    held = "60 of 100 tags would go"
    answer = {"rows": [row("v1")], "removed": 1, "held": held, "doubt": "the clock is in doubt"}
    assert lines("retention", answer, check=True)[-2:] == [
        "The brake would stop this: 60 of 100 tags would go",
        "Nothing would be removed: the clock is in doubt",
    ]


def test_of_many_tags_the_first_are_shown() -> None:
    answer = {"rows": [row(f"v{number}") for number in range(1000)], "removed": 1000}
    said = lines("retention", answer, check=False)
    assert len(said) == 203
    assert said[-2] == "and 800 more"


def test_without_removals_there_is_no_table() -> None:
    assert lines("retention", {"rows": [row("v1", keep=True)], "removed": 0}, check=False) == [
        "0 of 1 tags removed; 0 in repositories that no rule names"
    ]


def test_collection_shows_the_space_that_is_free_now() -> None:
    answer = {"untagged": 3, "blobs": 7, "freed": 3 * 2**29, "window_seconds": 20.2}
    assert lines("collect", answer, check=False) == [
        "1.5 GiB freed: 3 manifests that no tag leads to, 7 blobs",
        "pushes were refused for 20 s, pulls went on",
    ]
    del answer["window_seconds"]
    assert lines("collect", answer, check=True) == [
        "1.5 GiB would be freed: 3 manifests that no tag leads to, 7 blobs"
    ]
    assert lines("collect", {"untagged": 0, "blobs": 0, "freed": 0}, check=False) == [
        "nothing to collect: everything is in use, or too young (registry_untagged_keep)"
    ]


def test_a_check_shows_how_much_was_read() -> None:
    answer = {"blobs": 12, "bytes": 2**31, "seconds": 21.4, "damage": []}
    assert lines("check_contents", answer, check=False) == [
        "12 blobs, 2 GiB, read in 21 s: nothing is damaged"
    ]
    assert lines("check_contents", answer | {"not_mirrored": 3}, check=False)[1:] == [
        "members of indexes that are not mirrored: 3"
    ]
    answer["stale"] = [{"sentence": f"The list {number} …"} for number in range(201)]
    said = lines("check_contents", answer, check=False)
    assert said[:2] == ["12 blobs, 2 GiB, read in 21 s: nothing is damaged", "The list 0 …"]
    assert said[-2:] == ["The list 199 …", "and 1 more"]
    assert lines("check_contents", {"actions": []}, check=True) == [
        "everything would be read and compared with its digest; nothing is changed"
    ]


def test_what_the_registry_cannot_read_is_not_called_damaged() -> None:
    unread = [
        {"kind": "unread manifest", "sentence": "The manifest a@sha256:0 is undamaged, but …"}
    ]
    answer = {"untagged": 0, "blobs": 1, "freed": 1, "damage": unread}
    assert lines("collect", answer, check=False)[-1] == (
        "Kept whole: The manifest a@sha256:0 is undamaged, but …"
    )
    other = {"kind": "missing child", "sentence": "An index in a names …"}
    checked = {"blobs": 1, "bytes": 1, "seconds": 1, "damage": [], "harmless": [*unread, other]}
    assert lines("check_contents", checked, check=False) == [
        "1 blobs, 1 bytes, read in 1 s: nothing is damaged",
        "The manifest a@sha256:0 is undamaged, but …",
    ]


def test_a_drill_shows_what_was_restored_and_read() -> None:
    answer = {
        **{"snapshot": "0123abcd", "sample": 15, "tags": 128, "manifests": 18, "blobs": 90},
        **{"bytes": 3 * 2**29, "speed": 2**20, "turn": 3, "turns": 12, "seconds": 61.2},
    }
    said = lines("drill", answer, check=False)
    assert said == [
        "snapshot 0123abcd: 15 of 128 tags restored, served and compared: 18 manifests, 90 blobs, "
        "1.5 GiB",
        "restored at 1 MiB per second",
        "part 3 of 12 of the repository was read and is whole; 61 s",
    ]
    del answer["speed"]
    assert lines("drill", answer, check=False) == [said[0], said[2]]
    would = "a sample of the newest backup would be restored and compared"
    assert lines("drill", {"actions": [would]}, check=True) == [would]
