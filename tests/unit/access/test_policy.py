"""The model's decisions for the shipped example, for the reserved account, and for edges."""

from __future__ import annotations

import pytest

from wharfinger.access import VERIFICATION_ACCOUNT, Decision, Policy, Rule, read_policy

EXAMPLE = read_policy(
    {"admin": {}, "readonly": {}, "someuser": {}, "idle": {}},
    {"developers": ["someuser"]},
    [
        {"who": "admin", "may": "all", "on": "all"},
        {"who": "readonly", "may": ["pull"], "on": "**"},
        {"who": "someuser", "may": ["pull", "push", "delete"], "on": "{user}/**"},
        {"who": "group:developers", "may": ["pull", "push"], "on": ["team/*", "shared/**"]},
        {"who": "anonymous", "may": ["pull"], "on": "public/**"},
    ],
)


@pytest.mark.parametrize(
    ("user", "repository", "verbs", "rule"),
    [
        ("admin", "x", "pull push delete", 1),
        ("admin", None, "list", 1),
        ("readonly", "x", "pull", 2),
        ("readonly", "x/y/z", "pull", 2),
        ("readonly", None, "", None),
        ("someuser", "someuser/a", "pull push delete", 3),
        ("someuser", "someuser/a/b", "pull push delete", 3),
        ("someuser", "someuser", "", None),
        ("someuser", "someuser2/a", "", None),
        ("someuser", "x/someuser/a", "", None),
        ("someuser", "team/a", "pull push", 4),
        ("someuser", "team/a/b", "", None),
        ("someuser", "team", "", None),
        ("someuser", "shared/a/b", "pull push", 4),
        ("someuser", "public/a", "", None),
        ("someuser", None, "", None),
        ("idle", "team/a", "", None),
        ("stranger", "public/a", "", None),
        (None, "public/a/b", "pull", 5),
        (None, "public", "", None),
        (None, "team/a", "", None),
        (None, None, "", None),
        ("readonly", "x//y", "", None),
    ],
)
def test_the_example_of_the_inventory_means_what_it_says(
    user: str | None, repository: str | None, verbs: str, rule: int | None
) -> None:
    for verb in ("list",) if repository is None else ("pull", "push", "delete"):
        assert EXAMPLE.decide(user, verb, repository) == Decision(verb in verbs.split(), rule)


def test_an_earlier_rule_decides_alone_whatever_a_later_one_would_add() -> None:
    policy = Policy(
        ("bob",),
        {},
        (
            Rule(1, ("bob",), (), ("team/secret",)),
            Rule(2, ("bob",), ("pull",), ("team/*",)),
            Rule(3, ("everyone",), ("pull", "push"), ("**",)),
        ),
    )
    assert policy.decide("bob", "pull", "team/secret") == Decision(False, 1)
    assert policy.decide("bob", "push", "team/x") == Decision(False, 2)
    assert policy.decide("bob", "push", "x") == Decision(True, 3)


def test_the_verification_account_has_its_own_repositories_and_nothing_else() -> None:
    policy = read_policy(
        {"bob": {}},
        {},
        [
            {"who": "everyone", "may": "all", "on": "all"},
            {"who": "anonymous", "may": ["pull", "list"], "on": "all"},
        ],
    )
    own, foreign = f"{VERIFICATION_ACCOUNT}/probe", "bob/x"
    for verb, allowed in (("pull", True), ("push", True), ("delete", False)):
        assert policy.decide(VERIFICATION_ACCOUNT, verb, own) == Decision(allowed, None)
        assert policy.decide(VERIFICATION_ACCOUNT, verb, foreign) == Decision(False, None)
    assert policy.decide(VERIFICATION_ACCOUNT, "list", None) == Decision(False, None)
    assert policy.decide(VERIFICATION_ACCOUNT, "pull", VERIFICATION_ACCOUNT).allowed is False
    assert policy.decide(None, "pull", own) == Decision(False, None)
    assert policy.decide(None, "pull", foreign) == Decision(True, 2)
    assert policy.decide("bob", "pull", own) == Decision(True, 1)


def test_a_question_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown verb read: write one of pull, push"):
        EXAMPLE.decide("admin", "read", "x")
    for verb, repository in (("list", "x"), ("pull", None)):
        with pytest.raises(ValueError, match="list is asked of the catalog, without a repository"):
            EXAMPLE.decide("admin", verb, repository)
