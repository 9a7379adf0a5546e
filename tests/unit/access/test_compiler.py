"""The configuration that is written for docker_auth, key by key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from wharfinger.access import Policy, Rule, compile_acl, compile_users
from wharfinger.access.robots import Robot
from wharfinger.docker_auth import auth_config

RESERVED = "wharfinger-verification"
OWN = {"type": "repository", "name": "/^wharfinger-verification(/[^/]+)+$/"}
HASHES = {name: f"hash of {name}" for name in ("admin", "ci.robot", RESERVED, "removed")}
POLICY = Policy(
    ("admin", "ci.robot"),
    {"team": ("ci.robot",), "ops": ("admin", "ci.robot"), "empty": ()},
    (
        Rule(1, ("admin",), ("all",), ("all",)),
        Rule(2, ("ci.robot",), ("delete", "pull"), ("{user}/**", "a.b/*")),
        Rule(3, ("group:team", "everyone"), ("all",), ("**",)),
        Rule(4, ("group:ops",), ("list", "pull"), ("all",)),
        Rule(5, ("anonymous",), (), ("**/cache", "*/{user}/*", "x")),
    ),
)


def entry(match: dict[str, Any], actions: list[str], comment: str) -> dict[str, Any]:
    return {"match": match, "actions": actions, "comment": comment}


def on(name: str) -> dict[str, str]:
    return {"type": "repository", "name": name}


def test_the_acl_has_the_reserved_account_first_and_then_the_rules_in_their_order() -> None:
    anonymous = {"account": ""}
    assert compile_acl(POLICY) == [
        entry({"account": RESERVED, **OWN}, ["pull", "push"], "verification: its own repositories"),
        entry({"account": RESERVED}, [], "verification: nothing else"),
        entry({**anonymous, **OWN}, [], "verification: never without login"),
        entry({"account": "admin"}, ["*"], "registry_access, rule 1: admin"),
        entry(
            {"account": "ci.robot", **on("/^${account}(/[^/]+)+$/")},
            ["pull", "delete"],
            "registry_access, rule 2: ci.robot on {user}/**",
        ),
        entry(
            {"account": "ci.robot", **on(r"/^a\.b/[^/]+$/")},
            ["pull", "delete"],
            "registry_access, rule 2: ci.robot on a.b/*",
        ),
        entry(
            {"labels": {"group": "team"}, **on("/^[^/]+(/[^/]+)*$/")},
            ["*"],
            "registry_access, rule 3: group:team on **",
        ),
        entry(
            {"account": "/.+/", **on("/^[^/]+(/[^/]+)*$/")},
            ["*"],
            "registry_access, rule 3: everyone on **",
        ),
        entry(
            {"labels": {"group": "ops"}, "type": "registry", "name": "catalog"},
            ["*"],
            "registry_access, rule 4: group:ops (the catalog)",
        ),
        entry({"labels": {"group": "ops"}}, ["pull"], "registry_access, rule 4: group:ops"),
        entry(
            {**anonymous, **on("/^[^/]+(/[^/]+)*/cache$/")},
            [],
            "registry_access, rule 5: anonymous on **/cache",
        ),
        # nothing for anonymous on */{user}/*: a client without a name has no such place
        entry({**anonymous, **on("/^x$/")}, [], "registry_access, rule 5: anonymous on x"),
    ]


def test_groups_become_labels_and_anonymous_a_user_without_name() -> None:
    assert compile_users(POLICY, HASHES) == {
        RESERVED: {"password": f"hash of {RESERVED}"},
        "admin": {"password": "hash of admin", "labels": {"group": ["ops"]}},
        "ci.robot": {"password": "hash of ci.robot", "labels": {"group": ["team", "ops"]}},
        "": {},
    }


def test_without_a_rule_for_anonymous_nobody_gets_in_without_login() -> None:
    policy = Policy(("admin",), {}, POLICY.rules[:1])
    assert compile_users(policy, HASHES).keys() == {RESERVED, "admin"}
    assert [entry["match"].get("account") for entry in compile_acl(policy)] == [
        RESERVED,
        RESERVED,
        "admin",
    ]


def test_a_user_without_hash_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^no password hash is known for: admin, ci\.robot$"):
        compile_users(POLICY, {})


def config(**settings: Any) -> dict[str, Any]:
    return auth_config(
        POLICY,
        HASHES,
        issuer="registry.example.com",
        certificate_path="/config/signing.pem",
        key_path="/config/signing.pem",
        expiration=300,
        addr=":5002",
        real_ip_header="X-Real-IP",
        **settings,
    )


def test_the_file_has_the_settings_that_are_safe_behind_one_proxy() -> None:
    assert config() == {
        "server": {"addr": ":5002", "real_ip_header": "X-Real-IP", "real_ip_pos": -1},
        "token": {
            "issuer": "registry.example.com",
            "expiration": 300,
            "certificate": "/config/signing.pem",
            "key": "/config/signing.pem",
            "disable_legacy_key_id": True,
        },
        "users": compile_users(POLICY, HASHES),
        "acl": compile_acl(POLICY),
    }


def test_the_embedded_servers_file_has_the_limits() -> None:
    limits = {"account_failures": 50, "known_failures": 5, "address_failures": 60}
    assert config(limits=limits) == config() | {"limits": limits}
    assert config(server="cesanta", limits=limits) == config()


def test_the_embedded_servers_file_has_the_digests_of_generated_secrets() -> None:
    digests = {"ci.robot": "d" * 64, RESERVED: "e" * 64, "removed": "f" * 64}
    users = config(digests=digests)["users"]
    groups = {"group": ["team", "ops"]}
    assert users["ci.robot"] == {
        "password": "hash of ci.robot",
        "labels": groups | {"secret_sha256": ["d" * 64]},
    }
    assert users[RESERVED]["labels"] == {"secret_sha256": ["e" * 64]}
    assert "secret_sha256" not in users["admin"]["labels"]
    assert "removed" not in users
    assert config(server="cesanta", digests=digests) == config()


def test_a_robot_with_two_secrets_has_two_digests() -> None:
    policy = Policy((), {}, (), {"ci": Robot()})
    hashes, digests = {"ci": "hash"}, {"ci": "d" * 64}
    before = {"hash": "hash before", "until": "2026-12-01T00:00:00Z"}
    known = {"ci": before | {"digest": "c" * 64}}
    labels = compile_users(policy, hashes, known, digests=digests)["ci"]["labels"]
    assert labels == {"secret_sha256": ["d" * 64, "c" * 64]}
    # The record of a rotation that an earlier version began: bcrypt until it ends.
    labels = compile_users(policy, hashes, {"ci": before}, digests=digests)["ci"]["labels"]
    assert labels == {"secret_sha256": ["d" * 64]}


def test_without_robots_both_servers_read_the_very_same_file() -> None:
    assert config(server="cesanta") == config(server="embedded")
    with pytest.raises(ValueError, match=r"^docker_auth_server: write one of embedded, cesanta$"):
        config(server="other")


@pytest.mark.parametrize(
    "value", ['it\'s "x"', "{{ 1 + 1 }}", "two\nlines", "on", "\U0001f600\x7f"]
)
def test_any_text_reaches_the_file_as_it_is(value: str) -> None:
    policy = Policy((), {}, (), {value: Robot()})
    file = auth_config(
        policy,
        {value: value},
        issuer=value,
        certificate_path=value,
        key_path=value,
        expiration=300,
        addr=":5002",
        real_ip_header="X-Real-IP",
    )
    assert file["users"] == compile_users(policy, {value: value}) == {value: {"password": value}}
    assert [file["token"][key] for key in ("issuer", "certificate", "key")] == [value] * 3


MIRRORED = "wharfinger-mirror"


def test_the_account_of_mirrors_may_fill_them_and_nothing_else() -> None:
    # Whatever the rules say: its entries come before theirs.
    everybody = replace(
        POLICY,
        rules=(Rule(1, ("everyone",), ("all",), ("all",)),),
        mirrors=("base/debian", "plain.app"),
    )
    own = [each for each in compile_acl(everybody) if each["match"].get("account") == MIRRORED]
    assert own == [
        entry(
            {"account": MIRRORED, **on("/^base/debian$/")},
            ["pull", "push"],
            "registry_mirrors: base/debian",
        ),
        entry(
            {"account": MIRRORED, **on(r"/^plain\.app$/")},
            ["pull", "push"],
            "registry_mirrors: plain.app",
        ),
        entry({"account": MIRRORED}, [], "registry_mirrors: nothing else"),
    ]
    assert compile_acl(everybody).index(own[-1]) < next(
        number
        for number, each in enumerate(compile_acl(everybody))
        if "registry_access" in each["comment"]
    )
    questions = [
        ("pull", "base/debian"),
        ("push", "base/debian"),
        ("delete", "base/debian"),
        ("push", "base/debian/x"),
        ("pull", "team/app"),
        ("push", "wharfinger-verification/x"),
        ("list", None),
    ]
    allowed = [everybody.decide(MIRRORED, verb, name).allowed for verb, name in questions]
    assert allowed == [True, True, *[False] * 5]


def test_without_mirrors_their_account_does_not_exist() -> None:
    hashes = HASHES | {MIRRORED: "its hash"}
    assert MIRRORED not in compile_users(POLICY, hashes)
    assert MIRRORED not in str(compile_acl(POLICY))
    filled = replace(POLICY, mirrors=("base/debian",))
    assert compile_users(filled, hashes)[MIRRORED] == {"password": "its hash"}
