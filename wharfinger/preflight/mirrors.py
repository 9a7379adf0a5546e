"""registry_mirrors, its schedule and mirror.lock beside the inventory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wharfinger import base_images, contents, mirrors
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
    update: object = None,
) -> None:
    """Reports mistakes of the variables to `values`, and to `files` a lock that cannot be read.
    Warns of mirrors that the lock does not name: nothing of them is copied. update: what
    -e update is, of a run that is about to lock them."""
    tells = scope == "site" or (scope == "mirror" and str(update).lower() not in ("true", "yes"))
    if _SCHEDULE in good:
        try:
            contents.schedule(good[_SCHEDULE])
        except ValueError as instead:
            values.error(_SCHEDULE, f"{shown(good[_SCHEDULE])} is not a schedule: write {instead}")
    if "registry_mirrors" not in good:
        return
    entries, report = mirrors.examine(good["registry_mirrors"])
    values.add(report)
    if report.errors:
        return
    if not entries:
        if scope == "mirror":
            values.error(
                "registry_mirrors",
                "is empty, so there is nothing to copy: write which images are to be kept here "
                "(docs/mirrors.md)",
            )
        return
    made = base_images.repositories(good.get("registry_base_images") or ())
    for entry in entries:
        if entry.to in made:
            values.error(
                "registry_mirrors",
                f"to: {entry.to} is also where registry_base_images puts an image: choose another "
                "name",
                f"mirror {entry.number}",
            )
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
    if not tells:
        return
    named = {(line.repository, line.source) for line in lines}
    for entry in entries:
        if (entry.to, entry.origin) not in named:
            files.warning(
                "registry_mirrors",
                f"{NAME} has no tag of {entry.to} yet, so nothing is copied there: run {_UPDATE}",
                f"mirror {entry.number} ({entry.origin})",
            )
