"""Robots: messages about wrong ones, what correct ones may do, and what they become."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from wharfinger.access import compile_acl, compile_users, examine, read_policy, table

SECRET = "Planted-Secret"
TODAY = date(2026, 11, 25)
USERS: dict[Any, Any] = {"admin": {}, "someuser": {}}
GROUPS: dict[Any, Any] = {"developers": ["someuser"]}
LIMITS = "write {}, or limits as in {addresses: [10.0.0.0/8], expires: 2027-06-30}"
NO_NETWORK = "write one like 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32"
NAME = (
    "a robot's name is lower-case letters, digits, dots, hyphens and underscores, "
    "beginning with a letter or digit"
)


def rules(*more: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"who": "everyone", "may": "all", "on": "all"}, *more]


def given(name: str = "ci", on: str = "team/**") -> dict[str, Any]:
    return {"who": f"robot:{name}", "may": ["pull", "push"], "on": on}


def errors(
    robots: object, access: object = None, groups: object = GROUPS, **kinds: Any
) -> list[str]:
    _, review = examine(USERS, groups, access or rules(), robots, today=TODAY, **kinds)
    return [str(error) for error in review.errors]


def warnings(robots: object, *access: dict[str, Any]) -> list[str]:
    _, review = examine(USERS, GROUPS, rules(*access), robots, today=TODAY)
    assert review.errors == []
    return [str(warning) for warning in review.warnings]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (None, f"is nothing (null): {LIMITS}"),
        (SECRET, f"is text: {LIMITS}"),
        (
            {"password": SECRET},
            "a robot's secret is generated and kept in credentials/: remove password",
        ),
        (
            {"password_hash": SECRET},
            "a robot's secret is generated and kept in credentials/: remove password_hash",
        ),
        (
            {"secret": SECRET},
            "a robot's secret is generated and kept in credentials/: remove secret",
        ),
        ({"adresses": []}, "adresses is an unknown key: write addresses"),
        ({"cidr": "10.0.0.0/8"}, "cidr is an unknown key: write addresses"),
        ({"expiry": "2027-06-30"}, "expiry is an unknown key: write expires"),
        ({SECRET: None}, f"key 1 is unknown (not shown, it may be secret): {LIMITS}"),
        ({7: SECRET}, f"key 1 is unknown (not shown, it may be secret): {LIMITS}"),
        ({"addresses": []}, "addresses is empty: write, for example, addresses: [10.0.0.0/8]"),
        (
            {"addresses": [7]},
            "addresses has a number: write text, for example addresses: [10.0.0.0/8]",
        ),
        (
            {"addresses": ["10.0.0.0/8", "10.0.0.0/8"]},
            'addresses has "10.0.0.0/8" twice: remove one',
        ),
        (
            {"addresses": ["10.0.0"]},
            f'addresses: "10.0.0" is neither an address nor a network: {NO_NETWORK}',
        ),
        (
            {"addresses": "10.0.0.0/33"},
            f'addresses: "10.0.0.0/33" is neither an address nor a network: {NO_NETWORK}',
        ),
        (
            {"addresses": "10.0.0.0/"},
            f'addresses: "10.0.0.0/" is neither an address nor a network: {NO_NETWORK}',
        ),
        (
            {"addresses": "fe80::1%eth0"},
            f'addresses: "fe80::1%eth0" is neither an address nor a network: {NO_NETWORK}',
        ),
        (
            {"addresses": "ci.example.com"},
            f'addresses: "ci.example.com" is neither an address nor a network: {NO_NETWORK}',
        ),
        (
            {"addresses": ["10.1.2.3/8"]},
            'addresses: "10.1.2.3/8" has bits set after its prefix: write 10.0.0.0/8 for the '
            "network, or 10.1.2.3 for one address",
        ),
        (
            {"addresses": ["2001:db8::7/32"]},
            'addresses: "2001:db8::7/32" has bits set after its prefix: write 2001:db8::/32 for '
            "the network, or 2001:db8::7 for one address",
        ),
        (
            {"addresses": ["10.0.0.0/255.0.0.0"]},
            'addresses: "10.0.0.0/255.0.0.0" has a mask: write 10.0.0.0/8',
        ),
        (
            {"addresses": ["::ffff:10.0.0.0/104"]},
            'addresses: "::ffff:10.0.0.0/104" is an IPv4 network written as IPv6: write 10.0.0.0/8',
        ),
        (
            {"expires": "next year"},
            'expires: "next year" is not a date: write a date as in expires: 2027-06-30',
        ),
        (
            {"expires": "2027-06-31"},
            'expires: there is no day "2027-06-31": write a date as in expires: 2027-06-30',
        ),
        ({"expires": 2027}, "expires is a number: write a date as in expires: 2027-06-30"),
        ({"expires": None}, "expires is nothing (null): write a date as in expires: 2027-06-30"),
        (
            {"expires": datetime(2027, 6, 30, 12)},
            "expires has a time of day: write the date alone, expires: 2027-06-30",
        ),
        (
            {"expires": date(2026, 11, 24)},
            "expires is 2026-11-24, which is in the past: write a later date, or remove the robot",
        ),
        (
            {"expires": "9999-12-31"},
            "expires is 9999-12-31: leave it out for a robot that stays for good",
        ),
        (
            {"expires": "2020-01-01"},
            "expires is 2020-01-01, which is in the past: write a later date, or remove the robot",
        ),
    ],
)
def test_a_wrong_entry_of_a_robot_is_reported(entry: object, message: str) -> None:
    messages = errors({"ci": entry})
    assert messages == [f"registry_robots, ci: {message}"]
    assert SECRET not in messages[0]


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"addresses": "192.0.2.7"},
        {"addresses": ["10.0.0.0/8", "2001:db8::/32", "::1", "0.0.0.0/0"]},
        {"expires": "2027-06-30"},
        {"addresses": ["10.0.0.0/8"], "expires": date(2026, 11, 25)},
    ],
)
def test_a_right_entry_of_a_robot_is_accepted(entry: object) -> None:
    assert errors({"ci": entry}) == []


@pytest.mark.parametrize(
    ("robots", "message"),
    [
        (
            ["ci"],
            "registry_robots: is a list: write a mapping of names, as in `ci: {}`, "
            "or {} for no robots",
        ),
        (
            {"admin": {}},
            "registry_robots, admin: this is also the name of a user in registry_users, and both "
            "would sign in with it: rename one of them",
        ),
        (
            {"wharfinger-verification": {}},
            "registry_robots, wharfinger-verification: this name is reserved for the deployment's "
            "own verification: choose another name",
        ),
        (
            {"everyone": {}},
            "registry_robots, everyone: everyone has a meaning of its own in registry_access: "
            "choose another name",
        ),
        (
            {"all": {}},
            "registry_robots, all: all means every robot in playbooks/rotate_robots.yml: choose "
            "another name, as in all-jobs",
        ),
        ({"CI jobs": {}}, f"registry_robots, CI jobs: {NAME}: write ci-jobs"),
        (
            {7: {}},
            "registry_robots, 7: the name is a number to YAML: write it in quotation marks",
        ),
    ],
)
def test_a_wrong_name_of_a_robot_is_reported(robots: object, message: str) -> None:
    assert errors(robots) == [message]


@pytest.mark.parametrize(
    ("who", "message"),
    [
        ("ci", '"ci" is a robot: write robot:ci'),
        ("robot:cii", '"cii" is not a robot in registry_robots: write robot:ci'),
        ("robot:admin", '"admin" is a user, not a robot: write who: admin'),
        ("robot:", '"" is not a robot: add it to registry_robots, or remove it here'),
        ("robot:xyz", '"xyz" is not a robot: add it to registry_robots, or remove it here'),
        ("robot:all", '"robot:all" is not a robot: write each robot\'s name, in a list'),
        ({"robot": "ci"}, "who is a mapping: write robot:NAME without a space after the colon"),
    ],
)
def test_a_rule_for_an_unknown_robot_is_reported(who: object, message: str) -> None:
    wrong = {"who": who, "may": ["pull"], "on": "team/**"}
    access = [wrong, given(), *rules()]
    assert errors({"ci": {}}, access) == [f"registry_access, rule 1: {message}"]


def test_a_rule_for_a_robot_with_a_mistake_is_not_reported_again() -> None:
    messages = errors({"CI": {}}, rules(given("CI")))
    assert messages == [f"registry_robots, CI: {NAME}: write ci"]


def test_a_robot_in_a_group_is_answered_with_where_to_write_it() -> None:
    assert errors({"ci": {}}, groups={"developers": ["someuser", "ci"]}) == [
        'registry_groups, developers: "ci" is a robot, and a group has users only: remove it '
        "here, and write robot:ci beside group:developers in the who of its rules"
    ]


def test_htpasswd_has_no_robots() -> None:
    assert errors({"ci": {}}, auth="htpasswd") == [
        "registry_robots: registry_auth htpasswd has no rules, so a robot could do everything: "
        "remove the robots, or write registry_auth: token"
    ]
    assert errors({}, auth="htpasswd") == []


@pytest.mark.parametrize(
    ("expires", "end"),
    [
        ("2027-12-31", "2028-01-01T00:00:00Z"),
        ("9999-12-30", "9999-12-31T00:00:00Z"),
    ],
)
def test_a_robot_ends_with_its_last_day(expires: str, end: str) -> None:
    robots = {"ci": {"expires": expires}}
    assert errors(robots) == []
    assert read_policy(USERS, GROUPS, rules(), robots).robots["ci"].end == end


def test_an_expiry_needs_the_embedded_server() -> None:
    robots = {"ci": {"expires": "2027-06-30"}, "nodes": {"addresses": ["10.0.0.0/8"]}}
    assert errors(robots, server="cesanta") == [
        "registry_robots, ci: only the embedded token server supports expires: remove it, or "
        "write docker_auth_server: embedded"
    ]


def test_a_robot_named_like_a_segment_is_reported_if_its_own_rule_uses_user() -> None:
    others = {"who": "group:developers", "may": ["pull"], "on": "ci/**"}
    own = {"who": "everyone", "may": "all", "on": "{user}/**"}
    # The rule `own` gives the robot nothing, so ci/** is not its own place.
    assert errors({"ci": {}}, [own, others, given(on="ci/**")]) == []
    assert errors({"ci": {}}, [own, others, given(on="{user}/**")]) == [
        'registry_access, rule 2: "ci/**" begins with ci, which is also the name of a robot; rule '
        "3 uses {user}, so this would be that robot's own place: rename the robot in "
        "registry_robots, or choose another name in the pattern"
    ]
    later = {"who": "someuser", "may": ["pull"], "on": "team/ci/*"}
    assert errors({"ci": {}}, [later, given(on="team/{user}/*")]) == [
        'registry_access, rule 1: "team/ci/*" has ci, which is also the name of a robot; rule 2 '
        "uses {user}, so this would be that robot's own place: rename the robot in "
        "registry_robots, or choose another name in the pattern"
    ]


def test_a_name_that_no_repository_can_have_is_reported_if_a_rule_uses_user() -> None:
    assert errors({"ci.": {}}, rules(given("ci."))) == []
    assert errors({"ci.": {}}, rules(given("ci.", on="{user}/*"))) == [
        "registry_robots, ci.: this name cannot be part of a repository's name, and "
        "registry_access, rule 2, gives this robot {user}: write the name with single dots, one or "
        "two underscores, or hyphens, and only between letters and digits"
    ]


def test_a_rule_for_everyone_answers_no_robot() -> None:
    assert errors({"ci": {}}, rules(given())) == []
    assert errors({"ci": {}}, rules(given(on="**"), given())) == [
        "registry_access, rule 3: never decides anything, since rule 2 always answers first: "
        "remove it, or move it above rule 2"
    ]


def test_a_robot_whom_no_rule_gives_anything_is_warned_of() -> None:
    idle = (
        "registry_robots, ci: no rule in registry_access gives this robot anything, and everyone "
        "does not include robots: add one with who: robot:ci, or remove the robot"
    )
    assert warnings({"ci": {}}) == [idle]
    assert warnings({"ci": {}}, {"who": "robot:ci", "may": [], "on": "**"}) == [idle]
    assert warnings({"ci": {}}, given()) == []
    assert warnings({"ci": {}}, {"who": "robot:ci", "may": ["list"], "on": "all"}) == []


@pytest.mark.parametrize(
    ("expires", "when"),
    [
        ("2026-11-25", "today (2026-11-25, UTC)"),
        ("2026-11-26", "tomorrow (2026-11-26, UTC)"),
        ("2026-12-25", "in 30 days (2026-12-25, UTC)"),
        ("2026-12-26", None),
    ],
)
def test_a_robot_that_is_about_to_expire_is_warned_of(expires: str, when: str | None) -> None:
    message = (
        f"registry_robots, ci: expires {when}: write a later date, and give it a new secret with "
        "playbooks/rotate_robots.yml -e robot=ci"
    )
    assert warnings({"ci": {"expires": expires}}, given()) == ([message] if when else [])


ROBOTS: dict[str, Any] = {
    "ci": {"addresses": ["10.0.0.0/8", "2001:db8::/32"], "expires": date(2027, 6, 30)},
    "nodes": {},
}
ACCESS = [
    {"who": ["robot:ci", "someuser"], "may": ["pull", "push"], "on": ["{user}/**", "team/*"]},
    {"who": "everyone", "may": ["pull"], "on": "**"},
    {"who": "robot:nodes", "may": ["pull", "list"], "on": "all"},
]
POLICY = read_policy(USERS, GROUPS, ACCESS, ROBOTS)


@pytest.mark.parametrize(
    ("robot", "verb", "repository", "address", "allowed"),
    [
        ("ci", "push", "team/app", "10.1.2.3", True),
        ("ci", "push", "team/app", "2001:db8::7", True),
        ("ci", "push", "team/app", "192.0.2.7", False),
        ("ci", "push", "team/app", None, True),
        ("ci", "push", "ci/app", None, True),
        ("ci", "push", "nodes/app", None, False),
        ("ci", "delete", "team/app", None, False),
        # What everyone may do.
        ("ci", "pull", "other/app", None, False),
        ("nodes", "pull", "other/app", "192.0.2.7", True),
        ("nodes", "push", "other/app", None, False),
        ("nodes", "list", None, None, True),
    ],
)
def test_what_a_robot_may(
    robot: str, verb: str, repository: str | None, address: str | None, allowed: bool
) -> None:
    assert POLICY.decide(robot, verb, repository, address).allowed is allowed


def test_the_table_names_robots_and_their_limits() -> None:
    assert table(POLICY).splitlines()[1:7] == [
        "1     robot ci (from 10.0.0.0/8 or 2001:db8::/32, until 2027-06-30)  pull, push  "
        "ci/**, team/*",
        "1     someuser                                                       pull, push  "
        "someuser/**, team/*",
        "2     every user                                                     pull        **",
        "3     robot nodes                                                    pull, list  "
        "every repository and the catalog",
        "The first rule that matches decides; anything else is denied.",
    ]


def test_many_networks_are_counted_in_the_table() -> None:
    robots = {"ci": {"addresses": ["10.0.0.0/8", "192.0.2.7", "::1"]}}
    assert "robot ci (from 3 networks)" in table(read_policy(USERS, GROUPS, [given()], robots))


HASHES = {name: f"hash of {name}" for name in ("admin", "someuser", "ci", "nodes")}
PREVIOUS = {"ci": {"hash": "hash before", "until": "2026-12-01T00:00:00Z"}}


def test_a_robots_limits_are_written_for_the_embedded_server() -> None:
    users = compile_users(POLICY, HASHES, PREVIOUS)
    assert users["ci"] == {
        "password": "hash of ci",
        "previous_password": {"password": "hash before", "until": "2026-12-01T00:00:00Z"},
        "expires": "2027-07-01T00:00:00Z",
        "addresses": ["10.0.0.0/8", "2001:db8::/32"],
    }
    assert users["nodes"] == {"password": "hash of nodes"}
    assert users["someuser"] == {
        "password": "hash of someuser",
        "labels": {"group": ["developers"], "kind": ["user"]},
    }


def test_docker_auth_gets_only_settings_that_it_knows() -> None:
    users = compile_users(POLICY, HASHES, PREVIOUS, server="cesanta")
    assert users["ci"] == {"password": "hash of ci"}


def test_a_robots_rule_has_an_entry_for_each_network() -> None:
    matches = [
        entry["match"]
        for entry in compile_acl(POLICY)
        if entry["match"].get("account") in ("ci", "nodes")
    ]
    own = {"type": "repository", "name": "/^${account}(/[^/]+)+$/"}
    team = {"type": "repository", "name": "/^team/[^/]+$/"}
    assert matches == [
        {"account": "ci", "ip": "10.0.0.0/8", **own},
        {"account": "ci", "ip": "2001:db8::/32", **own},
        {"account": "ci", "ip": "10.0.0.0/8", **team},
        {"account": "ci", "ip": "2001:db8::/32", **team},
        {"account": "nodes", "type": "registry", "name": "catalog"},
        {"account": "nodes"},
    ]


def test_a_robot_without_a_hash_is_not_compiled() -> None:
    with pytest.raises(ValueError, match=r"^no password hash is known for: ci, nodes$"):
        compile_users(POLICY, {"admin": "x", "someuser": "x"})
