"""What ./deploy promises on machines that have a docker client and no engine."""

from __future__ import annotations

import re

import pytest

from support import hosts
from support.registry import Account, Registry

MACHINES = {"bare12": "/usr/local/bin/docker", "bare13": "/usr/bin/docker"}
CREDENTIALS = "/opt/project/inventory/local/credentials"

machines = pytest.mark.parametrize("name", MACHINES)


def said(log: str) -> str:
    return (hosts.ephemeral() / f"{log}.log").read_text()


def recap(log: str) -> dict[str, int]:
    line = re.search(r"^this_machine .*$", said(log), re.MULTILINE)
    assert line, said(log)
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line[0])}


def test_the_machines_differ_in_what_they_are() -> None:
    # Otherwise this scenario would show less than it claims.
    assert hosts.host("bare12").check_output("cat /proc/1/comm") != "systemd"
    assert hosts.host("bare13").check_output("cat /proc/1/comm") == "systemd"


@machines
def test_the_first_run_succeeds(name: str) -> None:
    assert recap(f"{name}-first")["failed"] == 0


def test_the_second_run_changes_nothing() -> None:
    second = recap("bare12-second")
    assert (second["failed"], second["changed"]) == (0, 0)


@machines
def test_the_client_that_was_there_is_still_the_one(name: str) -> None:
    machine = hosts.host(name)
    assert machine.check_output("command -v docker") == MACHINES[name]
    assert machine.check_output("docker info --format '{{.ServerVersion}}'")
    assert machine.package("docker.io").is_installed


@machines
def test_the_registry_takes_a_push_and_gives_it_back(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    machine, domain = hosts.host(name), f"{name}.internal"
    authority = tmp_path_factory.mktemp("authority") / "ca.crt"
    authority.write_bytes(machine.file(f"{CREDENTIALS}/{domain}-ca.crt").content)
    registry = Registry(domain, hosts.variables(name)["ansible_host"], str(authority))
    password = machine.file(f"{CREDENTIALS}/someuser").content_string.strip()
    someuser = Account("someuser", password)
    assert registry.push(someuser, "someuser/app", "latest", b"a layer").status == 201
    assert registry.pull(someuser, "someuser/app", "latest").status == 200


def test_another_apt_is_waited_for_by_the_command() -> None:
    assert "==> waiting for another apt, up to 300 s: E: Could not get lock" in said(
        "bare12-refused"
    )


@machines
def test_another_apt_is_waited_for_by_the_deployment(name: str) -> None:
    assert re.search(r"waited \d+ s for python3 \(process \d+\)", said(f"{name}-first"))


@machines
def test_the_packages_of_ansibles_apt_module_are_not_installed(name: str) -> None:
    assert not hosts.host(name).package("python3-apt").is_installed


@pytest.mark.parametrize(
    "sentence",
    [
        "host, Python: /usr/bin/python3 is not on the host, and Ansible needs Python there: run "
        "`.venv/bin/ansible -i",
        "host, sudo: it asks asked for a password there: run the same command with -K",
        "host, sudo: stranger may not use it there: as root, run `usermod --append --groups sudo "
        "stranger` there",
        "does not let nobody-here in: see that `ssh nobody-here@",
        "is not known here: connect once with `ssh operator@",
        "host, SSH: nothing listens at port 2222 of",
        "ansible_host: nowhere.invalid does not resolve on this machine",
    ],
)
def test_a_machine_that_cannot_be_looked_at_is_answered_with_what_to_do(sentence: str) -> None:
    assert sentence in re.sub(r"\s+", " ", said("unreached"))
