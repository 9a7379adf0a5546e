"""Timers exist as long as the inventory has schedules for them."""

from __future__ import annotations

import json

from filling.site import SETTINGS, Site

JOBS = ("collect", "retention", "check_contents")
CHECK = "wharfinger-contents@check_contents.timer"


def timers(site: Site) -> set[str]:
    """The timers that wait or whose service runs."""
    # A timer whose service is running does not wait, but exists.
    listed = site.machine.check_output(
        "systemctl list-units --type=timer --no-legend --output=json 'wharfinger-*'"
    )
    return {timer["unit"] for timer in json.loads(listed) if timer["sub"] in ("waiting", "running")}


def test_without_schedules_there_are_only_the_defaults(site: Site) -> None:
    assert timers(site) == {"wharfinger-renew.timer", CHECK}


def test_schedules_become_timers_and_settings_reach_the_host(site: Site) -> None:
    site.operator.settings |= {
        "registry_gc_schedule": "sun 03:30",
        "registry_retention_schedule": "daily 02:30",
        "registry_untagged_keep": "7d",
    }
    site.operator.play("site.yml")
    assert timers(site) == {
        "wharfinger-renew.timer",
        *(f"wharfinger-contents@{job}.timer" for job in JOBS),
    }
    assert json.loads(site.machine.check_output("cat %s", SETTINGS))["untagged_keep"] == 7 * 86400
    assert site.operator.play("site.yml").changed == 0


def test_without_them_they_are_gone(site: Site) -> None:
    for name in ("registry_gc_schedule", "registry_retention_schedule", "registry_untagged_keep"):
        del site.operator.settings[name]
    site.operator.settings["registry_check_schedule"] = ""
    site.operator.play("site.yml")
    assert timers(site) == {"wharfinger-renew.timer"}
