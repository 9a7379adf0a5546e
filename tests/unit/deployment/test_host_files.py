"""The table of files on a host: what roles write, what is compared, what removal deletes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from wharfinger.deployment import fixed, host_files
from wharfinger.deployment.host_files import HOST_FILES, REMOVE, REMOVE_DATA, TIMERS, UNITS

PROJECT = Path(__file__).resolve().parents[3]
NOTHING: dict[str, str | None] = dict.fromkeys(host_files.compared())


def names(files: tuple[host_files.HostFile, ...]) -> list[str]:
    return [file.name for file in files]


def test_each_path_has_one_row_and_each_template_exists() -> None:
    assert [path for path, count in Counter(f.path for f in HOST_FILES).items() if count > 1] == []
    for file in HOST_FILES:
        if file.template:
            assert (PROJECT / "templates" / file.template).is_file(), file.path


def test_every_template_for_a_host_has_a_row() -> None:
    # The site's parts are one file on the host; monitoring's files are for other machines.
    parts = {"nginx/wharfinger-log.conf.j2", "nginx/wharfinger-metrics.conf.j2"}
    paths = [path for path in (PROJECT / "templates").rglob("*") if path.is_file()]
    templates = {str(path.relative_to(PROJECT / "templates")) for path in paths}
    known = {file.template for file in HOST_FILES}
    left = templates - known - parts
    assert {name for name in left if not name.startswith("monitoring/")} == set()


def test_every_file_that_a_role_writes_has_a_row() -> None:
    paths = {file.path for file in HOST_FILES}
    for path in (PROJECT / "roles").glob("*/*/*.yml"):
        for named in re.findall(r"\bpath: (/[^\s,}\]]+)", path.read_text(), re.MULTILINE):
            if named.startswith(("/etc/wharfinger", "/var/lib/wharfinger", UNITS, "/etc/nginx")):
                assert named in paths, path


@pytest.mark.parametrize("init", ["systemd", "sysvinit", "none"])
def test_a_role_has_units_or_crontabs(init: str) -> None:
    systemd = init == "systemd"
    files = host_files.of_role("certificates", init)
    units = ["wharfinger-renew.service", "wharfinger-renew.timer", "wharfinger-failed@.service"]
    assert names(files) == (units if systemd else ["wharfinger"])
    assert names(host_files.of_role("contents", init, ["collect"]))[-1] == (
        "wharfinger-contents@collect.timer" if systemd else "wharfinger-contents"
    )
    without = names(host_files.of_role("contents", init))
    assert not any("timer" in name or name == "wharfinger-contents" for name in without)


def test_what_has_no_schedule_any_more_is_left_over() -> None:
    digests = NOTHING | {
        f"{UNITS}/wharfinger-contents@collect.timer": "a",
        f"{UNITS}/wharfinger-contents@retention.timer": "b",
        "/etc/cron.d/wharfinger-contents": "c",
    }
    left = host_files.left_over("contents", "systemd", ["retention"], digests)
    assert names(left) == ["wharfinger-contents@collect.timer", "wharfinger-contents"]
    assert host_files.left_over("contents", "systemd", ["retention"], NOTHING) == ()


def test_a_timer_is_started_unless_its_link_leads_to_what_is_wanted() -> None:
    (timer,) = (f for f in host_files.of_role("certificates", "systemd") if f.timer_link)
    wanted = {timer.path: "a"}
    link = f"{TIMERS}/wharfinger-renew.timer"
    assert host_files.stale_timers([timer], wanted, {link: None}) == ["wharfinger-renew.timer"]
    assert host_files.stale_timers([timer], wanted, {link: "b"}) == ["wharfinger-renew.timer"]
    assert host_files.stale_timers([timer], wanted, {link: "a"}) == []


def test_a_timers_template_knows_its_own_job() -> None:
    files = host_files.of_role("contents", "systemd", ["collect"])
    timers = {"collect": {"job": "collect"}}
    last = host_files.requests(files, timers)[-1]
    assert last["variables"] == {"timers": timers, "timer": {"job": "collect"}}
    assert host_files.requests(files, timers)[0]["variables"] == {"timers": timers, "timer": None}


def test_every_file_of_ours_goes_by_one_of_the_two_removals() -> None:
    kept = {file.path for file in HOST_FILES} - {
        file.path for what in (REMOVE, REMOVE_DATA) for file in host_files.removed_by(what)
    }
    assert kept == {"/etc/docker/daemon.json", "/etc/docker/certs.d/NAME/ca.crt"}
    # A directory comes before its contents.
    paths = [file.path for file in host_files.removed_by(REMOVE)]
    assert paths.index("/etc/wharfinger/registry/") < paths.index(
        "/etc/wharfinger/registry/htpasswd"
    )


def test_the_registrys_healthcheck_uses_its_debug_port() -> None:
    main = (PROJECT / "images/registry/main.go").read_text()
    assert f'"http://127.0.0.1:{fixed.REGISTRY_DEBUG_PORT}/debug/health"' in main


def test_the_storage_role_compares_with_the_registrys_id() -> None:
    variables = yaml.safe_load((PROJECT / "roles/storage/vars/main.yml").read_text())
    assert variables["storage__attributes"][0] == fixed.REGISTRY_ID
