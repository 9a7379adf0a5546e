"""Changes that are cut off in their midst: service goes on, and the next run converges.

Afterwards nothing is left over. The tests run in the order in which they are written.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from load import Load
from load.kills import kill
from load.record import Attempt
from load.session import Session, Unexpected
from load.site import Site
from support import renewals
from support.amount import FULL

ROTATE = "playbooks/rotate_certificates.yml"

# Runs on the host itself, because the moment lasts only milliseconds: kills the container of the
# generation that is in a phase, as `docker kill` does. By Docker's socket, because the command can
# take longer to start than a generation.
KILL_CONTAINER = r"""
import http.client, json, socket, sys, time

def kill(name):
    connection = http.client.HTTPConnection("docker")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect("/run/docker.sock")
    connection.request("POST", f"/containers/{name}/kill")
    return connection.getresponse().status == 204

kind, phase = sys.argv[1:]
deadline = time.time() + 240
while time.time() < deadline:
    with open("/var/lib/wharfinger/state.json") as file:
        generations = json.load(file)["kinds"][kind]["generations"]
    for generation in generations:
        if generation["phase"] == phase:
            name = f"wharfinger-{kind}-{generation['number']}"
            if kill(name):
                sys.exit()
    time.sleep(0.001)
sys.exit(f"no {kind} was {phase}, or none ran")
"""


@pytest.fixture(scope="module", autouse=True)
def everybody(loaded: Load) -> None:
    """The pooled clients. At first, nothing changes."""
    loaded.phase("steady")
    time.sleep(5)


@contextmanager
def cut_off(site: Site, moment: str, playbook: str, **more: Any) -> Iterator[None]:
    """Kills a run of a playbook at that moment: its processes on host and controller."""
    assert site.load is not None
    change = f"killed: {moment}"
    site.load.phase(change)
    kill(site, moment, site.operator.begin(playbook, **more))
    yield
    # Nothing has been repaired yet.
    time.sleep(2)
    site.served(change)


def setting(site: Site, level: str) -> None:
    """The operator edits a setting of the registry."""
    site.operator.settings["registry_settings"] = {"log": {"level": level}}


def converges(site: Site, change: str) -> None:
    """The next run completes the change without a failed operation, and nothing is left over."""
    assert site.load is not None
    site.load.phase(f"after {change}")
    site.operator.play("site.yml")
    site.served(f"after {change}")
    number = site.serving("registry")["Config"]["Labels"]["wharfinger.generation"]
    file = f"/var/lib/wharfinger/generations/registry/{number}/files/config.yml"
    level = site.operator.settings["registry_settings"]["log"]["level"]
    assert f"level: {level}" in site.machine.file(file).content_string
    site.tidy(rotating=True)


def test_a_run_killed_before_the_new_key_signs(site: Site) -> None:
    # A renewal by the timer would continue the rotation.
    with (
        renewals.held(site.machine),
        cut_off(site, "sign", ROTATE, rotate="signing", rotate_wait=False),
    ):
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
    subprocess.run(["docker", "restart", site.container], check=True)
    deadline = time.monotonic() + 180
    while not answers(site):
        assert time.monotonic() < deadline, "the registry does not serve after a restart"
        time.sleep(0.5)
    # Without manual work, tokens are made and accepted.
    loaded.start()
    loaded.phase("after the restart")
    time.sleep(5)
    site.served("after the restart")
    rotation = site.state()["rotation"]
    assert rotation is None or rotation["step"] == "wait"
    site.tidy(rotating=True)


def answers(site: Site) -> bool:
    """Whether a login succeeds now. No answer within 5 seconds counts as a failure."""
    assert site.load is not None
    load = site.load
    session = Session(load.target, load.account, load.ca_file, timeout=5)
    try:
        attempt = Attempt()
        headers = {"Authorization": f"Bearer {session.token(attempt)}"}
        return session.request(attempt, "GET", "/v2/", headers=headers).status_code == 200
    except (httpx.HTTPError, Unexpected, KeyError):
        return False
    finally:
        session.close()


# The new generation starts; the old one drains. tests/engine kills at more of the steps.
MOMENTS = {"starting": "warn", "draining": "error"} if FULL else {"starting": "warn"}


@pytest.mark.parametrize(("moment", "level"), MOMENTS.items(), ids=MOMENTS)
def test_a_run_that_replaces_a_generation_is_killed(site: Site, moment: str, level: str) -> None:
    setting(site, level)
    with cut_off(site, moment, "site.yml"):
        pass
    converges(site, f"killed: {moment}")


def test_a_new_generation_that_is_killed_while_it_starts_is_never_served(site: Site) -> None:
    assert site.load is not None
    before = site.serving("registry")["Id"]
    setting(site, "info")
    site.load.phase("docker kill: starting")
    run = site.operator.begin("site.yml")
    site.script(KILL_CONTAINER, "registry", "starting")
    done = run.wait()
    assert done.code != 0
    assert re.search(
        r"registry: the new generation \d+ was removed again and generation \d+ keeps serving: "
        r"it ended with exit code 137\.",
        done.said,
    ), done.output
    site.served("docker kill: starting")
    assert site.serving("registry")["Id"] == before
    site.tidy(rotating=True)
    # The next test's run starts from this state.
    if FULL:
        converges(site, "docker kill: starting")


def test_a_generation_killed_while_nginx_switches_to_it_serves_only_until_it_is_noticed(
    site: Site,
) -> None:
    assert site.load is not None
    before = site.serving("registry")["Id"]
    setting(site, "debug")
    # Requests on their way to the killed one are lost: these failures are shown, not judged.
    site.load.phase("docker kill: switching")
    run = site.operator.begin("site.yml")
    site.script(KILL_CONTAINER, "registry", "switching")
    done = run.wait()
    assert done.code != 0
    # Before or after nginx switched to it: in both cases the previous generation serves.
    assert re.search(r"keeps serving|and \d+ serves again", done.said), done.output
    assert site.serving("registry")["Id"] == before
    assert answers(site)
    site.tidy(rotating=True)
    # Until nginx stops trying to connect to the killed one (proxy_connect_timeout).
    time.sleep(12)
    converges(site, "docker kill: switching")


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
