"""registry_groups: every message, word for word."""

from __future__ import annotations

import pytest

from .messages import (
    NAME,
    USERS,
    errors,
    rule,
)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        *(
            (
                groups,
                f": is {kind}: write a mapping of names to lists of users, "
                "as in `developers: [someuser]`, or {} for none",
            )
            for groups, kind in ((None, "nothing (null)"), ([], "a list"), ("x", "text"))
        ),
        *(
            (
                {"team": members},
                f", team: is {kind}: write a list of users, as in `team: [someuser]`, "
                "or [] for none",
            )
            for members, kind in ((None, "nothing (null)"), ("someuser", "text"))
        ),
        ({5: []}, ", 5: the name is a number to YAML: write it in quotation marks"),
        ({"Ops Team": []}, f', "Ops Team": a group\'s {NAME}: write ops-team'),
        (
            {"team": ["someusr"]},
            ', team: "someusr" is not a user in registry_users: write someuser',
        ),
        (
            {"team": ["zzz"]},
            ', team: "zzz" is not a user: add it to registry_users, or remove it here',
        ),
        ({"team": ["someuser", "someuser"]}, ", team: someuser is written twice: remove one"),
        ({"team": [7]}, ", team: a member is a number: write a user's name as text"),
        (
            {"team": ["ops"], "ops": []},
            ', team: "ops" is a group, and a group has users only: write its members',
        ),
        (
            {"team": ["group:ops"], "ops": []},
            ', team: "group:ops" is a group, and a group has users only: write its members',
        ),
        (
            {"team": ["wharfinger-verification"]},
            ", team: wharfinger-verification is reserved for the deployment's own verification: "
            "remove it",
        ),
    ],
)
def test_a_wrong_group_is_reported(groups: object, message: str) -> None:
    assert errors(groups=groups) == [f"registry_groups{message}"]


def test_a_member_whose_own_entry_is_wrong_is_not_called_unknown() -> None:
    messages = errors(
        users={**USERS, "Bob": {}}, groups={"team": ["Bob"]}, access=[rule(who="Bob")]
    )
    assert messages == [f"registry_users, Bob: a user's {NAME}: write bob"]


def test_a_rule_for_a_group_with_a_mistake_is_not_reported_again() -> None:
    messages = errors(groups={"team": None}, access=[rule(who="group:team")] * 2)
    assert messages == [
        "registry_groups, team: is nothing (null): write a list of users, as in "
        "`team: [someuser]`, or [] for none"
    ]
