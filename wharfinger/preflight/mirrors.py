"""registry_mirrors, its schedule and mirror.lock beside the inventory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wharfinger import contents, mirrors
from wharfinger.deployment.mirror_lock import NAME, LockError, parse
from wharfinger.deployment.problems import Report

from .controller import reader
from .report import shown

_SCHEDULE = "registry_mirrors_schedule"
_UPDATE = "ansible-playbook playbooks/mirror.yml -e update=true"


def check_mirrors(
    good: Mapping[str, Any],
    controller: Mapping[str, Any],
    values: Report,
    files: Report,
    scope: str,
) -> None:
    """Reports mistakes of the variables to `values`, and to `files` a lock that cannot be read.
    Warns of mirrors that the lock does not name: nothing of them is copied."""
    if _SCHEDULE in good:
        try:
            contents.schedule(good[_SCHEDULE])
        except ValueError as instead:
            values.error(_SCHEDULE, f"{shown(good[_SCHEDULE])} is not a schedule: write {instead}")
    entries, report = mirrors.examine(good.get("registry_mirrors", []))
    values.add(report)
    if report.errors:
        return
    if scope == "mirror" and not entries:
        values.error(
            "registry_mirrors",
            "is empty, so there is nothing to copy: write which images are to be kept here "
            "(docs/mirrors.md)",
        )
        return
    try:
        text = reader(controller)(NAME).decode("utf-8", "replace")
        lines = parse(text)
    except FileNotFoundError:
        lines = []
    except OSError as error:
        files.error(NAME, f"it cannot be read: {error.strerror}")
        return
    except LockError as error:
        files.error(NAME, str(error))
        return
    if scope != "site":
        return
    named = {(line.repository, line.source) for line in lines}
    for entry in entries:
        if (entry.to, entry.origin) not in named:
            files.warning(
                "registry_mirrors",
                f"{NAME} has no tag of {entry.to} yet, so nothing is copied there: run {_UPDATE}",
                f"mirror {entry.number} ({entry.origin})",
            )
