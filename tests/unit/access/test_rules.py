"""registry_access: every message about a rule, word for word."""

from __future__ import annotations

import pytest

from wharfinger.access import examine, read_policy

from .messages import (
    GROUPS,
    OPEN,
    SECRET,
    USERS,
    errors,
    rule,
)


@pytest.mark.parametrize(
    ("entry", "messages"),
    [
        *(
            (
                entry,
                [
                    f"is {kind}: write a mapping of who, may and on, as in "
                    '`{who: someuser, may: [pull], on: "team/**"}`'
                ],
            )
            for entry, kind in ((None, "nothing (null)"), ("x", "text"), ([], "a list"))
        ),
        (
            {},
            [
                "who is missing: write, for example, who: someuser",
                "may is missing: write, for example, may: [pull]",
                'on is missing: write, for example, on: "team/**"',
            ],
        ),
        (rule(whoo="x"), ['"whoo" is an unknown key: write who']),
        (rule(repository="x"), ['"repository" is an unknown key: write on']),
        (
            rule(colour="x"),
            ['"colour" is an unknown key: remove it, the keys are who, may, on'],
        ),
        (rule() | {5: "x"}, ["has a number as a key: the keys are who, may, on"]),
        (rule() | {True: "x"}, ["on is written twice: remove one"]),
        (rule(who=[]), ["who is empty: write, for example, who: someuser"]),
        (rule(who=None), ["who has nothing (null): write text, for example who: someuser"]),
        (rule(who=7), ["who has a number: write text, for example who: someuser"]),
        (
            rule(who={"group": "developers"}),
            ["who is a mapping: write group:NAME without a space after the colon"],
        ),
        (rule(who={"x": "y"}), ["who has a mapping: write text, for example who: someuser"]),
        (rule(who="someusr"), ['"someusr" is not a user in registry_users: write someuser']),
        (rule(who="everybdy"), ['"everybdy" is not a user in registry_users: write everyone']),
        (
            rule(who="zzz"),
            ['"zzz" is not a user: add it to registry_users, or remove it here'],
        ),
        (rule(who=""), ['who has an empty text: write anonymous for "not signed in"']),
        (rule(who="developers"), ['"developers" is a group: write group:developers']),
        (
            rule(who="group:develpers"),
            ['"develpers" is not a group in registry_groups: write group:developers'],
        ),
        (
            rule(who="group:admin"),
            ['"admin" is a user, not a group: write who: admin'],
        ),
        (
            rule(who="group:zzz"),
            ['"zzz" is not a group: add it to registry_groups, or remove it here'],
        ),
        *(
            (
                rule(who=word),
                [
                    f'"{word}" is not a user: write everyone (anyone signed in) or anonymous '
                    "(not signed in)"
                ],
            )
            for word in ("all", "*")
        ),
        (
            rule(who="wharfinger-verification"),
            [
                "wharfinger-verification is reserved for the deployment's own verification: "
                "remove it"
            ],
        ),
        (rule(who=["someuser", "someuser"]), ['who has "someuser" twice: remove one']),
        (rule(may=None), ["may is nothing (null): write the verbs, or [] to give nothing"]),
        (rule(may=[7]), ["may has a number: write text, for example may: [pull]"]),
        (rule(may=["pul"]), ['may: "pul" is not a verb: write pull']),
        (rule(may="write"), ['may: "write" is not a verb: write push']),
        (rule(may="*"), ['may: "*" is not a verb: write all']),
        (
            rule(may=["zzz"]),
            ['may: "zzz" is not a verb: write one of pull, push, delete, list, or all'],
        ),
        (rule(may=["pull", "pull"]), ['may has "pull" twice: remove one']),
        (
            rule(may=["all", "pull"]),
            ["may has all, which includes the others: write may: all alone"],
        ),
        (
            rule(may=["pull", "list"]),
            [
                "list is the catalog, which is all or nothing and shows every name: "
                "write on: all, or leave list out"
            ],
        ),
        (
            rule(who="anonymous", may=["pull", "push"]),
            ["anonymous may not push: write may: [pull], or who: everyone for anyone signed in"],
        ),
        (
            rule(who=["everyone", "anonymous"], may="all"),
            [
                "anonymous may not push or delete: write may: [pull], or who: everyone for anyone "
                "signed in"
            ],
        ),
        (
            rule(who="anonymous", on="{user}/**"),
            [
                "{user} is the signed-in name, which anonymous does not have: write the name "
                "itself, or a rule of its own for anonymous"
            ],
        ),
        (rule(on=[]), ['on is empty: write, for example, on: "team/**"']),
        (rule(on=None), ['on has nothing (null): write text, for example on: "team/**"']),
        (
            rule(on={"user": None}),
            [
                "on is a mapping, since a bare { begins one in YAML: write it in quotation marks, "
                'as in "{user}/**"'
            ],
        ),
        (rule(on=["team/*", "team/*"]), ['on has "team/*" twice: remove one']),
        (
            rule(on=["all", "team/*"]),
            ["on has all, which includes the others: write on: all alone"],
        ),
        *(
            (
                rule(on=on),
                [
                    f'on: "{on}" is reserved for the deployment\'s own verification: '
                    "choose another name"
                ],
            )
            for on in ("wharfinger-verification", "wharfinger-verification/**")
        ),
    ],
)
def test_a_wrong_rule_is_reported_with_its_number(entry: object, messages: list[str]) -> None:
    first = {"who": "admin", "may": "all", "on": "all"}
    assert errors(access=[first, entry]) == [
        f"registry_access, rule 2: {message}" for message in messages
    ]


@pytest.mark.parametrize(
    ("access", "kind"),
    [(None, "nothing (null)"), ({"who": "x"}, "a mapping"), ("x", "text")],
)
def test_rules_that_are_not_a_list_are_reported(access: object, kind: str) -> None:
    assert errors(access=access) == [
        f"registry_access: is {kind}: write a list of rules, as in "
        '`- {who: someuser, may: [pull, push], on: "{user}/**"}`, or [] for none'
    ]


def test_htpasswd_accepts_only_the_rule_that_gives_everyone_everything() -> None:
    refused = [
        "registry_access: registry_auth htpasswd has no rules, so every user may do everything: "
        "write exactly `[{who: everyone, may: all, on: all}]`, or registry_auth: token"
    ]
    for access in ([], None, [rule()], OPEN * 2, [{**OPEN[0], "may": ["pull"]}]):
        _, review = examine(USERS, GROUPS, access, auth="htpasswd")
        assert [str(error) for error in review.errors] == refused
    for access in (OPEN, [{"who": ["everyone"], "may": ["all"], True: ["all"]}]):
        assert examine(USERS, GROUPS, access, auth="htpasswd")[1].errors == []


def test_push_without_pull_is_warned_of_since_the_registry_asks_for_both() -> None:
    _, review = examine({"someuser": {}}, {}, [rule(may=["push"])])
    assert [str(warning) for warning in review.warnings] == [
        "registry_access, rule 1: gives push without pull, and the registry asks for both to "
        "push: write may: [pull, push]"
    ]
    assert examine({"someuser": {}}, {}, [rule(may=["push", "pull"])])[1].warnings == []


def test_all_mistakes_are_reported_at_once_and_give_no_policy() -> None:
    users = {"admin": {"pasword": SECRET}}
    groups = {"team": ["bob"]}
    rules = [rule(who="admn"), rule(may="pul", who="admin")]
    expected = [
        "registry_users, admin: pasword is an unknown key: write password",
        'registry_groups, team: "bob" is not a user: add it to registry_users, or remove it here',
        'registry_access, rule 1: "admn" is not a user in registry_users: write admin',
        'registry_access, rule 2: may: "pul" is not a verb: write pull',
    ]
    assert errors(users, groups, rules) == expected
    with pytest.raises(ValueError) as raised:
        read_policy(users, groups, rules)
    assert str(raised.value) == "\n".join(expected)


def test_the_bare_word_on_is_understood_though_yaml_reads_it_as_true() -> None:
    for key in ("on", True, "true"):
        entry = {"who": "someuser", "may": "pull", key: "team/*"}
        policy = read_policy(USERS, GROUPS, [entry])
        assert policy.decide("someuser", "pull", "team/x").allowed
