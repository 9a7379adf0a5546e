"""The rules: which tags stay, and the reason that a row states."""

from __future__ import annotations

import re
from typing import Any

import pytest

from support.storage_tree import DAY, NOW
from wharfinger.host.contents.storage.model import Contents, Revision, Tag
from wharfinger.host.contents.storage.retention import Rule, duration, plan, rule_for

DIGEST = f"sha256:{1:064x}"


def decisions(tags: dict[str, float], **rule: Any) -> dict[str, tuple[bool, str]]:
    """For each of these tags (with its age in days): whether it stays, and why."""
    contents = Contents(
        "app",
        {name: Tag(DIGEST, NOW - age * DAY) for name, age in tags.items()},
        {DIGEST: Revision(0)},
    )
    rows, _ = plan(contents, [Rule.of({"number": 3, "on": ["^app$"], **rule})], 0, NOW)
    assert {row.rule for row in rows} == {3}
    return {row.tag: (row.keep, row.reason) for row in rows}


@pytest.mark.parametrize(
    ("rule", "age", "expected"),
    [
        ({"newest": 1}, 0, (True, "among the newest 1")),
        ({"newest": 1}, 9, (False, "not among the newest 1")),
        ({"newer_than": 5 * DAY}, 3, (True, "pushed 3 days ago")),
        ({"newer_than": 5 * DAY}, 5, (True, "pushed 5 days ago")),
        ({"newer_than": 5 * DAY}, 9, (False, "older than 5 days")),
        ({"newer_than": 5 * DAY}, -1, (True, "pushed less than a minute ago")),
        ({"newest": 1, "newer_than": 5 * DAY}, 9, (False, "older, and not among the newest 1")),
        ({"matching": ["w*", "v?"]}, 9, (True, "matches v?")),
        ({"matching": ["V*", "w"]}, 9, (False, "matches none of V*, w")),
        ({"newest": 1, "matching": ["v*"]}, 9, (True, "matches v*")),
        ({"newest": None, "newer_than": None, "matching": ["v1"]}, 9, (True, "matches v1")),
    ],
)
def test_a_tag_stays_if_any_condition_keeps_it(
    rule: dict[str, Any], age: float, expected: tuple[bool, str]
) -> None:
    assert decisions({"v1": age, "newest": 1}, **rule)["v1"] == expected


def test_tags_of_one_moment_stay_together() -> None:
    tags = {"v1": 2.0, "v2": 2.0, "v10": 2.0, "new": 1.0, "old": 3.0}
    decided = decisions(tags, newest=2)
    assert [name for name, (keep, _) in decided.items() if keep] == ["new", "v1", "v2", "v10"]
    assert list(decided) == ["new", "v1", "v2", "v10", "old"]


def test_the_first_rule_that_names_the_repository_decides() -> None:
    rules = [
        Rule(1, (re.compile("^team/[^/]+$"),)),
        Rule(2, (re.compile("^other$"), re.compile("^team/.+$"))),
    ]
    deciding = [rule_for(name, rules) for name in ("team/app", "team/app/deep", "other", "third")]
    assert [rule and rule.number for rule in deciding] == [1, 2, 2, None]


def test_a_tag_of_a_referrer_is_not_counted_and_stays_with_its_subject() -> None:
    subject, referrer = DIGEST, f"sha256:{2:064x}"
    revisions = {subject: Revision(0), referrer: Revision(0, subject=subject)}
    tags = {"v1": Tag(subject, 1), "sbom": Tag(referrer, 2)}
    rule = Rule.of({"number": 1, "on": ["app"], "newest": 1})
    rows, removals = plan(Contents("app", tags, revisions), [rule], 0, NOW)
    assert removals == []
    assert {row.tag: row.reason for row in rows} == {
        "v1": "among the newest 1",
        "sbom": f"belongs to {subject}",
    }
    del tags["v1"]
    _, removals = plan(Contents("app", tags, revisions), [rule], 0, NOW)
    assert [removal.name for removal in removals] == ["app:sbom"]
    rule = Rule.of({"number": 1, "on": ["app"], "matching": ["sbom"]})
    _, removals = plan(Contents("app", tags, revisions), [rule], 0, NOW)
    assert removals == []


def test_durations_are_given_in_their_largest_unit() -> None:
    assert [duration(seconds) for seconds in (0, 59, 60, 7199, 7200, DAY, 400 * DAY)] == [
        "less than a minute",
        "less than a minute",
        "1 minute",
        "1 hour",
        "2 hours",
        "1 day",
        "400 days",
    ]


def test_in_a_damaged_repository_no_signature_goes() -> None:
    signature = f"sha256:{2:064x}"
    contents = {DIGEST: Revision(0), signature: Revision(0)}
    tags = {DIGEST.replace(":", "-") + ".sig": Tag(signature, 1)}
    rule = Rule.of({"number": 1, "on": ["app"], "newest": 1})
    for damaged in (False, True):
        rows, removals = plan(Contents("app", tags, contents, damaged), [rule], 0, NOW)
        assert [row.keep for row in rows] == [damaged]
        assert len(removals) == (not damaged)
