"""A removed account comes back only by name.

The tests run in the order in which they are written.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from support import hosts
from support.plays import changed, play, said
from support.registry import Account

REGISTRIES = hosts.group("registry")
USERS = "playbooks/users"
RECORD = "/var/lib/wharfinger/removed_accounts.json"


@pytest.fixture(scope="module")
def leaver() -> Account:
    """The user that the scenario has removed."""
    return Account("leaver", hosts.users()["former"]["leaver"])


@pytest.fixture(scope="module")
def old_copy(leaver: Account, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An old inventory's variables: with the removed user, without the robot that came later."""
    known = hosts.users()
    old = {
        "registry_users": known["registry_users"] | {leaver.name: {"password": leaver.password}},
        "registry_robots": {
            name: robot for name, robot in known["registry_robots"].items() if name != "builder"
        },
    }
    path: Path = tmp_path_factory.mktemp("old") / "copy.json"
    path.touch(0o600)
    path.write_text(json.dumps(old))
    return f"@{path}"


def remembered(name: str) -> dict[str, str]:
    """The accounts that a host remembers as removed: name → time."""
    record: dict[str, str] = json.loads(hosts.host(name).check_output("cat %s", RECORD))
    return record


def logins(account: Account) -> list[int]:
    return [hosts.registry(name).login(account) for name in REGISTRIES]


def test_hosts_remember_who_was_removed() -> None:
    for name in REGISTRIES:
        assert remembered(name).keys() == {"leaver"}
        file = hosts.host(name).file(RECORD)
        assert (file.mode, file.user, file.group) == (0o600, "root", "root")


@pytest.mark.parametrize(
    ("playbook", "options", "command"),
    [
        (USERS, (), "write"),
        (USERS, ("--check",), "write"),
        ("site", (), "write"),
        (
            "playbooks/rotate_robots",
            ("-e", "robot=ci"),
            "run playbooks/users.yml with",
        ),
    ],
)
def test_an_old_copy_of_the_inventory_brings_nobody_back(
    leaver: Account, old_copy: str, playbook: str, options: tuple[str, ...], command: str
) -> None:
    ran = play(playbook, "-e", old_copy, *options)
    assert (ran.returncode, set(changed(ran).values())) == (2, {0}), ran.stdout
    first = " first" if command.startswith("run") else ""
    assert re.search(
        r"registry_users: this inventory has accounts that were removed from this host: leaver "
        r"\(on 2\d\d\d-\d\d-\d\d at \d\d:\d\d UTC\): if it is an old copy, update it; to let "
        rf"them in again, {command} -e readmit=leaver{first}",
        said(ran),
    )
    assert logins(leaver) == [401, 401]


def test_a_readmitted_user_can_sign_in(leaver: Account, old_copy: str) -> None:
    ran = play(USERS, "-e", old_copy, "-e", "readmit=leaver")
    assert ran.returncode == 0, ran.stdout
    assert logins(leaver) == [200, 200]
    # The old copy has removed the robot that is not in it.
    assert [remembered(name).keys() for name in REGISTRIES] == [{"builder"}] * 2
    again = play(USERS, "-e", old_copy)
    assert (again.returncode, set(changed(again).values())) == (0, {0}), again.stdout


def test_a_robot_comes_back_with_its_secret_by_name(leaver: Account) -> None:
    builder = hosts.account("builder")
    assert logins(builder) == [401, 401]
    ran = play(USERS)
    assert (ran.returncode, set(changed(ran).values())) == (2, {0}), ran.stdout
    assert "registry_robots: this inventory has accounts that were removed" in said(ran)
    ran = play(USERS, "-e", "readmit=builder")
    assert ran.returncode == 0, ran.stdout
    assert re.search(
        r"builder: is back, with the earlier secret in \S+/credentials/builder \(for a new one: "
        r"playbooks/rotate_robots.yml -e robot=builder\)",
        said(ran),
    )
    assert logins(builder) == [200, 200]
    # That run has removed the user again.
    assert logins(leaver) == [401, 401]
    assert [remembered(name).keys() for name in REGISTRIES] == [{"leaver"}] * 2
