"""The place and the password of backups: the inventory's, and the controller's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wharfinger.backups import is_one_line
from wharfinger.deployment.problems import Report

from .controller import on_controller, reader

_FILE = "-backup_password"


def check_backup_place(good: Mapping[str, Any], report: Report) -> None:
    """Reports an inventory without a place for backups, to a playbook that needs one."""
    if good.get("backup_repository") == "":
        report.error(
            "backup_repository",
            "is empty: write where the backups are, such as /mnt/backup/registry; docs/backup.md "
            "has the places",
        )


def check_password_of_restore(
    good: Mapping[str, Any], controller: Mapping[str, Any], report: Report
) -> None:
    """Reports that this controller lacks the password of the backups, and names those of other
    registries beside it: a bare host often has another name."""
    hostname = good.get("registry_hostname")
    if not good.get("backup_repository") or not hostname or good.get("backup_password"):
        return
    file = f"credentials/{hostname}{_FILE}"
    try:
        reader(controller)(file)
    except OSError:
        folder = on_controller("credentials", controller)
        others = [path.name.removesuffix(_FILE) for path in sorted(folder.glob(f"*{_FILE}"))]
        other_name = "".join(
            f". If the backups are those of {other}, write registry_hostname: {other}"
            for other in others[:1]
        )
        report.error(
            "backup_password",
            f"is empty, and {file} is not beside the inventory: bring this file from the "
            f"controller that deployed the registry, or write backup_password{other_name}",
        )


def check_backup_password(
    good: Mapping[str, Any], controller: Mapping[str, Any], report: Report
) -> None:
    """Reports a file that is not a password, and one that contradicts the inventory: the repository
    opens with one of them."""
    hostname = good.get("registry_hostname")
    if not good.get("backup_repository") or not hostname:
        return
    file = f"credentials/{hostname}{_FILE}"
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
