"""Checks after the side effects."""

from __future__ import annotations

import re

import pytest

from support import hosts
from support.registry import Account

REGISTRIES = hosts.group("registry")


@pytest.fixture(params=REGISTRIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_new_user_can_sign_in(name: str) -> None:
    assert hosts.registry(name).login(hosts.account("newcomer")) == 200


def test_the_new_password_is_taken_and_the_old_one_refused(name: str) -> None:
    former = Account("readonly", hosts.users()["former"]["readonly"])
    assert hosts.registry(name).login(hosts.account("readonly")) == 200
    assert hosts.registry(name).login(former) == 401


def test_the_removed_user_is_refused(name: str) -> None:
    gone = Account("leaver", hosts.users()["former"]["leaver"])
    assert hosts.registry(name).login(gone) == 401


def test_a_second_clone_changed_nothing_on_any_host(name: str) -> None:
    log = (hosts.ephemeral() / "second_clone.log").read_text()
    recap = re.search(rf"^{name} .*$", log, re.MULTILINE)
    assert recap
    assert "failed=0" in recap[0]
    changed, task = [], ""
    for line in log.splitlines():
        if heading := re.match(r"TASK \[(.*)\]", line):
            task = heading[1]
        # Not `changed: [NAME -> localhost]`: a new clone has no files beside its inventory yet.
        elif line.startswith(f"changed: [{name}]"):
            changed.append(task)
    assert changed == []


def test_no_output_shows_a_password() -> None:
    log = (hosts.ephemeral() / "second_clone.log").read_text()
    secrets = [*hosts.users()["passwords"].values(), hosts.account("someuser").password]
    secrets += [
        user["password_hash"]
        for user in hosts.users()["registry_users"].values()
        if "password_hash" in user
    ]
    assert len(secrets) >= 6
    assert [secret for secret in secrets if secret in log] == []
