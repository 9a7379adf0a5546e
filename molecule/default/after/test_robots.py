"""Robots' secrets are replaced in use. The tests run in the order in which they are written."""

from __future__ import annotations

import json
import re
import subprocess
import time
from typing import Any

import pytest

from support import hosts
from support.plays import OUTPUTS, changed, play, said
from support.registry import Account

USERS, ROTATE = "playbooks/users", "playbooks/rotate_robots"
REGISTRIES = hosts.group("registry")
ONE, OTHER = REGISTRIES[0], REGISTRIES[1]
RECORD = "/var/lib/wharfinger/users.json"
FILE = "/etc/wharfinger/token_server/auth_config.yml"
formers: dict[str, Account] = {}


def rotate(robot: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Rotates a robot's secret, and remembers the previous one."""
    formers[robot] = hosts.account(robot)
    return play(ROTATE, "-e", f"robot={robot}", *more)


def logins(account: Account, *names: str) -> list[int]:
    """The status of the account's login on each named host, or on all hosts."""
    return [hosts.registry(name).login(account) for name in names or REGISTRIES]


def record(name: str, robot: str) -> dict[str, Any]:
    """A host's record of a robot."""
    record: dict[str, Any] = json.loads(hosts.host(name).check_output("cat %s", RECORD))[robot]
    return record


def test_a_robot_that_was_added_by_users_yml_signs_in() -> None:
    assert logins(hosts.account("builder")) == [200, 200]


def test_after_a_rotation_both_secrets_are_valid() -> None:
    ran = rotate("ci")
    assert ran.returncode == 0, ran.stdout
    assert formers["ci"].password != hosts.account("ci").password
    assert "ci: the previous secret is valid until 2" in ran.stdout
    assert logins(hosts.account("ci")) == [200, 200]
    assert logins(formers["ci"]) == [200, 200]


def test_another_run_of_the_users_changes_nothing_and_keeps_both() -> None:
    ran = play(USERS)
    assert (ran.returncode, set(changed(ran).values())) == (0, {0}), ran.stdout
    assert logins(hosts.account("ci")) + logins(formers["ci"]) == [200] * 4


def test_a_third_secret_is_refused_and_nothing_changes() -> None:
    present = hosts.account("ci")
    ran = play(ROTATE, "-e", "robot=ci")
    assert (ran.returncode, set(changed(ran).values())) == (2, {0}), ran.stdout
    assert re.search(
        r"robot: the secret before the present one is still valid for ci \(until 2\S+Z\), and a "
        r"robot has no more than two: wait until then, or write -e overlap_ends=now to refuse the "
        r"former one at once, or -e overlap=0 for a new secret that refuses both. "
        r"Nothing was changed.",
        said(ran),
    )
    assert hosts.account("ci") == present


def test_the_next_run_writes_what_a_killed_run_has_not_written() -> None:
    machine = hosts.host(ONE)
    machine.check_output("cp -p %s /root/kept.yml", FILE)
    assert play(ROTATE, "-e", "robot=ci", "-e", "overlap_ends=now").returncode == 0
    assert logins(formers["ci"]) == [401, 401]
    assert rotate("ci", "--limit", ONE).returncode == 0
    # As if the run had been killed after the host's record and before the token server's file.
    machine.check_output("mv /root/kept.yml %s", FILE)
    ran = play(ROTATE, "-e", "robot=ci", "--limit", ONE)
    assert (ran.returncode, changed(ran)) == (0, {ONE: 1}), ran.stdout
    assert logins(hosts.account("ci"), ONE) + logins(formers["ci"], ONE) == [200, 200]


def test_a_run_that_reached_one_host_goes_on_with_its_secret_on_the_other() -> None:
    # The previous test has left the robot in this state.
    present = hosts.account("ci")
    assert (logins(present, OTHER), logins(formers["ci"], OTHER)) == ([401], [200])
    until = record(ONE, "ci")["previous"]["until"]
    ran = play(ROTATE, "-e", "robot=ci")
    assert (ran.returncode, changed(ran)[ONE]) == (0, 0), ran.stdout
    assert hosts.account("ci") == present
    assert logins(present) + logins(formers["ci"]) == [200] * 4
    assert record(ONE, "ci")["previous"]["until"] == until


def test_an_overlap_ends_on_request() -> None:
    ran = play(ROTATE, "-e", "robot=all", "-e", "overlap_ends=now")
    assert ran.returncode == 0, ran.stdout
    assert logins(formers["ci"]) == [401, 401]
    assert logins(hosts.account("ci")) == [200, 200]
    again = play(ROTATE, "-e", "robot=all", "-e", "overlap_ends=now")
    assert (again.returncode, set(changed(again).values())) == (0, {0})


def test_hosts_that_are_rotated_one_after_the_other_have_the_same_secret() -> None:
    ran = rotate("ci", "--limit", ONE)
    assert ran.returncode == 0, ran.stdout
    present = hosts.account("ci")
    assert (
        f"robot: ci is also on {OTHER}, which this run leaves out and where the new secret does "
        f"not work yet: run playbooks/rotate_robots.yml -e robot=ci --limit {OTHER} from here "
        "before 2"
    ) in said(ran)
    assert (logins(present), logins(formers["ci"])) == ([200, 401], [200, 200])
    ran = play(ROTATE, "-e", "robot=ci", "--limit", OTHER)
    assert ran.returncode == 0, ran.stdout
    assert hosts.account("ci") == present
    assert (logins(present), logins(formers["ci"])) == ([200, 200], [200, 200])


def test_an_overlap_does_not_end_on_one_host_alone() -> None:
    ran = play(ROTATE, "-e", "robot=ci", "-e", "overlap_ends=now", "--limit", ONE)
    assert (ran.returncode, changed(ran)) == (2, {ONE: 0}), ran.stdout
    assert (
        f"overlap_ends: ci is also on {OTHER}, which this run leaves out: while one host takes the "
        "former secret alone and another the present one alone, no secret works on both. Run it "
        "without --limit; or, where the former secret has leaked and not every host can be "
        "reached, write -e overlap=0 instead. Nothing was changed."
    ) in said(ran)
    assert logins(formers["ci"]) == [200, 200]
    ran = play(ROTATE, "-e", "robot=ci", "-e", "overlap_ends=now")
    assert ran.returncode == 0, ran.stdout
    assert (logins(hosts.account("ci")), logins(formers["ci"])) == ([200, 200], [401, 401])


def test_an_overlap_ends_by_itself() -> None:
    ran = rotate("nodes", "-e", "overlap=1s", "--limit", ONE)
    assert ran.returncode == 0, ran.stdout
    deadline = time.monotonic() + 180
    while logins(formers["nodes"], ONE) != [401] and time.monotonic() < deadline:
        time.sleep(1)
    assert logins(formers["nodes"], ONE) == [401]
    assert logins(hosts.account("nodes"), ONE) == [200]


def test_a_leaked_secret_is_refused_at_once() -> None:
    ran = rotate("nodes", "-e", "overlap=0")
    assert ran.returncode == 0, ran.stdout
    assert logins(formers["nodes"]) == [401, 401]
    assert logins(hosts.account("nodes")) == [200, 200]
    assert {tuple(sorted(record(name, "nodes"))) for name in REGISTRIES} == {
        ("generated", "hash", "random", "robot")
    }


@pytest.mark.parametrize("playbook", [USERS, ROTATE])
def test_check_mode_changes_nothing(playbook: str) -> None:
    present = hosts.account("ci")
    more = ("-e", "robot=ci") if playbook == ROTATE else ()
    ran = play(playbook, "--check", *more)
    assert ran.returncode == 0, ran.stdout
    assert hosts.account("ci") == present
    assert "previous" not in record(ONE, "ci")


def test_no_output_shows_a_secret() -> None:
    robots = ("ci", "nodes", "outside", "builder")
    secrets = [hosts.account(name).password for name in robots]
    secrets += [former.password for former in formers.values()]
    secrets += [record(name, robot)["hash"] for name in REGISTRIES for robot in robots]
    assert len(OUTPUTS) > 8
    assert [secret for secret in secrets if any(secret in output for output in OUTPUTS)] == []
