"""A host where all files that root makes are closed to others, and nothing runs in /tmp."""

from __future__ import annotations

import time

import pytest
from testinfra.host import Host

from support import hosts


@pytest.fixture(scope="module")
def machine() -> Host:
    return hosts.host("htpasswd")


def test_the_host_is_as_hardened_as_this_says(machine: Host) -> None:
    umasks = "bash -lc umask; sudo sh -c umask; sudo -iu operator sudo sh -c umask"
    assert machine.check_output(umasks).split() == ["0077"] * 3
    for unit in ("docker", "nginx", "wharfinger-renew"):
        assert machine.check_output(f"systemctl show --property=UMask {unit}") == "UMask=0077"
    for place, option in (("/tmp", "noexec"), ("/var/tmp", "noexec"), ("/proc", "hidepid")):
        assert option in machine.check_output(f"findmnt --noheadings --output=OPTIONS {place}")


def test_only_users_who_need_a_directory_can_enter_it(machine: Host) -> None:
    """The modes are the same with another umask: tests/unit/host/test_umask.py."""
    (generation,) = machine.check_output(
        "ls -d /var/lib/wharfinger/generations/registry/*/files"
    ).split()[-1:]
    expected = {
        "/usr/local/lib/wharfinger": "755",
        "/etc/docker/certs.d": "755",
        "/etc/docker/certs.d/htpasswd.wharfinger.test": "755",
        "/etc/docker/certs.d/htpasswd.wharfinger.test/ca.crt": "644",
        "/etc/nginx/wharfinger": "755",
        "/run/wharfinger": "755",
        "/run/wharfinger/host.prom": "644",
        "/var/lib/wharfinger": "711",
        "/var/lib/wharfinger/registry": "750",
        "/var/lib/wharfinger/registry/docker/registry/v2": "755",
        generation: "750",
        "/etc/wharfinger": "700",
        "/etc/wharfinger/registry": "750",
        "/etc/wharfinger/registry/htpasswd": "640",
        "/etc/wharfinger/certificates/tls.pem": "600",
        "/var/lib/wharfinger/users.json": "600",
        "/var/lib/wharfinger/removed_accounts.json": "600",
    }
    modes = machine.check_output(f"stat --format='%n %a' {' '.join(expected)}")
    assert dict(line.split() for line in modes.splitlines()) == expected


def test_the_hosts_timer_does_its_work(machine: Host) -> None:
    # The first run may still have something to do.
    for _ in range(2):
        assert machine.run("systemctl start wharfinger-renew.service").rc == 0
    # The journal shows the lines a moment later, and the timer may begin another run meanwhile.
    for _ in range(120):
        said = machine.check_output("journalctl --unit=wharfinger-renew --output=cat --lines=3")
        if "nothing is due" in said:
            break
        time.sleep(0.5)
    assert "nothing is due" in said
    assert machine.check_output("systemctl is-active wharfinger-renew.timer") == "active"
