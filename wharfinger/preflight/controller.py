"""Files on the controller that an inventory names."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wharfinger.deployment.facts import HostFacts
from wharfinger.deployment.problems import Report

from .report import shown


def on_controller(text: str, controller: Mapping[str, Any]) -> Path:
    """The file on the controller that an inventory's path means: relative to `base`."""
    return Path(controller.get("base", ".")) / Path(text).expanduser()


def check_credentials(
    good: Mapping[str, Any], host: HostFacts, controller: Mapping[str, Any], report: Report
) -> None:
    """Reports a folder in which the first deployment could not write what it generates.

    controller: `closed` is the directory that cannot be written, or None.
    """
    folder = controller.get("closed")
    if folder is None or host.serves:
        return
    users = good.get("registry_users", {})
    generates = isinstance(users, Mapping) and any(not entry for entry in users.values())
    if generates or good.get("registry_robots") or good.get("certificates_tls_source") == "own_ca":
        report.error(
            "credentials",
            f"{shown(folder)} cannot be written, and what is generated is kept in credentials/ "
            "beside the inventory: run this as the owner of the inventory, or copy the inventory "
            "to a folder of your own",
        )


def reader(controller: Mapping[str, Any]) -> Callable[[str], bytes]:
    """A function that reads a file of the controller by its path in the inventory.

    It raises OSError.
    """
    read: Callable[[str], bytes] = controller.get(
        "read", lambda text: on_controller(text, controller).read_bytes()
    )
    return read


def unwritable_directory(folder: Path) -> str | None:
    """The directory because of which generated passwords cannot be written; None if they can."""
    for directory in (folder / "credentials", folder):
        if directory.exists():
            return None if os.access(directory, os.W_OK | os.X_OK) else str(directory)
    return None
