"""`mirrors`: what is mirrored here, for people. Asks nobody; it shows what the last run found."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ...deployment.fixed import MIRROR
from ..contents import mirror_rows
from ..contents.reports import last_report
from ..system.context import Host
from .settings import load


def mirrors(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`mirrors`: by entry of registry_mirrors what is locked, and what the last run found.

    Returns `mirrors`: {"to", "from", "platforms", "tags" (tag → digest), "last": the row of the
    last run, or null}; `at`: when that run began, in seconds since 1970, or null; and `problem`:
    why it failed, or null. Raises HostError if the host has no mirrors.
    """
    settings, report = load(host), last_report(host, MIRROR) or {}
    rows = {(row["to"], row["from"]): row for row in report.get("mirrors") or ()}
    return {
        "actions": [],
        "at": report.get("at"),
        "problem": report.get("problem"),
        "mirrors": [
            {
                "to": entry["to"],
                "from": entry["from"],
                "platforms": entry["platforms"],
                "tags": entry["lines"],
                "last": rows.get((entry["to"], entry["from"])),
            }
            for entry in settings.mirrors
        ],
    }


def in_words(answer: Mapping[str, Any]) -> str:
    """The answer as text: what is wrong, and two lines for each mirror."""
    lines = []
    for mirror in answer["mirrors"]:
        only = f", only {', '.join(mirror['platforms'])}" if mirror["platforms"] else ""
        lines.append(f"{mirror['to']} from {mirror['from']}{only}")
        row = mirror["last"]
        if row is None:
            lines.append(f"  {len(mirror['tags'])} tags locked; nothing was copied yet")
        else:
            lines.append(f"  {mirror_rows.in_words(row).partition(': ')[2]}")
    if answer["at"] is not None:
        lines.append(f"last run: {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(answer['at']))}")
    if answer["problem"]:
        lines += [f"PROBLEM {line}" for line in str(answer["problem"]).splitlines()]
    return "\n".join(lines) or "registry_mirrors is empty"
