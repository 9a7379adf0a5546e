"""What the inventory says of backups: every mistake in it, and what the host reads.

Pure: no Ansible, no I/O.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from wharfinger import __version__, contents, values
from wharfinger.deployment.host_files import ETC, VAR
from wharfinger.deployment.problems import Refuse
from wharfinger.host.backup.settings import KEEP
from wharfinger.suggestions import nearest

_PLACES = (
    "a directory such as /mnt/backup, sftp:USER@HOST:/PATH, s3:https://HOST/BUCKET or "
    "rest:https://HOST/"
)
_REMOTE = re.compile(
    r"sftp:(//)?[A-Za-z0-9._@-]+(:[0-9]+)?[:/].+|s3:(https?://)?[^/\s:]+(:[0-9]+)?/\S+|rest:https?://\S+"
)
_DIRECTORY = re.compile(r"/[A-Za-z0-9._/@+-]+")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_S3 = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def check_backups(checked: dict[str, Any], refuse: Refuse) -> None:
    """Reports what is wrong with the variables of role `backup` by `refuse`; backup_rate becomes a
    number in `checked`. Messages hold no value that may be secret: a repository may have a
    password in it."""
    _check_rate(checked, refuse)
    for name in ("backup_schedule", "backup_drill_schedule"):
        if name in checked:
            try:
                contents.schedule(checked[name])
            except ValueError as instead:
                refuse(name, f"{checked[name]!r} is not a schedule: write {instead}")
    _check_keep(checked, refuse)
    _check_environment(checked, refuse)
    if "backup_password" in checked and not is_one_line(checked["backup_password"]):
        refuse(
            "backup_password",
            "begins or ends with a space, or has more than one line, which restic leaves out: "
            "write one line without them",
        )
    repository = checked.get("backup_repository", "")
    if repository:
        _check_repository(repository, checked, refuse)


def settings(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The content of /etc/wharfinger/backup/settings.json (sizes in bytes).

    variables: `keep`, `rate`, `free_minimum` and `drill_size` as the inventory writes them;
    `hostname` and `storage_path`.
    """
    return {
        "hostname": str(variables["hostname"]),
        "storage_path": str(variables["storage_path"]),
        "keep": {str(name): int(number) for name, number in variables["keep"].items()},
        "rate": values.size(variables["rate"]),
        "free_minimum": values.size(variables["free_minimum"]),
        "drill_size": values.size(variables["drill_size"]),
        "version": __version__,
    }


def is_one_line(text: str) -> bool:
    """Whether restic takes the text as a password as it is."""
    return text == text.strip() and len(text.splitlines()) <= 1


def _check_repository(repository: str, checked: Mapping[str, Any], refuse: Refuse) -> None:
    name = "backup_repository"
    if not (_DIRECTORY.fullmatch(repository) or _REMOTE.fullmatch(repository)):
        refuse(name, f"is not a place for backups: write {_PLACES}")
        return
    if repository.startswith("/"):
        _check_directory(repository, str(checked.get("storage_path", "")), refuse)
    if repository.startswith("sftp:"):
        for needed, what in (
            ("backup_ssh_key", "the private key that opens the server"),
            ("backup_ssh_host_keys", "the server's host keys, as ssh-keyscan shows them"),
        ):
            if not checked.get(needed):
                refuse(needed, f"is empty, and backup_repository needs it for sftp: write {what}")
    if repository.startswith("s3:"):
        missing = [key for key in _S3 if key not in (checked.get("backup_environment") or {})]
        if missing:
            refuse(
                "backup_environment",
                f"lacks {' and '.join(missing)}, which an S3 repository needs: write them, their "
                "values from ansible-vault",
            )


def _check_directory(repository: str, storage: str, refuse: Refuse) -> None:
    directory = posixpath.normpath(repository)
    elsewhere = "write a directory on another disk, or a place on another host"
    for taken, what in ((storage, "storage_path"), (ETC, "the keys"), (VAR, "the host's state")):
        if taken and _is_within(directory, taken):
            refuse(
                "backup_repository",
                f"lies in {taken} ({what}), and would be lost with it: {elsewhere}",
            )
            return
        if taken and _is_within(taken, directory):
            refuse("backup_repository", f"holds {taken} ({what}): {elsewhere}")
            return


def _is_within(path: str, directory: str) -> bool:
    return f"{path}/".startswith(f"{directory.rstrip('/')}/")


def _check_rate(checked: dict[str, Any], refuse: Refuse) -> None:
    name = "backup_rate"
    if name not in checked:
        return
    try:
        checked[name] = values.size(checked[name])
    except ValueError:
        refuse(
            name,
            f"{checked[name]!r} is not a number of bytes per second: write 50m or 1g, or 0 for as "
            "fast as it goes",
        )


def _check_keep(checked: Mapping[str, Any], refuse: Refuse) -> None:
    for name, number in (checked.get("backup_keep") or {}).items():
        if name not in KEEP:
            meant = nearest(str(name), KEEP)
            refuse(
                "backup_keep",
                f"{name} is not a period: write {meant or 'one of ' + ', '.join(KEEP)}",
            )
        elif isinstance(number, bool) or not isinstance(number, int) or number < 1:
            refuse("backup_keep", f"{name} must be a number from 1 on, such as 7")


def _check_environment(checked: Mapping[str, Any], refuse: Refuse) -> None:
    for name, value in (checked.get("backup_environment") or {}).items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            refuse(
                "backup_environment",
                f"{name} is not the name of a variable: write it in capital letters, such as "
                "AWS_ACCESS_KEY_ID",
            )
        elif not isinstance(value, str) or "\n" in value:
            refuse("backup_environment", f"the value of {name} must be one line of text")
