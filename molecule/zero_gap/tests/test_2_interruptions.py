"""Changes that are cut off in their midst: service goes on, and the next run converges.

Nothing is left over then. The tests run in the order in which they are written.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from load import Load
from load.plays import Played
from load.site import Site
from support import hosts

ROTATE = "playbooks/rotate_certificates.yml"

# Run on the host itself, because some of the moments last only milliseconds: waits for a phase of a
# generation, or a step of the rotation, and kills.
WATCH = r"""
import glob, json, os, signal, subprocess, sys, time

kind, moment, victim = sys.argv[1:]
deadline = time.time() + 90

def holders():
    # The module's process is the one that has the lock's file open.
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(link) == "/var/lib/wharfinger/lock":
                yield int(link.split("/")[2])
        except OSError:
            pass

def reached():
    with open("/var/lib/wharfinger/state.json") as file:
        state = json.load(file)
    if (state["rotation"] or {}).get("step") == moment:
        return True
    for one in state["kinds"][kind]["generations"]:
        if one["phase"] == moment:
            return one["number"]

while not (found := reached()):
    if time.time() > deadline:
        sys.exit(f"no {moment} was seen")
    time.sleep(0.001)
if victim == "module":
    for process in set(holders()):
        os.kill(process, signal.SIGKILL)
        print("killed", process)
else:
    name = f"wharfinger-{kind}-{found}"
    while subprocess.run(["docker", "kill", name], capture_output=True).returncode:
        if time.time() > deadline:
            sys.exit(f"{name} did not run")
    print("killed", name)
"""


@pytest.fixture(scope="module", autouse=True)
def everybody(loaded: Load) -> None:
    """The pooled clients. First, nothing happens."""
    loaded.phase("steady")
    time.sleep(5)


def kill(site: Site, kind: str, moment: str, victim: str) -> None:
    """Kills the victim when a generation of this kind, or the rotation, is there."""
    said = site.script(WATCH, kind, moment, victim)
    assert "killed" in said, "nothing was at work"


@contextmanager
def cut_off(site: Site, moment: str, playbook: str, **more: Any) -> Iterator[None]:
    """A run of a playbook whose processes, on host and controller, are killed at that moment."""
    assert site.load is not None
    change = f"killed: {moment}"
    site.load.phase(change)
    run = site.operator.begin(playbook, **more)
    kill(site, "registry", moment, "module")
    killed = run.kill()
    assert "PLAY RECAP" not in killed.output
    yield
    # Nobody has mended anything yet.
    time.sleep(2)
    site.served(change)


def setting(site: Site, level: str) -> None:
    """The operator edits a setting of the registry."""
    site.operator.settings["registry_settings"] = {"log": {"level": level}}


def converges(site: Site, change: str, level: str) -> Played:
    """The next run makes it so, without a failed operation."""
    assert site.load is not None
    site.load.phase(f"after {change}")
    done = site.operator.play("site.yml")
    site.served(f"after {change}")
    number = site.serving("registry")["Config"]["Labels"]["wharfinger.generation"]
    text = f"/var/lib/wharfinger/generations/registry/{number}/files/config.yml"
    assert f"level: {level}" in site.machine.file(text).content_string
    return done


def test_a_run_killed_before_the_new_key_signs(site: Site) -> None:
    with cut_off(site, "sign", ROTATE, rotate="signing", rotate_wait=False):
        assert site.state()["rotation"]["step"] == "sign"
    assert site.load is not None
    site.load.phase("after killed: sign")
    site.operator.play(ROTATE, rotate_wait=False)
    site.served("after killed: sign")
    assert site.state()["rotation"]["step"] == "wait"
    site.tidy(rotating=True)


def test_a_restart_of_the_host_in_the_midst_of_a_rotation(site: Site, loaded: Load) -> None:
    loaded.stop()
    loaded.phase("restart of the host")
    subprocess.run(["docker", "restart", "wharfinger-test-zero_gap-debian13"], check=True)
    deadline = time.monotonic() + 60
    while not answers(site):
        assert time.monotonic() < deadline, "the registry does not serve after a restart"
        time.sleep(0.5)
    # Nobody has done anything; tokens are made and accepted.
    loaded.start()
    loaded.phase("after the restart")
    time.sleep(5)
    site.served("after the restart")
    rotation = site.state()["rotation"]
    assert rotation is None or rotation["step"] == "wait"


def answers(site: Site) -> bool:
    """Whether a login succeeds."""
    try:
        return site.registry().login(hosts.account("admin")) == 200
    except (OSError, KeyError, AssertionError):
        return False


def test_a_run_killed_while_the_new_generation_starts(site: Site) -> None:
    setting(site, "warn")
    with cut_off(site, "starting", "site.yml"):
        pass
    converges(site, "killed: starting", "warn")
    site.tidy(rotating=True)


def test_a_run_killed_while_the_old_generation_drains(site: Site) -> None:
    setting(site, "error")
    with cut_off(site, "draining", "site.yml"):
        pass
    converges(site, "killed: draining", "error")
    site.tidy(rotating=True)


@pytest.mark.parametrize("moment", ["starting", "switching"])
def test_the_new_generations_container_is_killed(site: Site, moment: str) -> None:
    assert site.load is not None
    change = f"docker kill: {moment}"
    setting(site, "info" if moment == "starting" else "debug")
    site.load.phase(change)
    run = site.operator.begin("site.yml")
    kill(site, "registry", moment, "container")
    done = run.wait()
    print(done.code, done.output[-3000:])
    site.served(change)
    converges(site, change, "info" if moment == "starting" else "debug")
    site.tidy(rotating=True)


def test_the_host_itself_leads_the_rotation_to_its_end(site: Site, loaded: Load) -> None:
    rotation = site.state()["rotation"]
    if rotation is not None:
        time.sleep(max(0, rotation["until"] - time.time() + 1))
    loaded.phase("the timer's service")
    site.machine.check_output("systemctl start wharfinger-renew.service")
    site.served("the timer's service")
    site.tidy()


def test_in_the_end_there_is_nothing_to_do(site: Site, loaded: Load) -> None:
    loaded.stop()
    assert site.operator.play("site.yml").changed == 0
    site.tidy()
