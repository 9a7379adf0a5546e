"""Variables that a playbook gets with -e: each mistake's message, word for word."""

from __future__ import annotations

from typing import Any

import pytest

from wharfinger.preflight import SCOPES
from wharfinger.preflight.extra_vars import READ

from .conftest import NOW, Judge

EVERYONE = [{"who": "everyone", "may": "all", "on": "all"}]
HTPASSWD: dict[str, Any] = {"registry_auth": "htpasswd", "registry_access": EVERYONE}
ROBOTS: dict[str, Any] = {
    "registry_robots": {"ci": {}, "nodes": {}},
    "registry_access": [
        {"who": "admin", "may": "all", "on": "all"},
        {"who": ["robot:ci", "robot:nodes"], "may": ["pull"], "on": "**"},
    ],
}
ACME = {"certificates_tls_source": "acme"}
DUE = "or leave it out for what is due"


def errors(judge: Judge, scope: str, playbook_vars: dict[str, Any], **changes: Any) -> list[str]:
    return judge(
        scope=scope, playbook_vars=playbook_vars, extra=tuple(playbook_vars), **changes
    ).errors


@pytest.mark.parametrize(
    ("scope", "playbook_vars"),
    [
        ("rotate", {}),
        ("rotate", {"rotate": "signing"}),
        ("rotate", {"rotate": "tls"}),
        ("rotate", {"rotate": "ca", "finish": "true"}),
        ("rotate", {"rotate": "all", "revoke": True, "rotate_wait": "no"}),
        ("rotate", {"rotate": "signing", "revoke": "true", "rotate_wait": "false"}),
        ("rotate", {"rotate": "tls", "revoke": "false", "finish": "false"}),
        ("rotate", {"clock_is_right": "true"}),
        ("site", {"clock_is_right": True}),
        ("retention", {"clock_is_right": "yes", "confirm_deletions": "true"}),
        ("garbage_collect", {"confirm_deletions": "false"}),
        ("rollback", {}),
        ("rollback", {"rollback": "registry"}),
        ("rollback", {"rollback": "token_server"}),
        ("users", {"regenerate": "admin"}),
        ("site", {"regenerate": "admin"}),
        ("restore", {"snapshot": "0123abcd", "only": "team/app", "leave_out_damaged": "true"}),
        ("remove", {"remove_data": "registry.example.com"}),
        ("rotate_robots", {"robot": "ci"}),
        ("rotate_robots", {"robot": "all", "overlap": "2h"}),
        ("rotate_robots", {"robot": "ci", "overlap": 0}),
        ("rotate_robots", {"robot": "ci", "overlap_ends": "now"}),
    ],
)
def test_what_may_be_asked(judge: Judge, scope: str, playbook_vars: dict[str, Any]) -> None:
    assert errors(judge, scope, playbook_vars, **ROBOTS) == []


@pytest.mark.parametrize(
    ("scope", "playbook_vars", "message"),
    [
        (
            "retention",
            {"confirm_deletions": "sure"},
            "confirm_deletions: 'sure' is neither true nor false: write -e confirm_deletions=true, "
            "or leave it out",
        ),
        (
            "site",
            {"clock_is_right": "maybe"},
            "clock_is_right: 'maybe' is neither true nor false: write -e clock_is_right=true, or "
            "leave it out",
        ),
        (
            "restore",
            {"leave_out_damaged": "perhaps"},
            "leave_out_damaged: 'perhaps' is neither true nor false: write -e "
            "leave_out_damaged=true, or leave it out",
        ),
        (
            "site",
            {"confirm_deletions": "true"},
            "confirm_deletions: is not read by this playbook: run playbooks/retention.yml or "
            "playbooks/garbage_collect.yml with it, or leave it out",
        ),
        (
            "scrub",
            {"clock_is_right": "true"},
            "clock_is_right: is not read by this playbook: run playbooks/rotate_certificates.yml "
            "with it, or leave it out",
        ),
    ],
)
def test_confirmations_that_are_none(
    judge: Judge, scope: str, playbook_vars: dict[str, Any], message: str
) -> None:
    assert errors(judge, scope, playbook_vars) == [message]


@pytest.mark.parametrize("scope", ["retention", "garbage_collect", "rotate", "site"])
def test_clock_is_right_is_answered_with_the_controllers_time(judge: Judge, scope: str) -> None:
    month = 31 * 86400 + 3600
    (error,) = errors(judge, scope, {"clock_is_right": "true"}, host={"clock": NOW + month})
    assert error.startswith("host, clock: it is 31 days ahead of the controller's")


NAMES = "write -e robot=NAME with one of ci, nodes, or -e robot=all"


@pytest.mark.parametrize(
    ("playbook_vars", "message"),
    [
        ({}, f"robot: is missing: {NAMES}"),
        ({"robot": ""}, f"robot: is missing: {NAMES}"),
        ({"robot": "admin"}, f"robot: 'admin' is not in registry_robots: {NAMES}"),
        (
            {"robot": "ci", "overlap": "soon"},
            "overlap: 'soon' is not a duration: write -e overlap=24h or the like, or -e "
            "overlap=0, which refuses the old secret at once",
        ),
        (
            {"robot": "ci", "overlap": "24"},
            "overlap: '24' has no unit: write -e overlap=24h or the like",
        ),
        (
            {"robot": "ci", "overlap": "99999999d"},
            "overlap: '99999999d' is more than a year: write -e overlap=24h or the like",
        ),
        (
            {"robot": "ci", "overlap": "-1h"},
            "overlap: '-1h' is not a duration: write -e overlap=24h or the like, or -e overlap=0, "
            "which refuses the old secret at once",
        ),
        (
            {"robot": "ci", "overlap_ends": "tomorrow"},
            "overlap_ends: 'tomorrow' is not one of its choices: write -e overlap_ends=now, or "
            "leave it out",
        ),
        (
            {"robot": "ci", "overlap": "1h", "overlap_ends": "now"},
            "overlap: applies to a new secret, and overlap_ends makes none: leave one of them out",
        ),
    ],
)
def test_what_is_wrong_with_a_rotation_of_robots(
    judge: Judge, playbook_vars: dict[str, Any], message: str
) -> None:
    assert errors(judge, "rotate_robots", playbook_vars, **ROBOTS) == [message]


def test_without_robots_a_rotation_is_refused(judge: Judge) -> None:
    assert errors(judge, "rotate_robots", {"robot": "all"}) == [
        "robot: registry_robots is empty: add a robot there, and run playbooks/users.yml"
    ]


def test_the_other_token_server_knows_one_secret_of_a_robot(judge: Judge) -> None:
    cesanta = {**ROBOTS, "docker_auth_server": "cesanta"}
    for playbook_vars in ({}, {"overlap": "1h"}):
        assert errors(judge, "rotate_robots", {"robot": "ci", **playbook_vars}, **cesanta) == [
            "overlap: docker_auth_server is cesanta, which supports only one secret per robot: "
            "write -e overlap=0, which refuses the old secret at once, or docker_auth_server: "
            "embedded"
        ]
    for playbook_vars in ({"overlap": "0"}, {"overlap_ends": "now"}):
        assert errors(judge, "rotate_robots", {"robot": "ci", **playbook_vars}, **cesanta) == []


@pytest.mark.parametrize("scope", ["site", "users"])
def test_a_robots_secret_is_not_replaced_by_the_command_for_users(judge: Judge, scope: str) -> None:
    assert errors(judge, scope, {"regenerate": "ci"}, **ROBOTS) == [
        "regenerate: ci is a robot: run playbooks/rotate_robots.yml -e robot=ci, with -e "
        "overlap=0 if the old secret must be refused at once"
    ]


@pytest.mark.parametrize("what", ["signng", "due", "", "TLS", None])
def test_rotate_of_something_unknown(judge: Judge, what: str | None) -> None:
    assert errors(judge, "rotate", {"rotate": what, "finish": "true"}) == [
        f"rotate: '{what}' is not one of its choices: write -e rotate=signing, tls, ca or all, "
        f"{DUE}"
    ]


@pytest.mark.parametrize(
    ("name", "useful"), [("revoke", "true"), ("finish", "true"), ("rotate_wait", "false")]
)
def test_what_is_neither_true_nor_false(judge: Judge, name: str, useful: str) -> None:
    assert errors(judge, "rotate", {name: "perhaps"}) == [
        f"{name}: 'perhaps' is neither true nor false: write -e {name}={useful}, or leave it out"
    ]


@pytest.mark.parametrize(
    ("playbook_vars", "changes", "message"),
    [
        (
            {"rotate": "signing"},
            HTPASSWD,
            "rotate: with registry_auth htpasswd there are no tokens and no signing key: "
            f"write -e rotate=tls, {DUE}",
        ),
        (
            {"rotate": "all", "revoke": "true"},
            HTPASSWD,
            "revoke: with registry_auth htpasswd there are no tokens and no signing key: "
            f"write -e rotate=tls, {DUE}",
        ),
        (
            {"rotate": "tls", "revoke": "true"},
            {},
            "revoke: is for a signing key, whose tokens it makes invalid at once: write -e "
            "rotate=signing -e revoke=true, or leave it out",
        ),
        (
            {"revoke": "true"},
            {},
            "revoke: is for a signing key, whose tokens it makes invalid at once: write -e "
            "rotate=signing -e revoke=true, or leave it out",
        ),
        (
            {"rotate": "ca"},
            ACME,
            "rotate: certificates_tls_source is acme, so no authority of this host issues the "
            f"server's certificate: write -e rotate=tls for a new one, {DUE}",
        ),
        (
            {"rotate": "all", "finish": "yes"},
            {},
            "finish: is for an authority, once no client needs the previous one: write -e "
            "rotate=ca -e finish=true, or leave it out",
        ),
    ],
)
def test_what_does_not_go_together(
    judge: Judge, playbook_vars: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    assert errors(judge, "rotate", playbook_vars, **changes) == [message]


@pytest.mark.parametrize("what", ["tls", "ca"])
def test_a_provided_certificate_is_not_rotated(judge: Judge, what: str) -> None:
    assert errors(judge, "rotate", {"rotate": what}, certificates_tls_source="provided") == [
        "rotate: certificates_tls_source is provided, so the server's certificate is yours: "
        "put the new one into certificates_tls_certificate and certificates_tls_key, "
        "and run site.yml"
    ]


@pytest.mark.parametrize("changes", [HTPASSWD, ACME, {"certificates_tls_source": "provided"}])
def test_all_is_all_that_there_is(judge: Judge, changes: dict[str, Any]) -> None:
    assert errors(judge, "rotate", {"rotate": "all"}, **changes) == []


@pytest.mark.parametrize("kind", ["nginx", "token-server", ""])
def test_rollback_of_something_unknown(judge: Judge, kind: str) -> None:
    assert errors(judge, "rollback", {"rollback": kind}) == [
        f"rollback: '{kind}' is not one of its choices: write -e rollback=registry or "
        "token_server, or leave it out for what the last deployment changed"
    ]


@pytest.mark.parametrize("scope", ["site", "users"])
@pytest.mark.parametrize("name", ["nobody", "hashed", ""])
def test_only_a_generated_password_can_be_replaced(judge: Judge, scope: str, name: str) -> None:
    users = {"hashed": {"password": "long enough"}, "b": {}, "a": {}}
    changes = {"registry_users": users, "registry_access": EVERYONE}
    assert errors(judge, scope, {"regenerate": name}, **changes) == [
        f"regenerate: registry_users has no user '{name}' without password and password_hash, and "
        "only a generated password can be regenerated: write -e regenerate=NAME with one of a, b"
    ]


def test_without_generated_passwords_none_can_be_replaced(judge: Judge) -> None:
    changes = {"registry_users": {}, "registry_access": EVERYONE}
    assert errors(judge, "users", {"regenerate": "me"}, **changes) == [
        "regenerate: registry_users has no user 'me' without password and password_hash, and only "
        "a generated password can be regenerated: write `NAME: {}` for a user whose password is "
        "to be generated, or leave it out"
    ]


@pytest.mark.parametrize(
    ("scope", "name", "playbook"),
    [
        ("site", "rotate", "rotate_certificates"),
        ("site", "robot", "rotate_robots"),
        ("users", "overlap_ends", "rotate_robots"),
        ("users", "revoke", "rotate_certificates"),
        ("rotate", "rollback", "rollback"),
        ("rotate", "regenerate", "users"),
        ("site", "remove_data", "remove"),
        ("site", "only", "restore"),
        ("backup", "snapshot", "restore"),
    ],
)
def test_what_another_playbook_is_asked(judge: Judge, scope: str, name: str, playbook: str) -> None:
    assert errors(judge, scope, {name: "true"}) == [
        f"{name}: is not read by this playbook: run playbooks/{playbook}.yml with it, or leave it "
        "out"
    ]
    # In an inventory, a variable of this name may be for something else.
    assert judge(scope=scope, playbook_vars={name: "true"}).errors == []


@pytest.mark.parametrize(
    ("scope", "name", "near"),
    [
        ("rotate", "rotat", "rotate"),
        ("rotate", "revok", "revoke"),
        ("rotate", "finsh", "finish"),
        ("rotate", "rotate_wiat", "rotate_wait"),
        ("rollback", "rolback", "rollback"),
        ("users", "regenrate", "regenerate"),
        ("remove", "remove_date", "remove_data"),
    ],
)
def test_a_slip_names_what_is_meant(judge: Judge, scope: str, name: str, near: str) -> None:
    assert judge(scope=scope, extra=(name,)).errors == [
        f"{name}: is an unknown variable: write -e {near}=…"
    ]


@pytest.mark.parametrize(("name", "near"), [("robots", "robot"), ("overlp", "overlap")])
def test_a_slip_in_a_rotation_of_robots_names_what_is_meant(
    judge: Judge, name: str, near: str
) -> None:
    assert judge(
        scope="rotate_robots", playbook_vars={"robot": "ci"}, extra=(name,), **ROBOTS
    ).errors == [f"{name}: is an unknown variable: write -e {near}=…"]


def test_other_extra_variables_are_left_alone(judge: Judge) -> None:
    for scope in SCOPES:
        given = ("registry_port", "ansible_user", "note", "images_refresh")
        playbook_vars = {"robot": "ci"} if scope == "rotate_robots" else {}
        assert judge(scope=scope, playbook_vars=playbook_vars, extra=given, **ROBOTS).errors == []


def test_every_scope_says_what_its_playbook_reads() -> None:
    assert READ.keys() == SCOPES.keys()
