"""A run removes nothing if the clock is in doubt, the brake stops it, or the data became unneeded
only a short time ago.

A container has the clock of its machine, so only the host program runs with another clock
(libfaketime). It is also told whether a time server sets the clock, because test machines differ.
The tests run in the order in which they are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from filling.fill import one_image
from filling.site import DAY, Site, revision_path, tag_path

pytestmark = pytest.mark.usefixtures("no_renewals")

PROGRAM = "/usr/local/lib/wharfinger/wharfinger-host.pyz"
CLOCK = "/var/lib/wharfinger/clock.json"
ALERTS = "/root/alerts"
NAME = "waiting/app"
# Runs on the host: `yes|no COMMAND…`, where yes means that a time server sets the clock.
SHOWN = f"""
import sys
sys.path.insert(0, {PROGRAM!r})
from wharfinger.host.system import context
context.synchronised = lambda: sys.argv[1] == "yes"
from wharfinger.host.__main__ import main
sys.exit(main(sys.argv[2:]))
"""
RULES: list[dict[str, Any]] = [{"number": 1, "on": [".*"], "newer_than": 30 * DAY}]
# For runs that really remove something: data that earlier tests have aged must stay.
RULES_HERE: list[dict[str, Any]] = [{"number": 1, "on": [f"^{NAME}$"], "newer_than": 30 * DAY}]
CERTIFICATES = "cat /etc/wharfinger/certificates/*.crt | sha256sum"


def shown(site: Site, jump: str, *command: str, synchronised: bool = False) -> tuple[int, str]:
    """Runs the host program with a clock that is `jump` off; its exit code and output."""
    library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
    faked = f"LD_PRELOAD={library} FAKETIME={jump} FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1"
    which = "yes" if synchronised else "no"
    done = site.machine.run(f"env {faked} python3 /root/shown.py {which} {' '.join(command)}")
    return done.rc, done.stdout + done.stderr


@pytest.fixture(scope="module", autouse=True)
def alert_file(site: Site) -> Iterator[None]:
    """Alerts go to a file, and the clock has just been trusted."""
    settings = "/etc/wharfinger/certificates/settings.json"
    site.script(
        "import json\nfrom pathlib import Path\n"
        f"Path('/root/shown.py').write_text({SHOWN!r})\n"
        f"path = Path({settings!r})\n"
        "settings = json.loads(path.read_text())\n"
        f"settings['alert_command'] = 'cat >> {ALERTS}'\n"
        "path.write_text(json.dumps(settings))\n"
    )
    assert shown(site, "+0", "renew")[0] == 0
    yield
    site.machine.check_output("rm -f /root/shown.py %s", ALERTS)


def alerts(site: Site) -> str:
    """The alerts since the last call."""
    text = site.machine.run("cat %s", ALERTS).stdout
    site.machine.check_output("rm -f %s", ALERTS)
    return str(text)


@pytest.mark.parametrize(
    ("jump", "words"), [("+31d", "31 days ahead"), ("+366d", "366 days ahead")]
)
def test_a_clock_that_is_ahead_removes_nothing(site: Site, jump: str, words: str) -> None:
    before, certificates = site.stored(), site.machine.check_output(CERTIFICATES)
    with site.settings(retention=RULES):
        for job in ("retention", "collect"):
            code, said = shown(site, jump, job)
            assert (code, f"{job}: nothing was removed: the clock is in doubt" in said) == (1, True)
            assert f"it has jumped {words} since this boot began" in said
    code, said = shown(site, jump, "renew")
    assert code == 1 and "the clock is in doubt" in said
    alert = alerts(site)
    assert f"it has jumped {words} since this boot began, and no time server sets it" in alert
    assert "Not renewed meanwhile: the server's certificate ends" in alert
    assert site.stored() == before
    assert site.machine.check_output(CERTIFICATES) == certificates
    # The clock is right again.
    assert shown(site, "+0", "renew") == (0, "nothing is due\n")
    assert alerts(site) == ""


def test_a_clock_that_is_behind_during_pushes_costs_none_of_them(site: Site) -> None:
    pushing = site.pushing(NAME)
    code, said = shown(site, "-40d", "renew")
    assert code == 1 and "it has jumped 40 days back since this boot began" in alerts(site)
    pushed = [
        one_image(pushing, NAME, f"behind{number}", number=str(number)) for number in range(3)
    ]
    untagged = one_image(pushing, NAME, number="untagged")
    # With the times that the registry would have written by the same clock.
    links = [tag_path(NAME, f"behind{number}") for number in range(3)]
    links += [revision_path(NAME, manifest.digest) for manifest in (*pushed, untagged)]
    site.aged(40, *links)
    site.settled(40)
    with site.settings(retention=RULES_HERE):
        for job in ("retention", "collect"):
            code, said = shown(site, "-40d", job)
            assert code == 1 and "nothing was removed: the clock is in doubt" in said
        # A time server has set the clock.
        for job in ("retention", "collect"):
            code, said = shown(site, "+0", job, synchronised=True)
            assert code == 0, said
    after = site.whole()
    assert {f"behind{number}" for number in range(3)} <= set(after["tags"][NAME])
    assert untagged.digest in after["revisions"][NAME]
    assert shown(site, "+0", "renew")[0] == 0
    alerts(site)


def test_a_host_that_was_off_for_a_week_notices_nothing(site: Site) -> None:
    site.script(
        "import json\nfrom pathlib import Path\n"
        f"path = Path({CLOCK!r})\n"
        "clock = json.loads(path.read_text())\n"
        f"clock |= {{'boot': 'before', 'wall': clock['wall'] - {7 * DAY}}}\n"
        "path.write_text(json.dumps(clock))\n"
    )
    code, said = shown(site, "+0", "collect")
    assert code == 0, said
    assert shown(site, "+0", "renew")[0] == 0
    assert alerts(site) == ""


def test_a_full_disk_is_freed_with_the_grace_in_place(site: Site) -> None:
    pushing = site.pushing(NAME)
    old = one_image(pushing, NAME, "latest", number="old")
    site.aged(20, tag_path(NAME, "latest"), revision_path(NAME, old.digest))
    site.settled(20)
    one_image(pushing, NAME, "latest", number="new")
    del site.content[NAME].manifests[old.digest]
    # It has just lost its tag.
    site.done("collect")
    assert old.digest in site.whole()["revisions"][NAME]
    site.operator.play("playbooks/garbage_collect.yml", registry_untagged_keep="1h")
    assert old.digest not in site.whole()["revisions"][NAME]


def test_the_brake_and_its_confirmation(site: Site) -> None:
    pushing = site.pushing(NAME)
    image = one_image(pushing, NAME, "latest", number="brake")
    for number in range(60):
        pushing.manifest(NAME, image, f"t{number}")
    rules = [{"on": NAME, "matching": ["latest", "behind*"]}]
    site.operator.settings |= {"registry_retention": rules, "registry_brake_percent": 1}
    try:
        looked = site.operator.play("playbooks/retention.yml", "--check").said
        assert "The brake would stop this: 60 of " in looked
        stopped = site.operator.begin("playbooks/retention.yml").wait()
        assert stopped.code != 0
        assert "retention: nothing was removed, because so much would go: 60 of " in stopped.said
        assert "more than 1 % (registry_brake_percent): waiting/app 60" in stopped.said
        assert "run playbooks/retention.yml -e confirm_deletions=true" in stopped.said
        site.whole()
        assert shown(site, "+0", "renew")[0] == 1
        assert "because so much would go: 60 of " in alerts(site)
        site.operator.play("playbooks/retention.yml", confirm_deletions=True)
    finally:
        del site.operator.settings["registry_retention"]
        del site.operator.settings["registry_brake_percent"]
    for number in range(60):
        del site.content[NAME].tags[f"t{number}"]
    assert set(site.whole()["tags"][NAME]) == set(site.content[NAME].tags)
    assert shown(site, "+0", "renew")[0] == 0
