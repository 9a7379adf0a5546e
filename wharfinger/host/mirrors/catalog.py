"""`mirrors`: what is mirrored here, for people. Asks nobody; it shows what the last run found."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..contents.reports import drift, last_report
from ..system.context import Host
from .mirror import problems_of
from .settings import load


def mirrors(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`mirrors`: by entry of registry_mirrors what is locked, and what the last run found.

    Returns `mirrors`: {"to", "from", "platforms", "tags" (tag → digest), "last": the row of the
    last run, or null}. Raises HostError if the host has no mirrors.
    """
    rows = {
        (row["to"], row["from"]): row
        for row in (last_report(host, "mirror") or {}).get("mirrors", ())
    }
    return {
        "actions": [],
        "mirrors": [
            {
                "to": entry["to"],
                "from": entry["from"],
                "platforms": entry["platforms"],
                "tags": entry["lines"],
                "last": rows.get((entry["to"], entry["from"])),
            }
            for entry in load(host).mirrors
        ],
    }


def in_words(answer: Mapping[str, Any]) -> str:
    """The answer as text: two lines and more for each mirror."""
    lines = []
    for mirror in answer["mirrors"]:
        only = f", only {', '.join(mirror['platforms'])}" if mirror["platforms"] else ""
        lines.append(f"{mirror['to']} from {mirror['from']}{only}")
        row = mirror["last"]
        if row is None:
            lines.append(f"  {len(mirror['tags'])} tags locked; nothing was copied yet")
            continue
        success = (
            time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(row["success"]))
            if row["success"]
            else "never"
        )
        lines.append(
            f"  {len(mirror['tags'])} tags locked, {row['here']} here; last success {success}"
        )
        lines += [f"  {words}" for words in drift(row)]
        lines += [f"  PROBLEM {problem}" for problem in problems_of(row)]
    return "\n".join(lines) or "registry_mirrors is empty"
