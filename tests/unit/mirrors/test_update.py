"""An update of mirror.lock: the new lines, and what the operator reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wharfinger.deployment.mirror_lock import Locked, parse, written
from wharfinger.mirrors import Mirror, Update, updated

A, B, C = ("sha256:" + letter * 64 for letter in "abc")
FROM, TO = "docker.io/library/debian", "base/debian"
MONDAY, TUESDAY = "2026-11-30", "2026-12-01"


def mirror(*tags: str, origin: str = FROM, to: str = TO, number: int = 1) -> Mirror:
    host, _, source = origin.partition("/")
    return Mirror(number, host, source, to, tags)


def line(tag: str, digest: str = A, date: str = MONDAY, source: str = FROM, to: str = TO) -> Locked:
    return Locked(to, tag, digest, date, source)


def update(
    lock: Sequence[Locked],
    tags: Mapping[str, str],
    *selected: str,
    day: str = TUESDAY,
    **more: Any,
) -> Update:
    """An update of one mirror, whose upstream has `tags`."""
    return updated(lock, [mirror(*selected, **more)], [{"tags": tags, "problem": None}], day)


def test_a_first_update_locks_what_is_selected() -> None:
    done = update([], {"13": A, "12.1": B}, "13", "12.*")
    assert done.lines == [line("12.1", B, TUESDAY), line("13", A, TUESDAY)]
    assert done.changes == [f"new    {TO}:12.1 is {B}", f"new    {TO}:13 is {A}"]
    assert done.problems == []


def test_what_upstream_has_unchanged_keeps_its_day_and_is_not_mentioned() -> None:
    assert update([line("13")], {"13": A}, "13") == Update([line("13")])


def test_what_a_moved_tag_had_stays_under_the_day_of_its_lock() -> None:
    done = update([line("13")], {"13": B}, "13")
    assert done.lines == [line("13", B, TUESDAY), line("13-20261130")]
    assert done.changes == [
        f"moved  {TO}:13 from {A} to {B}; the old one stays as {TO}:13-20261130"
    ]
    # The dated tag is no tag that upstream has lost, even where a pattern selects it.
    assert update(done.lines, {"13": B}, "13*") == Update(done.lines)


def test_a_tag_that_moves_several_times_a_day_loses_nothing() -> None:
    lines = update([], {"13": A}, "13").lines
    for digest in (B, C, A):
        lines = update(lines, {"13": digest}, "13").lines
    assert lines == [
        line("13", A, TUESDAY),
        line("13-20261201", A, TUESDAY),
        line("13-20261201.2", B, TUESDAY),
        line("13-20261201.3", C, TUESDAY),
    ]


def test_a_tag_that_upstream_has_no_longer_keeps_its_line() -> None:
    done = update([line("12.1"), line("13")], {"13": A}, "13", "12.*")
    assert done.lines == [line("12.1"), line("13")]
    assert done.changes == [f"gone   {TO}:12.1 is no longer at {FROM}; it stays here"]
    assert done.problems == []


def test_a_tag_that_is_no_longer_selected_keeps_its_line_silently() -> None:
    assert update([line("12.1"), line("13")], {"13": A}, "13").changes == []


def test_a_name_that_leads_nowhere_is_a_mistake_and_the_others_are_locked() -> None:
    done = update([], {"13": A}, "13", "41", ">=9000")
    assert done.lines == [line("13", A, TUESDAY)]
    assert done.problems == [
        f'mirror 1 ({FROM}): it has no tag for "41": correct it in registry_mirrors',
        f'mirror 1 ({FROM}): it has no tag for ">=9000": correct it in registry_mirrors',
    ]


def test_a_mirror_that_could_not_be_looked_at_keeps_its_lines_and_the_others_go_on() -> None:
    other = mirror("1", origin="quay.io/team/app", to="app", number=2)
    done = updated(
        [line("13")],
        [mirror("13"), other],
        [{"problem": "docker.io has not answered within 10 s"}, {"tags": {"1": B}}],
        TUESDAY,
    )
    assert done.lines == [line("1", B, TUESDAY, other.origin, "app"), line("13")]
    assert done.problems == [f"mirror 1 ({FROM}): docker.io has not answered within 10 s"]


def test_lines_of_others_stay() -> None:
    made = line("13", C, MONDAY, "trixie@2026-11-30T14:13:00Z", "base/slim")
    removed = line("1", C, MONDAY, "quay.io/was/here", "old")
    assert update([made, removed], {"13": A}, "13").lines == [
        line("13", A, TUESDAY),
        made,
        removed,
    ]


def test_an_entry_with_another_upstream_takes_over_what_is_equal() -> None:
    mirrored = "mirror.example.com/debian"
    done = update([line("13"), line("12", B)], {"13": A, "12": C}, "*", origin=mirrored)
    assert done.lines == [
        line("12", C, TUESDAY, mirrored),
        line("12-20261130", B),
        line("13", A, TUESDAY, mirrored),
    ]
    assert done.changes == [
        f"moved  {TO}:12 from {B} to {C}; the old one stays as {TO}:12-20261130",
        f"source {TO}:13 comes from {mirrored} now, with the same digest",
    ]


def test_the_longest_tag_has_a_dated_tag_that_can_be_read_again() -> None:
    longest = "v" * 128
    lines = update([line(longest)], {longest: B}, longest).lines
    assert parse(written(lines)) == lines
    assert len(lines) == 2
