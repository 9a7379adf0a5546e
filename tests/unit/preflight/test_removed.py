"""Accounts that were removed from a host, and an inventory that contains them again."""

from __future__ import annotations

from typing import Any

import pytest

from wharfinger.preflight import SCOPES

from .conftest import Judge

INVENTORY: dict[str, Any] = {
    "registry_users": {"admin": {}, "ann": {}, "ben": {}},
    "registry_robots": {"ci": {}},
    "registry_access": [
        {"who": ["admin", "ann", "ben", "robot:ci"], "may": "all", "on": "all"},
    ],
}
ROBOT = {"robot": "ci"}


def errors(judge: Judge, scope: str, removed: dict[str, str], **playbook_vars: Any) -> list[str]:
    host = {"removed": removed}
    return judge(
        scope=scope, playbook_vars=playbook_vars, extra=tuple(playbook_vars), host=host, **INVENTORY
    ).errors


def whom(who: str) -> str:
    return f"this inventory has accounts that were removed from this host: {who}"


ANN = {"ann": "2026-11-29T14:03:55Z"}
ON = "on 2026-11-29 at 14:03 UTC"
OLD = "if it is an old copy, update it; to let them in again"


@pytest.mark.parametrize("scope", ["site", "users"])
def test_a_removed_user_comes_back_only_by_name(judge: Judge, scope: str) -> None:
    said = errors(judge, scope, ANN)
    assert said == [f"registry_users: {whom(f'ann ({ON})')}: {OLD}, write -e readmit=ann"]
    assert errors(judge, scope, ANN, readmit="ann") == []
    assert errors(judge, scope, ANN, readmit=["ann", "ben"]) == []
    assert errors(judge, scope, ANN, readmit="ben") == said


def test_several_are_readmitted_together(judge: Judge) -> None:
    removed = ANN | {"ci": "2026-11-30T00:00:00Z", "ben": "2026-11-28T09:00:00Z"}
    write = f"{OLD}, write -e readmit=ann,ben,ci"
    assert errors(judge, "users", removed) == [
        f"registry_users: {whom(f'ann ({ON}), ben (on 2026-11-28 at 09:00 UTC)')}: {write}",
        f"registry_robots: {whom('ci (on 2026-11-30 at 00:00 UTC)')}: {write}",
    ]
    assert errors(judge, "users", removed, readmit="ann,ben, ci") == []


def test_a_rotation_of_robots_lets_nobody_in_again(judge: Judge) -> None:
    assert errors(judge, "rotate_robots", ANN, **ROBOT) == [
        f"registry_users: {whom(f'ann ({ON})')}: {OLD}, "
        "run playbooks/users.yml with -e readmit=ann first"
    ]


@pytest.mark.parametrize("scope", sorted(SCOPES.keys() - {"site", "users", "rotate_robots"}))
def test_a_playbook_that_changes_no_users_asks_nothing(judge: Judge, scope: str) -> None:
    assert errors(judge, scope, ANN) == []


def test_of_many_the_first_are_named_and_the_command_names_all(judge: Judge) -> None:
    names = [f"user{number:03}" for number in range(300)]
    inventory = {
        "registry_users": {"admin": {}} | {name: {} for name in names},
        "registry_access": [{"who": "everyone", "may": "all", "on": "all"}],
    }
    host = {"removed": dict.fromkeys(names, ANN["ann"])}
    (said,) = judge(host=host, **inventory).errors
    assert f"user007 ({ON}) and 292 more: {OLD}" in said
    assert said.endswith(f"-e readmit={','.join(names)}")


@pytest.mark.parametrize("nobody", ["", " ,", [], None, [7], 7, {"ann": 1}])
def test_somebody_must_be_named(judge: Judge, nobody: object) -> None:
    assert errors(judge, "users", {}, readmit=nobody) == [
        "readmit: names no account: write -e readmit=NAME, or -e readmit=NAME,NAME for several"
    ]


def test_a_readmitted_user_must_be_in_the_inventory(judge: Judge) -> None:
    assert errors(judge, "users", {}, readmit="ann,anne,bob") == [
        "readmit: 'anne', 'bob': neither in registry_users nor in registry_robots: add the "
        "account there too, or correct the name"
    ]


def test_a_damaged_record_of_removed_users_is_named(judge: Judge) -> None:
    for scope in ("site", "users"):
        report = judge(scope=scope, host={"removed": {}, "removed_error": "x is damaged: mend it"})
        assert report.errors == ["host, removed users: x is damaged: mend it"]
    assert judge(scope="rollback", host={"removed_error": "x is damaged"}).errors == []
