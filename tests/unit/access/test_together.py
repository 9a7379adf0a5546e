"""What rules mean together and beside the names of accounts, word for word."""

from __future__ import annotations

from typing import Any

import pytest

from wharfinger.access import examine

from .messages import (
    USERS,
    errors,
    rule,
)


def never(number: int, rules: str, first: int) -> str:
    return (
        f"registry_access, rule {number}: never decides anything, since {rules} first: "
        f"remove it, or move it above rule {first}"
    )


@pytest.mark.parametrize(
    ("rules", "messages"),
    [
        (
            [rule(), rule()],
            ["registry_access, rule 2: says the same as rule 1: remove one of them"],
        ),
        (
            [rule(who=["admin", "someuser"]), rule(who=["someuser", "admin"])],
            ["registry_access, rule 2: says the same as rule 1: remove one of them"],
        ),
        ([rule(may=[]), rule()], [never(2, "rule 1 always answers", 1)]),
        ([rule(on="all"), rule(on="**")], [never(2, "rule 1 always answers", 1)]),
        (
            [rule(who="everyone", on="**"), rule(who=["admin", "group:developers"])],
            [never(2, "rule 1 always answers", 1)],
        ),
        (
            [rule(on="team/**"), rule(who="admin"), rule(who=["group:developers", "admin"])],
            [never(3, "rules 1 and 2 always answer", 1)],
        ),
        (
            [rule(on=on) for on in ("*", "*/*", "*/*/**", "{user}/**", "**")],
            [
                never(4, "rules 2 and 3 always answer", 2),
                never(5, "rules 1, 2, 3 always answer", 1),
            ],
        ),
        (
            [rule(on="{user}/**"), rule(on="someuser/x")],
            [
                'registry_access, rule 2: "someuser/x" begins with someuser, which is also the '
                "name of a user; rule 1 uses {user}, so this would be that user's own place: "
                "rename the user in registry_users, or choose another name in the pattern",
                never(2, "rule 1 always answers", 1),
            ],
        ),
    ],
)
def test_a_rule_that_earlier_rules_always_answer_is_reported(
    rules: list[Any], messages: list[str]
) -> None:
    assert errors(access=rules) == messages


@pytest.mark.parametrize(
    "rules",
    [
        [rule(on="team/*"), rule(on="team/**")],
        [rule(on="**"), rule(on="all")],
        [rule(who=["admin", "readonly", "someuser"], on="all"), rule(who="everyone")],
        [rule(who="everyone", on="all"), rule(who="anonymous")],
        [rule(on="all"), rule(who=["someuser", "admin"])],
        [rule(who="admin"), rule(who=["group:empty", "admin"])],
        [rule(on="*/x"), rule(on="x/*")],
        [rule(on=["*", "*/*"]), rule(on="**")],
        [rule(who="everyone", on="{user}/**"), rule(who="everyone", on="*/**")],
    ],
)
def test_a_rule_with_something_left_to_decide_is_accepted(rules: list[Any]) -> None:
    assert errors(access=rules) == []


def test_a_user_named_like_a_first_segment_is_reported_if_a_rule_uses_user() -> None:
    users = {**USERS, "team": {}}
    elsewhere = rule(who="admin", on=["x", "team/**"])
    assert errors(users=users, access=[elsewhere]) == []
    assert errors(users=users, access=[elsewhere, rule(on="{user}/**")]) == [
        'registry_access, rule 1: "team/**" begins with team, which is also the name of a user; '
        "rule 2 uses {user}, so this would be that user's own place: rename the user in "
        "registry_users, or choose another name in the pattern"
    ]


def test_a_user_named_like_a_later_segment_is_reported_if_a_rule_uses_user_there() -> None:
    users = {**USERS, "shared": {}}
    rules = [rule(on="team/{user}/**"), rule(who="admin", on="team/shared/*")]
    assert errors(users=users, access=rules) == [
        'registry_access, rule 2: "team/shared/*" has shared, which is also the name of a user; '
        "rule 1 uses {user}, so this would be that user's own place: rename the user in "
        "registry_users, or choose another name in the pattern"
    ]
    assert errors(users=users, access=[rules[0], rule(who="admin", on="other/shared/*")]) == []


@pytest.mark.parametrize("name", ["ci.", "a..b", "a___b", "a-_b"])
@pytest.mark.parametrize("who", ["NAME", "group:team", "everyone"])
def test_a_name_that_no_repository_can_have_is_reported_if_a_rule_uses_user(
    name: str, who: str
) -> None:
    users, groups = {**USERS, name: {}}, {"team": [name]}
    mine = rule(who=name if who == "NAME" else who, on="{user}/**")
    assert errors(users, groups, [rule(who="admin"), mine]) == [
        f"registry_users, {name}: this name cannot be part of a repository's name, and "
        "registry_access, rule 2, gives this user {user}: write the name with single dots, one or "
        "two underscores, or hyphens, and only between letters and digits"
    ]
    assert errors(users, groups, [rule(who="someuser", on="{user}/**")]) == []


def test_a_user_whom_no_rule_gives_anything_is_warned_of() -> None:
    users = {**USERS, "denied": {}, "nobody": {}, "member": {}}
    groups = {"team": ["member"]}
    rules = [
        rule(who=["denied"], may=[], on="**"),
        rule(who=["admin", "readonly", "someuser"]),
        rule(who="group:team"),
        rule(who="denied", may=[], on="all"),
    ]
    _, review = examine(users, groups, rules)
    assert review.errors == []
    assert [str(warning) for warning in review.warnings] == [
        f"registry_users, {name}: no rule in registry_access gives this user anything: add one, "
        "or remove the user"
        for name in ("denied", "nobody")
    ]
    assert examine(users, groups, [*rules, rule(who="everyone", may="pull")])[1].warnings == [
        review.warnings[0]
    ]
