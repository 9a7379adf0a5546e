"""What ./deploy promises on a fresh machine that has no service manager."""

from __future__ import annotations

import re

import pytest
from testinfra.host import Host

from support import hosts
from support.registry import ANONYMOUS, Account, Registry

NAME = "fresh.internal"
CREDENTIALS = "/opt/the project/inventory/local/credentials"


@pytest.fixture(scope="module")
def machine() -> Host:
    return hosts.host("fresh")


@pytest.fixture(scope="module")
def registry(machine: Host, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    authority = tmp_path_factory.mktemp("authority") / "ca.crt"
    authority.write_bytes(machine.file(f"{CREDENTIALS}/{NAME}-ca.crt").content)
    return Registry(NAME, hosts.variables("fresh")["ansible_host"], str(authority))


def said(run: str) -> str:
    return (hosts.ephemeral() / f"{run}.log").read_text()


def recap(run: str) -> dict[str, int]:
    line = re.search(r"^this_machine .*$", said(run), re.MULTILINE)
    assert line, said(run)
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line[0])}


def test_the_machine_has_no_service_manager(machine: Host) -> None:
    # Otherwise this scenario would show nothing that others do not.
    assert machine.check_output("cat /proc/1/comm") != "systemd"


def test_the_first_run_succeeds() -> None:
    assert recap("first")["failed"] == 0
    assert recap("first")["changed"] > 0


@pytest.mark.parametrize("run", ["first", "second"])
def test_nothing_is_said_that_only_developers_understand(run: str) -> None:
    assert "DEPRECATION" not in said(run)


def test_the_second_run_changes_nothing() -> None:
    assert (recap("second")["failed"], recap("second")["changed"]) == (0, 0)


@pytest.mark.parametrize("run", ["first", "second"])
def test_the_end_says_where_everything_is(run: str) -> None:
    end = said(run)
    for wanted in (NAME, "admin", "readonly", "someuser", "inventory/local/credentials"):
        assert wanted in end, wanted
    assert f"{NAME}-ca.crt" in end


def test_the_registry_takes_what_the_generated_password_may_push(
    machine: Host, registry: Registry
) -> None:
    password = machine.file(f"{CREDENTIALS}/someuser").content_string.strip()
    someuser = Account("someuser", password)
    assert registry.push(someuser, "someuser/app", "latest", b"a layer").status == 201
    assert registry.pull(someuser, "someuser/app", "latest").status == 200
    assert registry.push(someuser, "other/app", "latest", b"a layer").status == 401
    assert registry.pull(ANONYMOUS, "someuser/app", "latest").status == 401


def test_the_passwords_are_the_owners_alone(machine: Host) -> None:
    assert machine.file(CREDENTIALS).mode == 0o700
    for user in ("admin", "readonly", "someuser"):
        assert machine.file(f"{CREDENTIALS}/{user}").mode == 0o600


def test_no_output_shows_a_password(machine: Host) -> None:
    for user in ("admin", "readonly", "someuser"):
        password = machine.file(f"{CREDENTIALS}/{user}").content_string.strip()
        assert password
        assert password not in said("first") + said("second")
