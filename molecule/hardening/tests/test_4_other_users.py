"""What another user of the host, without root, can read, list and signal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from testinfra.host import Host

from support import hosts

OTHER = "stranger"


@pytest.fixture(scope="module", autouse=True)
def _other(machine: Host) -> None:
    machine.check_output(f"id {OTHER} || useradd --create-home {OTHER}")


def as_other(machine: Host, command: str) -> Any:
    return machine.run(f"runuser -u {OTHER} -- sh -c %s", command)


@pytest.fixture(scope="module")
def secrets(name: str, machine: Host) -> list[str]:
    """Everything that only root or its owner may know."""
    words = [*hosts.users()["passwords"].values(), hosts.account("someuser").password]
    for file in ("http_secret", "verification_password"):
        words.append(machine.check_output(f"cat /etc/wharfinger/secrets/{file}"))
    for file in ("ca", "tls", "signing"):
        words.append(machine.check_output(f"sed -n 2p /etc/wharfinger/certificates/{file}.key"))
    users = json.loads(machine.check_output("cat /var/lib/wharfinger/users.json"))
    words += [user["hash"] for user in users.values()]
    assert len(words) >= 10
    assert min(map(len, words)) > 15
    return words


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/wharfinger", "/etc/wharfinger/certificates/tls.key", "/etc/wharfinger/secrets"),
        *("/var/lib/wharfinger/state.json", "/var/lib/wharfinger/users.json"),
        *("/var/lib/wharfinger", "/var/lib/wharfinger/registry", "/var/lib/wharfinger/generations"),
        *("/var/lib/docker/containers", "/var/log/wharfinger/access.log"),
        "/var/lib/wharfinger/registry/docker/registry/v2/repositories",
    ],
)
def test_keys_data_and_logs_are_closed(machine: Host, path: str) -> None:
    assert machine.file(path).exists
    # Even a folder that others may pass through may not be listed.
    read = as_other(machine, f"if [ -d {path} ]; then ls {path}; else cat {path}; fi")
    assert read.rc != 0, read.stdout
    assert "Permission denied" in read.stderr
    assert as_other(machine, f"touch {path}").rc != 0


def test_docker_is_not_at_their_service(machine: Host) -> None:
    assert as_other(machine, "docker ps").rc != 0
    assert as_other(machine, "sudo -n true").rc != 0


def test_nothing_of_the_toolkit_can_be_changed(machine: Host) -> None:
    places = "/etc/wharfinger /var/lib/wharfinger /usr/local/lib/wharfinger /etc/nginx"
    places += " /usr/local/sbin/wharfinger-host /etc/docker"
    writable = as_other(machine, f"find {places} -writable ! -type l 2>/dev/null").stdout
    assert writable == ""
    units = machine.check_output("find /etc/systemd/system -name '*wharfinger*'").split()
    assert units
    for unit in units:
        assert as_other(machine, f"test -w {unit}").rc == 1, unit


def test_no_file_that_they_can_read_holds_a_secret(
    name: str, machine: Host, secrets: list[str]
) -> None:
    places = "/etc /var /run /tmp /usr/local /opt /srv /home"
    search = ["runuser", "-u", OTHER, "--", "grep", "-rlFsf", "-", *places.split()]
    grep = hosts.run_with_input(name, search, "\n".join(secrets))
    assert grep.stdout == "", grep.stdout
    # The search finds a word that is certainly there.
    search[-len(places.split()) :] = ["/etc/nginx"]
    assert hosts.run_with_input(name, search, "ssl_certificate_key").stdout


def test_no_process_shows_a_secret(machine: Host, secrets: list[str]) -> None:
    shown = machine.check_output("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '")
    assert "/registry serve" in shown or "registry serve" in shown
    assert [secret for secret in secrets if secret in shown] == []
    # Only the process's own user and root can read an environment. Those of the services hold none.
    environments = machine.check_output(
        "for pid in $(pgrep -f 'registry serve|wharfinger.token_server|nginx'); do"
        " tr '\\0' '\\n' </proc/$pid/environ; done"
    )
    assert "PATH=" in environments
    assert [secret for secret in secrets if secret in environments] == []


def test_no_inspection_and_no_log_shows_a_secret(machine: Host, secrets: list[str]) -> None:
    text = machine.check_output(
        "( docker ps --all --quiet | xargs docker inspect;"
        " docker image ls --quiet | xargs docker image inspect;"
        " docker network inspect wharfinger; journalctl --no-pager --quiet;"
        " find /var/log -type f -not -path '*/journal/*' -exec cat {} +;"
        " for name in $(docker ps --all --quiet); do docker logs $name 2>&1; done"
        # Some files of /var/log are not text.
        " ) | tr -cd '\\11\\12\\40-\\176'"
    )
    assert "wharfinger-registry-" in text
    assert "/v2/wharfinger-verification/" in text
    assert [secret for secret in secrets if secret in text] == []
