"""Robots in an inventory and on a host: what preflight says about both."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from wharfinger.preflight import SCOPES

from .conftest import NOW

Said = Callable[..., list[str]]
TODAY = datetime.fromtimestamp(NOW, UTC).date()
ACCESS = [
    {"who": "admin", "may": "all", "on": "all"},
    {"who": "robot:ci", "may": ["pull"], "on": "**"},
]
LATER, BEFORE = "2027-01-16T00:00:00Z", "2027-01-15T00:00:00Z"
SECRET = "Ab_-" * 10 + "xyz"


def of(robot: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"registry_robots": {"ci": robot}, "registry_access": ACCESS, **more}


def test_good_robots_are_worth_no_word(errors: Said, warnings: Said) -> None:
    for robot in ({}, {"addresses": ["10.0.0.0/8"], "expires": date(2028, 1, 1)}):
        assert errors(**of(robot)) == []
        assert warnings(**of(robot)) == []


@pytest.mark.parametrize("scope", ["site", "users", "rotate_robots"])
def test_a_robot_is_judged_by_todays_date(errors: Said, scope: str) -> None:
    yesterday = TODAY - timedelta(days=1)
    playbook_vars = {"robot": "ci"} if scope == "rotate_robots" else {}
    said = errors(**of({"expires": yesterday}), scope=scope, playbook_vars=playbook_vars)
    assert said == [
        f"registry_robots, ci: expires is {yesterday}, which is in the past: write a later date, "
        "or remove the robot"
    ]


def test_an_expired_robot_keeps_no_certificate(errors: Said) -> None:
    for scope in sorted(SCOPES.keys() - {"site", "restore", "users", "rotate_robots"}):
        assert errors(**of({"expires": "2020-01-01"}), scope=scope) == []


def test_a_robot_about_to_expire_is_warned_of(warnings: Said) -> None:
    assert warnings(**of({"expires": TODAY + timedelta(days=3)})) == [
        f"registry_robots, ci: expires in 3 days ({TODAY + timedelta(days=3)}, UTC): write a later "
        "date, and give it a new secret with playbooks/rotate_robots.yml -e robot=ci"
    ]


def test_docker_auth_does_not_support_expiry(errors: Said) -> None:
    given = of({"expires": "2028-01-01"}, docker_auth_server="cesanta")
    assert errors(**given) == [
        "registry_robots, ci: only the embedded token server supports expires: remove it, or "
        "write docker_auth_server: embedded"
    ]


def test_htpasswd_has_no_robots(errors: Said) -> None:
    given = of({}, registry_auth="htpasswd")
    given["registry_access"] = [{"who": "everyone", "may": "all", "on": "all"}]
    assert errors(**given) == [
        "registry_robots: registry_auth htpasswd has no rules, so a robot could do everything: "
        "remove the robots, or write registry_auth: token"
    ]


@pytest.mark.parametrize("scope", ["site", "users"])
def test_two_secrets_are_not_given_to_a_server_that_knows_one(errors: Said, scope: str) -> None:
    def host(until: str | None) -> dict[str, Any]:
        return {"robots": {"ci": {"generated": "x", "until": until}}}

    cesanta = of({}, docker_auth_server="cesanta", scope=scope)
    assert errors(**cesanta, host=host(LATER)) == [
        "docker_auth_server: is cesanta, which supports only one secret per robot, and the former "
        f"one of ci is valid until {LATER}: write embedded until then, or end it before with "
        "playbooks/rotate_robots.yml -e robot=ci -e overlap_ends=now"
    ]
    for until in (BEFORE, None):
        assert errors(**cesanta, host=host(until)) == []
    assert errors(**of({}, scope=scope), host=host(LATER)) == []
    # A removed robot has no secret any more.
    assert errors(docker_auth_server="cesanta", scope=scope, host=host(LATER)) == []


@pytest.mark.parametrize("scope", ["site", "users"])
def test_a_chosen_password_beside_the_inventory_becomes_no_robots_secret(
    errors: Said, tmp_path: Path, scope: str
) -> None:
    file = tmp_path / "credentials/ci"
    file.parent.mkdir()
    file.write_text(f"{SECRET}\n")
    assert errors(**of({}), scope=scope) == []
    for weak in ("hunter2", "a" * 32, f"{SECRET} ", ""):
        file.write_text(weak)
        assert errors(**of({}), scope=scope) == [
            "registry_robots, ci: credentials/ci beside the inventory is not the secret of a robot "
            "(of a user of that name, perhaps): move it away, and one is generated"
        ]
    # The host has the robot's hash: a different file here is only reported.
    host = {"robots": {"ci": {"generated": "x", "until": None}}}
    assert errors(**of({}), scope=scope, host=host) == []
