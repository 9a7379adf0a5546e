"""Jobs are killed in the middle of a window: the host accepts writes again by itself, nothing that
a tag leads to is lost, and the next run goes on.

tests/engine kills after more of the steps. Here, with clients of a full registry, only some of the
steps are tried. The tests run in the order in which they are written.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Iterator

import pytest

from filling.fill import one_image
from filling.site import Site, tag_path
from support.amount import FULL

pytestmark = pytest.mark.usefixtures("no_renewals")

PROGRAM = "/usr/local/lib/wharfinger/wharfinger-host.pyz"
# The longest time, in seconds, until the host accepts writes again.
AGAIN = 180

# Runs on the host: `COMMAND NUMBER` is killed when it has saved its state NUMBER times. The exit
# code is 0 if it ended before.
KILLED = f"""
import os, signal, sys
sys.path.insert(0, {PROGRAM!r})
from wharfinger.host.commands import run
from wharfinger.host.system.state import Store

save, left = Store.save, int(sys.argv[2])

def dying(self, state):
    global left
    save(self, state)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

Store.save = dying
run(sys.argv[1], {{}})
"""
# The program runs in the unit, which cleans up after it.
UNIT = "wharfinger-contents@{}.service"
OVERRIDE = "/run/systemd/system/{}.d"
DYING = "/root/killed.py"
NAME = "killed/app"


@pytest.fixture(scope="module")
def killed(site: Site) -> Iterator[None]:
    """Puts the program that dies on the host."""
    site.script(f"from pathlib import Path\nPath({DYING!r}).write_text({KILLED!r})")
    yield
    site.machine.check_output("rm -rf /run/systemd/system/wharfinger-contents@*.service.d")
    site.machine.check_output("systemctl daemon-reload")


def dies(site: Site, command: str, number: int) -> bool:
    """Runs the command's unit, which is killed after `number` steps; False if it ended before."""
    unit = UNIT.format(command)
    folder = OVERRIDE.format(unit)
    text = f"[Service]\\nExecStart=\\nExecStart=/usr/bin/python3 {DYING} {command} {number}\\n"
    site.machine.check_output(f"mkdir -p {folder} && printf '{text}' > {folder}/zz-killed.conf")
    site.machine.check_output("systemctl daemon-reload")
    if site.machine.run("systemctl start %s", unit).rc == 0:
        return False
    assert site.machine.check_output("systemctl show --property Result %s", unit) == "Result=signal"
    return True


def lives(site: Site, command: str) -> None:
    """Restores the unit as it was delivered."""
    site.machine.check_output(f"rm -rf {OVERRIDE.format(UNIT.format(command))}")
    site.machine.check_output("systemctl daemon-reload")


def work(site: Site) -> None:
    """Pushes something to collect: an old revision without a tag, and a blob that nothing names."""
    pushing = site.pushing(NAME)
    one_image(pushing, NAME, "latest", number="1")
    one_image(pushing, NAME, "latest", number="2")
    site.untagged(NAME, 30)
    pushing.blob(NAME, os.urandom(1024))
    site.settled()


def test_collection_killed_after_a_step(site: Site, killed: None) -> None:
    with site.read():
        for number in itertools.count(2, 3 if FULL else 5):
            work(site)
            if not dies(site, "collect", number):
                break
            site.open_again(AGAIN)
            site.whole()
    assert number > 10
    lives(site, "collect")
    site.done("collect")
    whole = site.whole()
    assert set(whole["revisions"][NAME]) == set(site.content[NAME].tags.values())


def test_collection_killed_at_any_moment(site: Site) -> None:
    unit = UNIT.format("collect")
    with site.read():
        for _ in range(4 if FULL else 1):
            work(site)
            site.machine.check_output("systemctl start --no-block %s", unit)
            time.sleep(random.uniform(0.2, 8))
            site.machine.run("systemctl kill --signal=SIGKILL %s", unit)
            site.open_again(AGAIN)
            site.whole()
    site.done("collect")
    site.whole()


def test_retention_killed_after_a_step_and_at_any_moment(site: Site, killed: None) -> None:
    pushing = site.pushing(NAME)
    old = one_image(pushing, NAME, "latest", number="3")
    rules = [{"number": 1, "on": [f"^{NAME}$"], "matching": ["latest"]}]
    unit = UNIT.format("retention")

    def many() -> None:
        for number in range(100 if FULL else 20):
            pushing.manifest(NAME, old, f"t{number}")
        # The tags that the rules remove may still be there or not.
        site.content[NAME].tags = {"latest": old.digest}

    with site.settings(retention=rules, brake_at_least=1000), site.read():
        for number in itertools.count(3, 4 if FULL else 8):
            many()
            if not dies(site, "retention", number):
                break
            site.open_again(AGAIN)
            site.whole()
        lives(site, "retention")
        for _ in range(2 if FULL else 1):
            many()
            site.machine.check_output("systemctl start --no-block %s", unit)
            time.sleep(random.uniform(0.2, 8))
            site.machine.run("systemctl kill --signal=SIGKILL %s", unit)
            site.open_again(AGAIN)
            site.whole()
        site.done("retention")
    assert site.whole()["tags"][NAME] == {"latest": old.digest}
    assert not site.machine.file(str(tag_path(NAME, "t0").parents[1])).exists


def test_a_window_whose_process_died_without_a_unit_is_ended_by_the_timer(
    site: Site, killed: None
) -> None:
    work(site)
    # The fourth step is in the middle of a window.
    site.machine.run(f"python3 {DYING} collect 4")
    assert site.state()["window"] is not None
    assert not site.writes()
    site.machine.check_output("systemctl start wharfinger-renew.service")
    site.open_again(60)
    site.whole()


def test_the_controller_vanishes(site: Site) -> None:
    work(site)
    with site.read():
        run = site.operator.begin("playbooks/garbage_collect.yml")
        site.closed()
        run.kill()
        output = run.wait().output
        assert "PLAY RECAP" not in output, output
        site.open_again(AGAIN)
    site.whole()
    site.operator.play("playbooks/garbage_collect.yml")
    site.whole()
    site.served()
