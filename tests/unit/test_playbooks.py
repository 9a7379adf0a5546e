"""What playbooks say before they reach any host: run by the real ansible-playbook."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]


def play(playbook: str, inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory)),
            *(str(PROJECT / "playbooks" / playbook), *arguments),
        ],
        cwd=PROJECT,
        env=os.environ | {"NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("groups", [{}, {"clients": {"hosts": {}}}], ids=["no group", "no host"])
def test_trust_without_clients_fails_and_says_where_to_write_them(
    tmp_path: Path, groups: dict[str, object]
) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"registry": {"hosts": {"one.test": None}}} | groups))
    ran = play("trust.yml", inventory, "-e", "client_trust_registry=one.test")
    assert ran.returncode == 2
    assert (
        "clients: no host is in this group, so nobody was made to trust the registry: write the "
        "machines that shall trust it into hosts.yml as the hosts of a group clients."
    ) in " ".join(ran.stdout.split())
    assert "one.test" not in ran.stdout


def test_trust_with_clients_goes_on_to_its_role(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"clients": {"hosts": {"client.test": None}}}))
    ran = play("trust.yml", inventory)
    assert ran.returncode == 2
    assert "client_trust_registry: '': write the registry's address" in ran.stdout


def together(tmp_path: Path, hosts: dict[str, object], scope: str, *arguments: str) -> list[str]:
    """What is said of the hosts of an inventory, which nobody reaches; [] where it is nothing."""
    inventory, playbook = tmp_path / "hosts.yml", tmp_path / "play.yml"
    inventory.write_text(yaml.safe_dump({"registry": {"hosts": hosts}}))
    task = {"preflight_together": {"scope": scope}, "run_once": True}
    tasks = [task, {"ansible.builtin.debug": {"msg": "the run went on"}}]
    playbook.write_text(
        yaml.safe_dump([{"hosts": "registry", "gather_facts": False, "tasks": tasks}])
    )
    ran = play(str(playbook), inventory, *arguments)
    assert (ran.returncode == 0) is ("the run went on" in ran.stdout), ran.stdout + ran.stderr
    if ran.returncode == 0:
        assert "WARNING" not in ran.stderr, ran.stderr
        return []
    message = yaml.safe_load(ran.stdout[ran.stdout.index("    msg:") :].partition("\n\n")[0])["msg"]
    head, *sentences = str(message).split("\n  - ")
    assert head.endswith("found; nothing was changed.")
    return sentences


SHARED = {"registry_hostname": "registry.example.com"}
INSTEAD = (
    "write a registry_hostname for each (host_vars/a.test.yml and host_vars/b.test.yml), and "
    "remove it from group_vars"
)


@pytest.mark.parametrize(
    "arguments", [[], ["--limit", "b.test"], ["--check"]], ids=["all", "limited", "dry"]
)
def test_two_hosts_with_one_name_are_refused(tmp_path: Path, arguments: list[str]) -> None:
    hosts: dict[str, object] = {"a.test": SHARED, "b.test": SHARED | {"registry_port": 5000}}
    assert together(tmp_path, hosts, "site", *arguments) == [
        "registry_hostname: a.test, b.test have the same one, 'registry.example.com', but not the "
        "same authority, and credentials/registry.example.com-ca.crt can hold only one: " + INSTEAD
    ]


def test_what_else_the_hosts_of_an_inventory_must_not_share(tmp_path: Path) -> None:
    own = {"registry_hostname": "{{ inventory_hostname }}"}
    vault = {"password": "{{ nobody_knows }}"}
    hosts: dict[str, object] = {
        "a.test": own | {"ansible_host": "10.0.0.5", "registry_users": {"admin": vault, "ci": {}}},
        "b.test": own | {"ansible_host": "10.0.0.5", "registry_robots": {"ci": {}}},
        "c.test": own | {"registry_users": {"admin": {}, "ci": {"password": "x"}}},
    }
    accounts = (
        "registry_robots: 'ci' is a user of a.test and a robot of b.test, and credentials/ci can "
        "hold the secret of only one: rename one of them"
    )
    machine = (
        "ansible_host: a.test, b.test are the same machine (10.0.0.5, port 22), and a machine "
        "holds one registry: remove one of them, or correct its ansible_host"
    )
    assert together(tmp_path, hosts, "site") == [machine, accounts]
    # Who removes a user is not stopped by what a deployment would do.
    assert together(tmp_path, hosts, "users") == [accounts]
    assert together(tmp_path, hosts, "remove") == []


def test_hosts_that_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    users = {"registry_users": {"admin": {}}, "registry_robots": {"ci": {}}}
    own = users | {"registry_hostname": "{{ inventory_hostname }}"}
    unknown = {"registry_hostname": "{{ nobody_knows }}", "registry_port": "https"}
    hosts: dict[str, object] = {"a.test": own, "b.test": own, "c.test": unknown, "d.test": {}}
    assert together(tmp_path, hosts, "site") == []


def test_the_example_is_right_for_several_hosts(tmp_path: Path) -> None:
    example = PROJECT / "inventory/example/group_vars/registry/settings.yml"
    settings = yaml.safe_load(example.read_text(encoding="utf-8"))
    hosts: dict[str, object] = {"a.test": settings, "b.test": settings}
    assert together(tmp_path, hosts, "site") == []
