"""The inventory's rules and limits in the form that the host gets."""

from __future__ import annotations

import re
from typing import Any

import pytest

from wharfinger.access import read_policy
from wharfinger.contents import settings

VARIABLES: dict[str, Any] = {
    "storage_path": "/srv/registry",
    "retention": [
        {"on": ["team/*", "b.c"], "newest": 10, "newer_than": "30d", "matching": ["v*", "latest"]},
        {"on": "all", "matching": "keep"},
    ],
    "untagged_keep": "14d",
    "gc_max_minutes": 60,
    "brake_percent": 30,
    "brake_at_least": 50,
    "check_rate": "100m",
    "drain_timeout": "10m",
    "schedules": {
        "registry_retention_schedule": "",
        "registry_gc_schedule": "sun 03:30",
        "registry_check_schedule": "monthly 03:30",
        "backup_schedule": "",
        "backup_drill_schedule": "",
        "registry_mirrors_schedule": "",
        "base_images_schedule": "",
    },
}


def test_the_hosts_settings_are_plain_numbers_and_anchored_expressions() -> None:
    assert settings(VARIABLES) == {
        "storage_path": "/srv/registry",
        "retention": [
            {
                "number": 1,
                "on": ["^team/[^/]+$", r"^b\.c$"],
                "newest": 10,
                "newer_than": 30 * 86400,
                "matching": ["v*", "latest"],
            },
            {
                "number": 2,
                "on": ["^[^/]+(/[^/]+)*$"],
                "newest": None,
                "newer_than": None,
                "matching": ["keep"],
            },
        ],
        "untagged_keep": 14 * 86400,
        "gc_max_seconds": 3600,
        "brake_percent": 30,
        "brake_at_least": 50,
        "check_rate": 100 * 2**20,
        "drain_timeout": 600,
        "every": {"collect": 7 * 86400, "check_contents": 31 * 86400},
    }


def test_forever_is_not_a_number() -> None:
    assert settings(VARIABLES | {"untagged_keep": "forever"})["untagged_keep"] is None


def test_rules_with_a_mistake_do_not_reach_the_host() -> None:
    with pytest.raises(ValueError, match=r"^registry_retention, rule 1: on is missing: write"):
        settings(VARIABLES | {"retention": [{"newest": 1}]})


@pytest.mark.parametrize(
    "pattern", ["all", "**", "*", "a", "a.b", "a/*", "a/**", "**/a", "*/**", "a/*/b", "a/**/b"]
)
def test_a_pattern_names_the_same_repositories_as_in_registry_access(pattern: str) -> None:
    rules = settings(VARIABLES | {"retention": [{"on": pattern, "newest": 1}]})["retention"]
    (expression,) = rules[0]["on"]
    policy = read_policy({"u": {}}, {}, [{"who": "u", "may": ["pull"], "on": pattern}])
    names = ["a", "b", "a.b", "axb", "a/b", "b/a", "a/x/b", "a/x/y/b", "x/y/a", "aa", "a/b/c"]
    matched = [name for name in names if re.fullmatch(expression, name)]
    assert matched == [name for name in names if policy.decide("u", "pull", name).allowed]
    assert matched
