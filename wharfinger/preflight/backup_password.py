"""The password of backups: that of the inventory, and that of the controller's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wharfinger.backups import is_one_line
from wharfinger.deployment.problems import Report

from .controller import reader


def check_backup_password(
    good: Mapping[str, Any], controller: Mapping[str, Any], report: Report
) -> None:
    """Reports a file that is not a password, and one that contradicts the inventory: the repository
    opens with one of them."""
    hostname = good.get("registry_hostname")
    if not good.get("backup_repository") or not hostname:
        return
    file = f"credentials/{hostname}-backup_password"
    try:
        text = reader(controller)(file).decode("utf-8", "replace").strip()
    except OSError:
        return
    given = good.get("backup_password", "")
    if not text:
        report.error(
            "backup_password",
            f"{file} beside the inventory is empty: bring it back from a copy; if no backup was "
            "made with it, remove it, and a password is made",
        )
    elif not is_one_line(text):
        report.error(
            "backup_password",
            f"{file} beside the inventory has more than one line: leave only the password in it",
        )
    elif given and given != text:
        report.error(
            "backup_password",
            f"is not the password in {file} beside the inventory, and the repository opens with "
            "one of them: leave backup_password out, or, if that is the right one, remove the "
            "file. docs/backup.md says how to change a password",
        )
