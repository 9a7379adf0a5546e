"""Every message about registry_users, registry_groups and registry_access, word by word."""

from __future__ import annotations

from typing import Any

import pytest

from wharfinger.access import read_policy, validate

HASH = "$2b$10$" + "a" * 53
USERS: dict[Any, Any] = {"admin": {}, "readonly": {}, "someuser": {}}
GROUPS: dict[Any, Any] = {"developers": ["someuser"], "empty": []}
OPEN = [{"who": "everyone", "may": "all", "on": "all"}]
SECRET = "Planted-Secret"

CREDENTIALS = "write {password: …}, {password_hash: …}, or {} for a password that is generated"
MAKE_HASH = "make one with `htpasswd -nBC 10 NAME` and write what follows the colon"
NAME = (
    "name is lower-case letters, digits, dots, hyphens and underscores, "
    "beginning with a letter or digit"
)


def errors(users: object = USERS, groups: object = GROUPS, access: object = OPEN) -> list[str]:
    return [str(error) for error in validate(users, groups, access).errors]


def rule(**fields: Any) -> dict[str, Any]:
    return {"who": "someuser", "may": ["pull"], "on": "team/*", **fields}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (None, f"is nothing (null): {CREDENTIALS}"),
        (SECRET, f"is text: {CREDENTIALS}"),
        ([SECRET], f"is a list: {CREDENTIALS}"),
        (1234, f"is a number: {CREDENTIALS}"),
        ({"pasword": SECRET}, "pasword is an unknown key: write password"),
        ({"passwd": SECRET}, "passwd is an unknown key: write password"),
        ({"pass": SECRET}, "pass is an unknown key: write password"),
        ({"Password": SECRET}, "Password is an unknown key: write password"),
        ({"pasword": None}, "pasword is an unknown key: write password"),
        ({"password-hash": HASH}, "password-hash is an unknown key: write password_hash"),
        ({"hash": HASH}, "hash is an unknown key: write password_hash"),
        (
            {"comment": SECRET},
            "comment is an unknown key: remove it, the keys are password, password_hash",
        ),
        (
            {SECRET: None},
            "key 1 is unknown (not shown, it may be secret): write {password: …}",
        ),
        (
            {"password": "right", f"x {SECRET}": 1},
            "key 2 is unknown (not shown, it may be secret): write {password: …}",
        ),
        (
            {f"password:{SECRET}": None},
            "has password and its value as one key: write a space after the colon",
        ),
        (
            {f"password={SECRET}": None},
            "has password and its value as one key: write a space after the colon",
        ),
        ({5: SECRET}, "key 1 is unknown (not shown, it may be secret): write {password: …}"),
        (
            {"password": ""},
            "password is empty: write one, or {} for a password that is generated",
        ),
        (
            {"password": None},
            "password is empty: write one, or {} for a password that is generated",
        ),
        (
            {"password": 12345678},
            "password is a number to YAML: write it in quotation marks",
        ),
        (
            {"password": "ü" * 36 + "x"},
            "password has 73 bytes, and bcrypt reads no more than 72: write a shorter one",
        ),
        (
            {"password": f"{SECRET}\n"},
            "password has a line break or a NUL, which clients cut off: write it without",
        ),
        ({"password": HASH}, "password is a bcrypt hash: write it as password_hash"),
        (
            {"password": SECRET, "password_hash": HASH},
            "has both password and password_hash: remove one",
        ),
        ({"password_hash": SECRET}, f"password_hash is no bcrypt hash: {MAKE_HASH}"),
        ({"password_hash": HASH[:-1]}, f"password_hash is no bcrypt hash: {MAKE_HASH}"),
        (
            {"password_hash": "$apr1$x$" + "a" * 22},
            f"password_hash is no bcrypt hash: {MAKE_HASH}",
        ),
        (
            {"password_hash": f"bob:{HASH}"},
            "password_hash has more than the hash: write only what begins with $2",
        ),
        (
            {"password_hash": None},
            f"password_hash is nothing (null): write a bcrypt hash; {MAKE_HASH}",
        ),
        (
            {"password_hash": HASH.replace("$10$", "$09$")},
            f"password_hash has the bcrypt cost 9, and 10 to 14 is accepted: {MAKE_HASH}",
        ),
        (
            {"password_hash": HASH.replace("$10$", "$15$")},
            f"password_hash has the bcrypt cost 15, and 10 to 14 is accepted: {MAKE_HASH}",
        ),
    ],
)
def test_a_wrong_entry_of_a_user_is_told_without_its_value(entry: object, message: str) -> None:
    found = errors(users={**USERS, "bob": entry})
    assert found == [f"registry_users, bob: {message}"]
    assert SECRET not in found[0]
    assert HASH not in found[0]


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"password": "x" * 72},
        {"password": "ü" * 36},
        {"password_hash": HASH},
        {"password_hash": HASH.replace("$2b$10$", "$2y$14$")},
    ],
)
def test_a_right_entry_of_a_user_is_accepted(entry: object) -> None:
    assert errors(users={**USERS, "bob": entry}) == []


@pytest.mark.parametrize(
    ("users", "messages"),
    [
        *(
            (
                users,
                [
                    f": is {kind}: write a mapping of names, as in `someuser: {{}}` "
                    "(its password is then generated)"
                ],
            )
            for users, kind in (
                (None, "nothing (null)"),
                ([{"name": "bob", "password": SECRET}], "a list"),
                (SECRET, "text"),
            )
        ),
        ({True: {}}, [", true: the name is true or false to YAML: write it in quotation marks"]),
        ({123: {}}, [", 123: the name is a number to YAML: write it in quotation marks"]),
        (
            {None: {}},
            [", entry 1: the name is nothing (null) to YAML: write it in quotation marks"],
        ),
        ({"Bob Smith": {}}, [f", Bob Smith: a user's {NAME}: write bob-smith"]),
        ({"-": {}}, [f", -: a user's {NAME}"]),
        ({"": {}}, [f", entry 1: a user's {NAME}"]),
        (
            {f"admin: {{password: {SECRET}}}": None},
            [f", entry 1: a user's {NAME}", f", entry 1: is nothing (null): {CREDENTIALS}"],
        ),
        (
            {"ok": {}, SECRET: None},
            [f", entry 2: a user's {NAME}", f", entry 2: is nothing (null): {CREDENTIALS}"],
        ),
        *(
            (
                {name: {}},
                [
                    f", {name}: {name} has a meaning of its own in registry_access: "
                    "choose another name"
                ],
            )
            for name in ("everyone", "anonymous")
        ),
        (
            {"wharfinger-verification": {}},
            [
                ", wharfinger-verification: this name is reserved for the deployment's own "
                "verification: choose another name"
            ],
        ),
    ],
)
def test_a_wrong_name_of_a_user_is_told(users: object, messages: list[str]) -> None:
    found = errors(users=users, groups={})
    assert found == [f"registry_users{message}" for message in messages]
    assert SECRET not in "".join(found)


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
        ({"team": ["someusr"]}, ', team: "someusr" is no user in registry_users: write someuser'),
        (
            {"team": ["zzz"]},
            ', team: "zzz" is no user: add it to registry_users, or remove it here',
        ),
        ({"team": ["someuser", "someuser"]}, ", team: someuser is there twice: remove one"),
        ({"team": [7]}, ", team: a member is a number: write a user's name as text"),
        (
            {"team": ["ops"], "ops": []},
            ', team: "ops" is a group, and a group holds users only: write its members',
        ),
        (
            {"team": ["group:ops"], "ops": []},
            ', team: "group:ops" is a group, and a group holds users only: write its members',
        ),
        (
            {"team": ["wharfinger-verification"]},
            ", team: wharfinger-verification is reserved for the deployment's own verification: "
            "remove it",
        ),
    ],
)
def test_a_wrong_group_is_told(groups: object, message: str) -> None:
    assert errors(groups=groups) == [f"registry_groups{message}"]


def test_a_member_whose_own_entry_is_wrong_is_not_called_unknown() -> None:
    found = errors(users={**USERS, "Bob": {}}, groups={"team": ["Bob"]}, access=[rule(who="Bob")])
    assert found == [f"registry_users, Bob: a user's {NAME}: write bob"]


def test_a_rule_for_a_group_whose_own_entry_is_wrong_is_not_told_once_more() -> None:
    found = errors(groups={"team": None}, access=[rule(who="group:team")] * 2)
    assert found == [
        "registry_groups, team: is nothing (null): write a list of users, as in "
        "`team: [someuser]`, or [] for none"
    ]


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
        (rule() | {True: "x"}, ["on is there twice: remove one"]),
        (rule(who=[]), ["who is empty: write, for example, who: someuser"]),
        (rule(who=None), ["who has nothing (null): write text, for example who: someuser"]),
        (rule(who=7), ["who has a number: write text, for example who: someuser"]),
        (
            rule(who={"group": "developers"}),
            ["who is a mapping: write group:NAME without a space after the colon"],
        ),
        (rule(who={"x": "y"}), ["who has a mapping: write text, for example who: someuser"]),
        (rule(who="someusr"), ['"someusr" is no user in registry_users: write someuser']),
        (rule(who="everybdy"), ['"everybdy" is no user in registry_users: write everyone']),
        (
            rule(who="zzz"),
            ['"zzz" is no user: add it to registry_users, or remove it here'],
        ),
        (rule(who=""), ['who has an empty text: write anonymous for "not signed in"']),
        (rule(who="developers"), ['"developers" is a group: write group:developers']),
        (
            rule(who="group:develpers"),
            ['"develpers" is no group in registry_groups: write group:developers'],
        ),
        (
            rule(who="group:admin"),
            ['"admin" is a user and no group: write who: admin'],
        ),
        (
            rule(who="group:zzz"),
            ['"zzz" is no group: add it to registry_groups, or remove it here'],
        ),
        *(
            (
                rule(who=word),
                [
                    f'"{word}" is no user: write everyone (anyone signed in) or anonymous '
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
        (rule(may=["pul"]), ['"pul" is nothing that one may: write pull']),
        (rule(may="write"), ['"write" is nothing that one may: write push']),
        (rule(may="*"), ['"*" is nothing that one may: write all']),
        (
            rule(may=["zzz"]),
            ['"zzz" is nothing that one may: write one of pull, push, delete, list, or all'],
        ),
        (rule(may=["pull", "pull"]), ['may has "pull" twice: remove one']),
        (
            rule(may=["all", "pull"]),
            ["may has all, which holds the others: write may: all alone"],
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
                "{user} is the signed-in name, which anonymous has not: write the name itself, or "
                "a rule of its own for anonymous"
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
            ["on has all, which holds the others: write on: all alone"],
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
def test_a_wrong_rule_is_told_with_its_number(entry: object, messages: list[str]) -> None:
    first = {"who": "admin", "may": "all", "on": "all"}
    assert errors(access=[first, entry]) == [
        f"registry_access, rule 2: {message}" for message in messages
    ]


COMPONENT = (
    "can be no part of a repository's name: a segment is lower-case letters and digits, with "
    "single dots, one or two underscores, or hyphens between, as in"
)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", 'an empty pattern matches nothing: write "**" for every repository, or all'),
        (" team/*", '" team/*" has spaces around it: write "team/*"'),
        ("/team/*", '"/team/*" has an empty segment: write "team/*"'),
        ("team//x", '"team//x" has an empty segment: write "team/x"'),
        ("team/*/", '"team/*/" has an empty segment: write "team/*"'),
        (
            "team/",
            '"team/" has an empty segment: write "team/**" for everything below team',
        ),
        ("/", '"/" has an empty segment: write "**" for every repository'),
        *(
            (
                pattern,
                f'"{pattern}" looks like a regular expression, which patterns are not: write '
                'segments, as in "team/*" (one more segment) or "team/**" (one or more)',
            )
            for pattern in ("/^team$/", "team/(a|b)", "team/.+")
        ),
        (
            "https://reg/team",
            '"https://reg/team" is an address: write the repository\'s name alone, as in "team/*"',
        ),
        (
            "reg:5000/team/*",
            '"reg:5000/team/*" has a host: write the repository\'s name alone, as in "team/*"',
        ),
        (
            "team/x:latest",
            '"team/x:latest" has a tag: rules are about repositories, write "team/x"',
        ),
        (
            "team/x@sha256:00",
            '"team/x@sha256:00" has a digest: rules are about repositories, write it without @…',
        ),
        (
            "team/*, shared/**",
            '"team/*, shared/**" holds several patterns: write a list, as in '
            '["team/*", "shared/**"]',
        ),
        (
            "team-*/x",
            'in "team-*", * is only a part of a segment: * is one whole segment and ** one or '
            'more, so write "team/*" or each name',
        ),
        (
            "*-x",
            'in "*-x", * is only a part of a segment: * is one whole segment and ** one or more, '
            'so write "*" or each name',
        ),
        (
            "team/***",
            '"***" is no wildcard: write "*" for one segment, "**" for one or more',
        ),
        (
            "te?m",
            '"te?m" has a wildcard that patterns do not know: write "*" for a whole segment',
        ),
        (
            "[ab]/*",
            '"[ab]" has a wildcard that patterns do not know: write "*" for a whole segment',
        ),
        (
            "{user}-x/*",
            'in "{user}-x", {user} is only a part of a segment, where one user\'s name could run '
            'into another\'s: write it as a segment of its own, as in "{user}/**"',
        ),
        (
            "{name}/*",
            '"{name}" is no placeholder: the only one is {user}, the signed-in name',
        ),
        (
            "${account}/*",
            '"${account}" is no placeholder: the only one is {user}, the signed-in name',
        ),
        ("Team/*", '"Team" has capitals, which no repository has: write "team"'),
        ("ALL", '"ALL" has capitals, which no repository has: write "all"'),
        ("a..b/*", f'"a..b" {COMPONENT} "a.b"'),
        ("-a/*", f'"-a" {COMPONENT} "a"'),
        ("a_/*", f'"a_" {COMPONENT} "a"'),
        ("a___b", f'"a___b" {COMPONENT} "a_b"'),
        ("x#y", f'"x#y" {COMPONENT} "x-y"'),
        ("ü/*", f'"ü" {COMPONENT} "team"'),
        (
            "x" * 256,
            f'"{"x" * 79}…" is longer than the 255 characters of a repository\'s name: '
            "write a shorter one",
        ),
    ],
)
def test_a_wrong_pattern_is_told(pattern: str, message: str) -> None:
    assert errors(access=[rule(on=["fine/*", pattern])]) == [
        f"registry_access, rule 1: on: {message}"
    ]


@pytest.mark.parametrize(
    "pattern",
    ["all", "**", "*", "{user}", "{user}/**", "a.b_c__d---e/*/**/x9", "**/cache", "team/{user}/x"],
)
def test_a_right_pattern_is_accepted(pattern: str) -> None:
    assert errors(access=[rule(on=pattern)]) == []


@pytest.mark.parametrize(
    ("access", "kind"),
    [(None, "nothing (null)"), ({"who": "x"}, "a mapping"), ("x", "text")],
)
def test_rules_that_are_no_list_are_told(access: object, kind: str) -> None:
    assert errors(access=access) == [
        f"registry_access: is {kind}: write a list of rules, as in "
        '`- {who: someuser, may: [pull, push], on: "{user}/**"}`, or [] for none'
    ]


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
                "name of a user, whose own place it would be, since rule 1 uses {user}: rename "
                "the user in registry_users, or choose another name in the pattern",
                never(2, "rule 1 always answers", 1),
            ],
        ),
    ],
)
def test_a_rule_that_earlier_ones_always_answer_is_told(
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


def test_a_user_named_like_a_first_segment_is_told_where_a_rule_uses_user() -> None:
    users = {**USERS, "team": {}}
    elsewhere = rule(who="admin", on=["x", "team/**"])
    assert errors(users=users, access=[elsewhere]) == []
    assert errors(users=users, access=[elsewhere, rule(on="{user}/**")]) == [
        'registry_access, rule 1: "team/**" begins with team, which is also the name of a user, '
        "whose own place it would be, since rule 2 uses {user}: rename the user in "
        "registry_users, or choose another name in the pattern"
    ]


def test_a_user_named_like_a_later_segment_is_told_where_user_stands_at_it() -> None:
    users = {**USERS, "shared": {}}
    rules = [rule(on="team/{user}/**"), rule(who="admin", on="team/shared/*")]
    assert errors(users=users, access=rules) == [
        'registry_access, rule 2: "team/shared/*" has shared, which is also the name of a user, '
        "whose own place it would be, since rule 1 uses {user}: rename the user in "
        "registry_users, or choose another name in the pattern"
    ]
    assert errors(users=users, access=[rules[0], rule(who="admin", on="other/shared/*")]) == []


@pytest.mark.parametrize("name", ["ci.", "a..b", "a___b", "a-_b"])
@pytest.mark.parametrize("who", ["NAME", "group:team", "everyone"])
def test_a_name_that_no_repository_can_have_is_told_where_user_applies(name: str, who: str) -> None:
    users, groups = {**USERS, name: {}}, {"team": [name]}
    mine = rule(who=name if who == "NAME" else who, on="{user}/**")
    assert errors(users, groups, [rule(who="admin"), mine]) == [
        f"registry_users, {name}: this name can be no part of a repository's name, and "
        "registry_access, rule 2, gives this user {user}: write the name with single dots, one or "
        "two underscores, or hyphens, and only between letters and digits"
    ]
    assert errors(users, groups, [rule(who="someuser", on="{user}/**")]) == []


def test_htpasswd_accepts_only_the_rule_that_gives_everyone_everything() -> None:
    refused = [
        "registry_access: registry_auth htpasswd knows no rules, every user may do everything: "
        "write exactly `[{who: everyone, may: all, on: all}]`, or registry_auth: token"
    ]
    for access in ([], None, [rule()], OPEN * 2, [{**OPEN[0], "may": ["pull"]}]):
        review = validate(USERS, GROUPS, access, auth="htpasswd")
        assert [str(error) for error in review.errors] == refused
    for access in (OPEN, [{"who": ["everyone"], "may": ["all"], True: ["all"]}]):
        assert validate(USERS, GROUPS, access, auth="htpasswd").errors == []


def test_a_user_whom_no_rule_gives_anything_is_warned_of() -> None:
    users = {**USERS, "denied": {}, "nobody": {}, "member": {}}
    groups = {"team": ["member"]}
    rules = [
        rule(who=["denied"], may=[], on="**"),
        rule(who=["admin", "readonly", "someuser"]),
        rule(who="group:team"),
        rule(who="denied", may=[], on="all"),
    ]
    review = validate(users, groups, rules)
    assert review.errors == []
    assert [str(warning) for warning in review.warnings] == [
        f"registry_users, {name}: no rule in registry_access gives this user anything: add one, "
        "or remove the user"
        for name in ("denied", "nobody")
    ]
    assert validate(users, groups, [*rules, rule(who="everyone", may="pull")]).warnings == [
        review.warnings[0]
    ]


def test_push_without_pull_is_warned_of_since_the_registry_asks_for_both() -> None:
    review = validate({"someuser": {}}, {}, [rule(may=["push"])])
    assert [str(warning) for warning in review.warnings] == [
        "registry_access, rule 1: gives push without pull, and the registry asks for both to "
        "push: write may: [pull, push]"
    ]
    assert validate({"someuser": {}}, {}, [rule(may=["push", "pull"])]).warnings == []


def test_all_mistakes_are_told_at_once_and_make_no_policy() -> None:
    users = {"admin": {"pasword": SECRET}}
    groups = {"team": ["bob"]}
    rules = [rule(who="admn"), rule(may="pul", who="admin")]
    expected = [
        "registry_users, admin: pasword is an unknown key: write password",
        'registry_groups, team: "bob" is no user: add it to registry_users, or remove it here',
        'registry_access, rule 1: "admn" is no user in registry_users: write admin',
        'registry_access, rule 2: "pul" is nothing that one may: write pull',
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
