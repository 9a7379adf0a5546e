"""A host of an earlier commit, where a change was killed, is upgraded: no client notices.

The tests run in the order in which they are written: all for one host, then all for the next.
"""

from __future__ import annotations

import time

import jwt

from load.kills import kill
from load.site import Site
from support import hosts, renewals
from support.images import Pushed
from support.registry import Account, digest
from support.waiting import enough

from . import traces
from .conftest import Upgrade

ROTATE = "playbooks/rotate_certificates.yml"
SCOPE = "repository:load/stable:pull"
ACCOUNTS = ("admin", "readonly", "someuser", "leaver", "ci")


# Runs on the host itself, because the moment may last only a second: SIGKILL for the process that
# holds the lock, during maintenance.
KILL_MAINTENANCE = r"""
import json, os, re, signal, sys, time

deadline = time.time() + 240
while time.time() < deadline:
    with open("/var/lib/wharfinger/state.json") as file:
        window = json.load(file)["window"]
    if window and window["step"] == "working":
        with open("/var/lib/wharfinger/lock") as file:
            os.kill(int(re.search(r"process (\d+)", file.read())[1]), signal.SIGKILL)
        sys.exit()
    time.sleep(0.001)
sys.exit("no maintenance was at work")
"""


def signs_with(site: Site) -> str:
    """The identity of the key that signs new tokens."""
    token = site.registry().token(hosts.account("admin"), SCOPE)
    return str(jwt.get_unverified_header(token)["kid"])


def push(upgrade: Upgrade, tag: str) -> int:
    """The status of a push by an account that may push there."""
    answer = upgrade.site.registry().push(
        hosts.account("someuser"), "team/app", tag, tag.encode() * 100
    )
    return answer.status


def unneeded(site: Site) -> None:
    """Pushes a blob that no manifest names, and ages it so that it may be collected."""
    layer = b"unneeded" * 1000
    assert site.registry().upload(hosts.account("someuser"), "team/app", layer).status == 201
    name = digest(layer).removeprefix("sha256:")
    site.machine.check_output(
        f"find /var/lib/wharfinger/registry -path '*{name}*' "
        "-exec touch --no-create --date='30 days ago' {} +"
    )


# -- the changes that are killed -------------------------------------------------------------------


def rotation(upgrade: Upgrade) -> None:
    """The registry trusts the next signing key, but nothing signs with it yet."""
    upgrade.killed = "rotation of the signing key, before the new key signs"
    run = upgrade.before.begin(ROTATE, rotate="signing", rotate_wait=False)
    kill(upgrade.site, "sign", run)
    assert upgrade.site.state()["rotation"]["step"] == "sign"


def maintenance(upgrade: Upgrade) -> None:
    """Garbage collection is at work, and the registry is read-only."""
    upgrade.killed = "garbage collection, while the registry is read-only"
    # Their writes would be refused, like every client's.
    upgrade.load.stop("pusher", "chunker", "slow")
    unneeded(upgrade.site)
    # Not in its own unit, which would end the maintenance as soon as the process has died.
    upgrade.site.machine.check_output(
        "systemd-run --unit=test-collection /usr/local/sbin/wharfinger-host collect"
    )
    upgrade.site.script(KILL_MAINTENANCE)
    upgrade.site.machine.run("systemctl reset-failed test-collection.service")
    assert upgrade.site.state()["window"]["step"] == "working"
    assert push(upgrade, "refused") in {429, 503}


def switch(upgrade: Upgrade) -> None:
    """Two generations of the registry run: the new one serves, and the old one drains."""
    upgrade.killed = "generation switch, while the old generation drains"
    upgrade.site.operator.settings["registry_settings"] = {"log": {"level": "debug"}}
    kill(upgrade.site, "draining", upgrade.before.begin("site.yml"))
    phases = [
        generation["phase"]
        for generation in upgrade.site.state()["kinds"]["registry"]["generations"]
    ]
    assert {"serving", "draining"} <= set(phases)


# -- the upgrade -----------------------------------------------------------------------------------


def test_no_client_notices_the_upgrade(upgrade: Upgrade, images: dict[str, Pushed]) -> None:
    site, load = upgrade.site, upgrade.load
    load.phase("before")
    enough(lambda: len(load.pushed()))
    key = signs_with(site)
    # Otherwise the timer would repair the killed change before the upgrade does.
    with renewals.held(site.machine):
        load.phase("killed")
        {"rotation": rotation, "maintenance": maintenance, "switch": switch}[upgrade.accident](
            upgrade
        )
        time.sleep(2)
        site.served("killed")
        assert signs_with(site) == key
        upgrade.seconds = site.change("upgrade", "site.yml").seconds
    assert site.state()["window"] is None
    if upgrade.accident == "maintenance":
        load.add_trusting("after", load.ca_file)
    load.phase("after")
    site.served("after")
    assert (signs_with(site) != key) == (upgrade.accident == "rotation")


def test_everything_that_was_pushed_is_there(upgrade: Upgrade, images: dict[str, Pushed]) -> None:
    lost = upgrade.load.lost(upgrade.load.pushed())
    upgrade.lost = f"{len(lost)} of {len(upgrade.load.pushed())}"
    assert lost == []
    registry = upgrade.site.registry()
    for image in images.values():
        manifest = registry.pull(hosts.account("readonly"), image.repository, image.digest)
        assert (manifest.status, digest(manifest.body)) == (200, image.digest)
        layer = registry.blob(hosts.account("readonly"), image.repository, image.layer_digest)
        assert (layer.status, layer.body) == (200, image.layer)


def test_users_and_robots_log_in_and_have_their_rights(
    upgrade: Upgrade, images: dict[str, Pushed]
) -> None:
    registry = upgrade.site.registry()
    assert {name: registry.login(hosts.account(name)) for name in ACCOUNTS} == dict.fromkeys(
        ACCOUNTS, 200
    )
    assert registry.login(Account("admin", "wrong")) == 401
    assert push(upgrade, "after") == 201
    robot = hosts.account("ci")
    assert registry.pull(robot, "team/app", "present").status == 200
    assert registry.pull(robot, "other/app", "present").status == 401


def test_the_schedules_are_there(upgrade: Upgrade) -> None:
    timers = upgrade.site.machine.check_output("systemctl list-timers --all 'wharfinger-*'")
    for job in ("retention", "collect", "check_contents"):
        assert f"wharfinger-contents@{job}.service" in timers
    assert "wharfinger-renew.timer" in timers


def test_a_second_run_changes_nothing(upgrade: Upgrade) -> None:
    site = upgrade.site
    upgrade.load.phase("end of the rotation")
    rotating = site.state()["rotation"]
    if rotating is not None:
        time.sleep(max(0, rotating["until"] - time.time() + 1))
        site.machine.check_output("systemctl start wharfinger-renew.service")
    assert site.state()["rotation"] is None
    done = site.change("second run", "site.yml")
    upgrade.second_run = f"changed={done.changed}"
    assert done.changed == 0, done.output


def test_nothing_is_left_over(upgrade: Upgrade) -> None:
    upgrade.load.stop()
    upgrade.site.tidy()
    release = upgrade.site.machine.system_info.release.partition(".")[0]
    left_over = traces.more(upgrade.site.name, f"fresh-debian{release}")
    upgrade.left_over = ", ".join(left_over) or "nothing"
    assert left_over == []
    report = upgrade.load.report("before")
    assert report["failed"] == 0, report["failures"]
