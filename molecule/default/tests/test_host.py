"""What the toolkit leaves on a host: containers without rights, and files closed to others."""

from __future__ import annotations

from typing import Any

import pytest
from testinfra.host import Host

from support import hosts


@pytest.fixture(params=["registry", "token_server"])
def container(
    request: pytest.FixtureRequest, containers: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Docker's description of one of the containers."""
    return containers[request.param]


def test_the_container_has_no_rights_that_it_does_not_need(container: dict[str, Any]) -> None:
    settings = container["HostConfig"]
    assert settings["ReadonlyRootfs"] is True
    assert settings["CapDrop"] == ["ALL"]
    assert not settings["CapAdd"]
    assert settings["Privileged"] is False
    assert "no-new-privileges" in [item.split(":")[0] for item in settings["SecurityOpt"]]
    assert container["Config"]["User"].split(":")[0] not in ("", "0", "root")


def test_the_container_has_limits_and_comes_back(container: dict[str, Any]) -> None:
    settings = container["HostConfig"]
    assert settings["Memory"] > 0
    assert settings["PidsLimit"] > 0
    assert settings["RestartPolicy"]["Name"] == "unless-stopped"
    assert settings["LogConfig"]["Config"]["max-size"]
    assert container["State"]["Health"]["Status"] == "healthy"


def test_the_container_publishes_nothing(container: dict[str, Any]) -> None:
    assert not container["HostConfig"]["PortBindings"]
    assert list(container["NetworkSettings"]["Networks"]) == ["wharfinger"]


def test_the_container_mounts_directories_and_never_single_files(
    machine: Host, container: dict[str, Any]
) -> None:
    mounts = [mount for mount in container["Mounts"] if mount["Type"] == "bind"]
    assert mounts
    for mount in mounts:
        assert machine.file(mount["Source"]).is_directory, mount["Source"]


def test_the_container_has_no_shell(machine: Host, container: dict[str, Any]) -> None:
    for shell in ("/bin/sh", "/bin/bash", "/bin/busybox"):
        answer = machine.run("docker exec %s %s -c true", container["Id"], shell)
        assert answer.rc in (126, 127), shell


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("/etc/wharfinger", 0o700),
        ("/etc/wharfinger/certificates", 0o700),
        ("/etc/wharfinger/secrets", 0o700),
        ("/etc/wharfinger/secrets/verification_password", 0o600),
        ("/var/lib/wharfinger/users.json", 0o600),
        ("/var/lib/wharfinger/state.json", 0o600),
    ],
)
def test_secrets_are_roots_alone(machine: Host, path: str, mode: int) -> None:
    file = machine.file(path)
    assert (file.user, file.mode) == ("root", mode)


def test_no_password_is_stored_in_clear(name: str) -> None:
    passwords = list(hosts.users()["passwords"].values())
    generated = ("someuser", *hosts.users()["registry_robots"])
    passwords += [hosts.account(user).password for user in generated]
    assert len(passwords) >= 7
    places = ["/etc/wharfinger", "/var/lib/wharfinger", "/etc/nginx", "/var/log"]
    places += ["/var/lib/docker/containers", "/root", "/tmp"]
    # By standard input, because the journal keeps every command line that sudo runs.
    search = ["grep", "-rlFf", "-", *places]
    grep = hosts.run_with_input(name, search, "\n".join(passwords))
    assert (grep.returncode, grep.stdout) == (1, "")
    # The search finds a word that is certainly there.
    assert hosts.run_with_input(name, search, "ssl_certificate_key").returncode == 0


def test_the_data_is_the_registrys_and_readable_by_nginx_only(machine: Host) -> None:
    storage = machine.file("/var/lib/wharfinger/registry")
    assert (storage.uid, storage.group, storage.mode) == (64500, "www-data", 0o750)


def test_the_services_start_with_the_machine(machine: Host) -> None:
    for name in ("docker", "nginx"):
        service = machine.service(name)
        assert service.is_running
        assert service.is_enabled
