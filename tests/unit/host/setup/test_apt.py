"""Packages by apt-get: for which programs it waits, how long, and its errors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.unit.host.world import FakeRunner, Machine, host_of
from wharfinger.host.commands import run
from wharfinger.host.setup import apt
from wharfinger.host.system.context import Host
from wharfinger.host.system.errors import HostError
from wharfinger.host.system.runner import Result

LISTS = Result(
    100,
    "Reading package lists...",
    "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 886 (unattended-upgr)\n"
    "E: Unable to lock directory /var/lib/apt/lists/\n",
)
DPKG = Result(
    2,
    "",
    "dpkg: error: dpkg frontend lock was locked by another process with pid 1433\n"
    "Note: removing the lock file is always wrong\n",
)
INTERRUPTED = Result(
    100,
    "",
    "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.",
)
GOOD = Result(0, "", "")


class Turns(FakeRunner):
    """Answers each program's calls in order; the last answer is repeated."""

    def __init__(self, **answers: list[Result]) -> None:
        super().__init__()
        self.turns = answers

    def answer_to(self, arguments: Sequence[str]) -> Result:
        turns = self.turns[arguments[0].replace("-", "_")]
        return turns.pop(0) if len(turns) > 1 else turns[0]


@pytest.fixture
def host(tmp_path: Path, machine: Machine) -> Host:
    """A host with fresh package lists."""
    host = host_of(tmp_path, machine)
    host.paths.apt_lists.mkdir()
    (host.paths.apt_lists / "deb_dists_trixie_main_binary-amd64_Packages").touch()
    os.utime(host.paths.apt_lists, (machine.seconds - 60, machine.seconds - 60))
    return host


def turns(host: Host, **answers: list[Result]) -> Turns:
    host.runner = Turns(**answers)
    return host.runner


def test_packages_are_installed_and_nothing_is_removed_for_them(host: Host) -> None:
    runner = turns(host, apt_get=[GOOD])
    assert run("packages", {"install": ["nginx", "openssl"]}, host=host)["actions"] == [
        "nginx: installed",
        "openssl: installed",
    ]
    (call,) = runner.calls
    assert call[0] == "apt-get"
    assert call[-5:] == ["install", "--no-install-recommends", "--no-remove", "nginx", "openssl"]
    assert runner.environments == [{"DEBIAN_FRONTEND": "noninteractive"}]


def test_package_lists_that_are_old_or_missing_are_fetched_first(
    host: Host, machine: Machine
) -> None:
    os.utime(host.paths.apt_lists, (machine.seconds - 7200, machine.seconds - 7200))
    runner = turns(host, apt_get=[GOOD])
    run("packages", {"install": ["nginx"]}, host=host)
    assert [call[5] for call in runner.calls] == ["update", "install"]
    runner.calls.clear()
    os.utime(host.paths.apt_lists, (machine.seconds, machine.seconds))
    gone = Result(100, "", "E: Unable to locate package nginx")
    runner.turns = {"apt_get": [gone, GOOD]}
    run("packages", {"install": ["nginx"]}, host=host)
    assert [call[5] for call in runner.calls] == ["install", "update", "install"]


def test_another_apt_is_waited_for_and_named(host: Host) -> None:
    turns(host, apt_get=[LISTS, LISTS, DPKG, GOOD])
    assert run("packages", {"install": ["nginx"]}, host=host)["actions"] == [
        "waited 4 s for unattended-upgr (process 886)",
        "waited 2 s for another apt or dpkg",
        "nginx: installed",
    ]


def test_another_apt_that_does_not_end_is_an_error_that_names_it(
    host: Host, machine: Machine
) -> None:
    turns(host, apt_get=[LISTS])
    begin = machine.seconds
    with pytest.raises(HostError) as caught:
        run("packages", {"install": ["nginx"]}, host=host)
    assert machine.seconds - begin == 300
    assert str(caught.value) == (
        "apt is busy: unattended-upgr (process 886) still holds its lock after 300 s. "
        "See what it does, and run this again once it has ended"
    )


def test_packages_that_are_removed_wait_too(host: Host) -> None:
    runner = turns(host, apt_get=[LISTS, GOOD])
    assert run("packages", {"purge": ["nginx"]}, host=host)["actions"] == [
        "waited 2 s for unattended-upgr (process 886)",
        "nginx: removed",
    ]
    assert runner.calls[-1][-2:] == ["purge", "nginx"]


def test_a_dpkg_that_was_killed_is_led_to_its_end(host: Host) -> None:
    runner = turns(host, apt_get=[INTERRUPTED, GOOD], dpkg=[DPKG, GOOD])
    run("packages", {"install": ["nginx"]}, host=host)
    assert [call[0] for call in runner.calls] == ["apt-get", "dpkg", "dpkg", "apt-get"]
    assert runner.calls[1][-2:] == ["--configure", "-a"]


def test_apts_errors_are_reported(host: Host) -> None:
    turns(
        host,
        apt_get=[
            Result(
                100,
                "Reading package lists...\n",
                "E: Packages need to be removed but remove is disabled.\n",
            )
        ],
    )
    with pytest.raises(HostError) as caught:
        run("packages", {"install": ["docker.io"]}, host=host)
    assert str(caught.value) == (
        "apt-get install --no-install-recommends --no-remove docker.io failed: "
        "E: Packages need to be removed but remove is disabled."
    )


def test_a_dry_run_asks_apt_for_nothing(host: Host) -> None:
    request = {"install": ["nginx"], "purge": ["cron"]}
    assert run("packages", request, check=True, host=host)["actions"] == [
        "nginx: would be installed",
        "cron: would be removed",
    ]


def test_the_holder_of_apts_lock_is_named(host: Host) -> None:
    (lock,) = host.paths.apt_locks
    assert apt.holder(host) is None
    lock.touch()
    assert apt.holder(host) is None
    script = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        holder = run("observe", {}, host=host)["apt_held_by"]
        process.stdin.close()
    assert holder.endswith(f"(process {process.pid})"), holder
