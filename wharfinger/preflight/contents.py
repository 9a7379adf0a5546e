"""Retention, garbage collection and check: the values, and what they mean together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wharfinger import contents, values
from wharfinger.deployment.problems import Refuse, Report

from .report import shown

SCHEDULES = ("registry_retention_schedule", "registry_gc_schedule", "registry_check_schedule")
# With less than an hour, a long push could lose its manifests before their tag is pushed.
LEAST_KEEP = 3600
LEAST_RATE = 2**20


def check_contents(checked: dict[str, Any], refuse: Refuse, report: Report) -> None:
    """Reports what is wrong with retention, collection and check.

    Durations and sizes in `checked` become numbers, registry_untagged_keep `forever` becomes None.
    """
    _check_keep(checked, refuse)
    _check_rate(checked, refuse)
    for name in SCHEDULES:
        if name in checked:
            try:
                contents.schedule(checked[name])
            except ValueError as instead:
                refuse(name, f"{shown(checked[name])} is not a schedule: write {instead}")
    if "registry_retention" in checked:
        rules, review = contents.examine(checked["registry_retention"])
        report.add(review)
        if not review.errors:
            _check_together(checked, bool(rules), report)


def _check_keep(checked: dict[str, Any], refuse: Refuse) -> None:
    name = "registry_untagged_keep"
    keep = checked.get(name)
    if keep == contents.FOREVER:
        checked[name] = None
    elif keep is not None:
        try:
            checked[name] = values.duration(keep)
        except ValueError:
            refuse(name, f"{shown(str(keep))} is not a duration: write 12h, 14d or 2w, or forever")
            return
        if checked[name] < LEAST_KEEP:
            refuse(
                name,
                f"{checked[name]} s is too short: a manifest that is being pushed has no tag yet: "
                "write at least 1h; 14d leaves time to notice a tag moved by mistake",
            )


def _check_rate(checked: dict[str, Any], refuse: Refuse) -> None:
    name = "registry_check_rate"
    rate = checked.get(name)
    if rate is None:
        return
    try:
        checked[name] = values.size(rate)
    except ValueError:
        refuse(
            name,
            f"{shown(str(rate))} is not a number of bytes per second: write 50m or 1g, or 0 for "
            "no limit",
        )
        return
    if 0 < checked[name] < LEAST_RATE:
        refuse(
            name,
            f"{values.readable_size(checked[name])} per second is too little, so the check would "
            "never end: write at least 1m, or 0 for no limit",
        )


def _check_together(checked: Mapping[str, Any], rules: bool, report: Report) -> None:
    """Warns of surprises: tags whose removal frees no space, and a timer without work."""
    timer = checked.get("registry_retention_schedule")
    if not rules:
        if timer:
            report.warning(
                "registry_retention_schedule",
                "is not used, since registry_retention has no rules: write one, or remove it",
            )
        return
    if checked.get("registry_untagged_keep", 0) is None:
        report.warning(
            "registry_untagged_keep",
            "is forever, so the tags that registry_retention removes free no space: "
            "write a duration, like 14d",
        )
    elif checked.get("registry_gc_schedule") == "":
        report.warning(
            "registry_gc_schedule",
            "is empty, so the tags that registry_retention removes free no space until "
            "playbooks/garbage_collect.yml is run: write one, like sun 03:30",
        )
