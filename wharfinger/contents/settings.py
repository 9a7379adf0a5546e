"""What the host needs to know to maintain the registry's contents without a controller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wharfinger import values

from .retention import examine
from .schedules import intervals

#: registry_untagged_keep: revisions without a tag are never removed.
FOREVER = "forever"


def settings(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The content of /etc/wharfinger/contents.json (durations in seconds, sizes in bytes).

    variables: as the inventory writes them, without their prefix: retention, untagged_keep,
    gc_max_minutes, brake_percent, brake_at_least, check_rate; storage_path, drain_timeout and
    schedules (as schedules.py has them). Raises ValueError with every error that `examine` finds,
    one per line.
    """
    rules, review = examine(variables["retention"])
    if review.errors:
        raise ValueError("\n".join(map(str, review.errors)))
    keep = variables["untagged_keep"]
    return {
        "storage_path": str(variables["storage_path"]),
        "retention": [rule.compiled() for rule in rules],
        "untagged_keep": None if keep == FOREVER else values.duration(keep),
        "gc_max_seconds": int(variables["gc_max_minutes"]) * 60,
        "brake_percent": int(variables["brake_percent"]),
        "brake_at_least": int(variables["brake_at_least"]),
        "check_rate": values.size(variables["check_rate"]),
        "drain_timeout": values.duration(variables["drain_timeout"]),
        # Of jobs that a timer runs: a run that does not take place in this time is reported.
        "every": intervals(variables["schedules"]),
    }
