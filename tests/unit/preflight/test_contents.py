"""Retention, collection and check: each mistake's message, word for word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Strings = Callable[..., list[str]]

COLLECTED = {"registry_gc_schedule": "sun 03:30"}
SCHEDULE = 'daily 03:30, sun 03:30, monthly 03:30, or "" for never'
AGAIN = "write 12h, 30d or 2w"
EXAMPLE = '`{on: "team/**", newest: 10}`'
KEYS = "on, newest, newer_than, matching"
NO_TAG = (
    "cannot be a tag: tags are letters, digits, dots, hyphens and underscores, and do not begin "
    "with a dot or hyphen"
)


def rule(**changes: Any) -> dict[Any, Any]:
    """A rule without a mistake, with these changes."""
    return {"on": "team/**", "newest": 10, **changes}


def test_rules_without_a_mistake(warnings: Strings) -> None:
    rules = [
        {"on": "team/**", "newest": 10, "newer_than": "30d", "matching": ["v*", "latest"]},
        {"on": ["a/*", "b"], "matching": "?.?"},
        {True: "all", "newer_than": "2w"},  # YAML 1.1 reads `on` as this
    ]
    assert warnings(registry_retention=rules, **COLLECTED) == []
    assert warnings(registry_retention=[]) == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {},
            f"is a mapping: write a list of rules, as in `- {EXAMPLE[1:]}, or [] to keep every tag",
        ),
        (
            None,
            f"is nothing (null): write a list of rules, as in `- {EXAMPLE[1:]}, "
            "or [] to keep every tag",
        ),
    ],
)
def test_rules_that_are_not_a_list(errors: Strings, value: object, message: str) -> None:
    assert errors(registry_retention=value) == [f"registry_retention: {message}"]


@pytest.mark.parametrize(
    ("entry", "messages"),
    [
        ("team/**", [f"is text: write a mapping of on and what to keep, as in {EXAMPLE}"]),
        (
            {},
            [
                'on is missing: write, for example, on: "team/**"',
                "does not say what to keep, so every tag would be removed: write newest, "
                "newer_than or matching",
            ],
        ),
        (rule(keep=3), ['"keep" is an unknown key: write newest']),
        (rule(newer_then="1d"), ['"newer_then" is an unknown key: write newer_than']),
        (rule(older_than="1d"), ['"older_than" is an unknown key: write newer_than']),
        (rule(why="x"), [f'"why" is an unknown key: remove it, the keys are {KEYS}']),
        (rule() | {3: 4}, [f"has a number as a key: the keys are {KEYS}"]),
        (rule() | {True: "x"}, ["on is written twice: remove one"]),
        # Repositories: the messages are those of registry_access.
        (rule(on=[]), ['on is empty: write, for example, on: "team/**"']),
        (rule(on={"a": 1}), ['on has a mapping: write text, for example on: "team/**"']),
        (rule(on=["a", "a"]), ['on has "a" twice: remove one']),
        (rule(on=["a", "all"]), ["on has all, which includes the others: write on: all alone"]),
        (
            rule(on="team/app:v1"),
            ['on: "team/app:v1" has a tag: rules are about repositories, write "team/app"'],
        ),
        (
            rule(on="{user}/**"),
            [
                'on: "{user}/**" has {user}, and no user is signed in when tags are removed: '
                'write "*/**", or the name itself'
            ],
        ),
        # newest
        (
            rule(newest=0),
            [
                "newest is 0: write 1 or more, or leave it out and write what to keep as "
                "newer_than or matching"
            ],
        ),
        (rule(newest="ten"), ['newest is "ten": write a whole number, for example newest: 10']),
        (rule(newest=1.5), ["newest is a number: write a whole number, for example newest: 10"]),
        (
            rule(newest=True),
            ["newest is true or false: write a whole number, for example newest: 10"],
        ),
        (
            rule(newest=None),
            ["newest is nothing (null): write a whole number, for example newest: 10"],
        ),
        # newer_than
        (rule(newer_than="soon"), [f'newer_than is "soon", which is not a duration: {AGAIN}']),
        (
            rule(newer_than=None),
            [f"newer_than is nothing (null), which is not a duration: {AGAIN}"],
        ),
        (
            rule(newer_than="0d"),
            [f"newer_than is 0, which keeps nothing: {AGAIN}, or leave it out"],
        ),
        (
            rule(newer_than=30),
            ["newer_than is 30 without a unit, which would be seconds: write 30d for days, or 30s"],
        ),
        # matching
        (rule(matching=[]), ['matching is empty: write, for example, matching: ["v*", latest]']),
        (
            rule(matching=[1.0]),
            ["matching has a number to YAML: write the tag in quotation marks"],
        ),
        (
            rule(matching=None),
            ['matching has nothing (null): write text, for example matching: ["v*", latest]'],
        ),
        (rule(matching=["v*", "v*"]), ['matching has "v*" twice: remove one']),
        (
            rule(matching=""),
            ['matching: an empty pattern matches nothing: write "*" for every tag'],
        ),
        (rule(matching=" v*"), ['matching: " v*" has spaces around it: write "v*"']),
        (
            rule(matching="^v.*$"),
            [
                'matching: "^v.*$" looks like a regular expression, which patterns are not: '
                'write * for any characters and ? for one, as in "v*"'
            ],
        ),
        (
            rule(matching="v*, latest"),
            ['matching: "v*, latest" has several patterns: write a list, as in ["v*", latest]'],
        ),
        (
            rule(matching="v[0-9]"),
            [
                'matching: "v[0-9]" has a wildcard that patterns do not know: '
                "write * for any characters and ? for one"
            ],
        ),
        (
            rule(matching="app@sha256:00"),
            ['matching: "app@sha256:00" has a digest: write a tag\'s name, as in latest'],
        ),
        (
            rule(matching="team/app:v*"),
            ['matching: "team/app:v*" names a repository, which on does: write "v*"'],
        ),
        (rule(matching="-x"), [f'matching: "-x" {NO_TAG}']),
        (rule(matching="größe"), [f'matching: "größe" {NO_TAG}']),
        (
            rule(matching="x" * 129),
            [
                f'matching: "{"x" * 79}…" is longer than the 128 characters of a tag: '
                "write a shorter one"
            ],
        ),
    ],
)
def test_a_rule_with_a_mistake(errors: Strings, entry: object, messages: list[str]) -> None:
    problems = errors(registry_retention=[{"on": "first", "newest": 1}, entry], **COLLECTED)
    assert problems == [f"registry_retention, rule 2: {message}" for message in messages]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([rule(), rule()], "rule 2: says the same as rule 1: remove one of them"),
        (
            [rule(on="all"), rule(on="team/app")],
            "rule 2: never decides anything, since rule 1 always answers first: "
            "remove it, or move it above rule 1",
        ),
        (
            [rule(on="**"), rule(on="all", newest=3)],
            "rule 2: never decides anything, since rule 1 always answers first: "
            "remove it, or move it above rule 1",
        ),
        (
            [rule(on="a/*"), rule(on="b"), rule(on=["a/x", "b"])],
            "rule 3: never decides anything, since rules 1 and 2 always answer first: "
            "remove it, or move it above rule 1",
        ),
    ],
)
def test_a_rule_that_earlier_ones_always_answer(
    errors: Strings, rules: list[Any], message: str
) -> None:
    assert errors(registry_retention=rules) == [f"registry_retention, {message}"]


def test_tags_of_signatures_go_with_what_they_sign(warnings: Strings) -> None:
    for word in ("sha256-*", "*.sig"):
        assert warnings(registry_retention=[rule(matching=["v*", word])], **COLLECTED) == [
            f'registry_retention, rule 1: matching: "{word}" names signatures, which stay and go '
            "with what they sign: remove it, or write the pattern of the tags themselves"
        ]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("registry_gc_schedule", "03:30", "'03:30' is not a schedule: write daily 03:30"),
        ("registry_gc_schedule", "weekly", f"'weekly' is not a schedule: write {SCHEDULE}"),
        (
            "registry_gc_schedule",
            "daily 24:00",
            f"'daily 24:00' is not a schedule: write {SCHEDULE}",
        ),
        (
            "registry_gc_schedule",
            "hourly 3:30",
            f"'hourly 3:30' is not a schedule: write {SCHEDULE}",
        ),
        (
            "registry_check_schedule",
            "sunday 3:30",
            "'sunday 3:30' is not a schedule: write sun 03:30",
        ),
        (
            "registry_check_schedule",
            "Daily 03:30",
            "'Daily 03:30' is not a schedule: write daily 03:30",
        ),
        ("registry_retention_schedule", "never", f"'never' is not a schedule: write {SCHEDULE}"),
        (
            "registry_untagged_keep",
            "long",
            "'long' is not a duration: write 12h, 14d or 2w, or forever",
        ),
        (
            "registry_untagged_keep",
            14,
            "14 s is too short: a manifest that is being pushed has no tag yet: "
            "write at least 1h; 14d leaves time to notice a tag moved by mistake",
        ),
        ("registry_gc_max_minutes", 4, "4 is out of range: write a number from 5 to 1440"),
        (
            "registry_check_rate",
            "fast",
            "'fast' is not a number of bytes per second: write 50m or 1g, or 0 for no limit",
        ),
        (
            "registry_check_rate",
            100,
            "100 bytes per second is too little, so the check would never end: write at least 1m, "
            "or 0 for no limit",
        ),
    ],
)
def test_a_value_that_cannot_be(errors: Strings, name: str, value: object, message: str) -> None:
    assert errors(**{name: value}) == [f"{name}: {message}"]


def test_values_that_can_be(warnings: Strings) -> None:
    for changes in (
        {"registry_untagged_keep": "1h"},
        {"registry_untagged_keep": "forever"},
        {"registry_check_rate": 0},
        {"registry_check_rate": "1m"},
        {"registry_gc_schedule": "monthly 00:00", "registry_check_schedule": ""},
        {"registry_gc_schedule": "mon 23:59"},
    ):
        assert warnings(**changes) == []


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        (
            {"registry_retention": [rule()]},
            "registry_gc_schedule: is empty, so the tags that registry_retention removes free no "
            "space until playbooks/garbage_collect.yml is run: write one, like sun 03:30",
        ),
        (
            {"registry_retention": [rule()], "registry_untagged_keep": "forever", **COLLECTED},
            "registry_untagged_keep: is forever, so the tags that registry_retention removes free "
            "no space: write a duration, like 14d",
        ),
        (
            {"registry_retention_schedule": "daily 03:00"},
            "registry_retention_schedule: is not used, since registry_retention has no rules: "
            "write one, or remove it",
        ),
    ],
)
def test_what_would_surprise(warnings: Strings, changes: dict[str, Any], warning: str) -> None:
    assert warnings(**changes) == [warning]
