"""Backups: each mistake's message, word for word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Strings = Callable[..., list[str]]

FILE = "credentials/registry.example.com-backup_password"
KEYS = {"AWS_ACCESS_KEY_ID": "one", "AWS_SECRET_ACCESS_KEY": "two"}
SSH = {"backup_ssh_key": "-----BEGIN", "backup_ssh_host_keys": "store ssh-ed25519 AAAA"}
PLACES = (
    "is not a place for backups: write a directory such as /mnt/backup, sftp:USER@HOST:/PATH, "
    "s3:https://HOST/BUCKET or rest:https://HOST/"
)
ELSEWHERE = "write a directory on another disk, or a place on another host"


@pytest.mark.parametrize(
    "variables",
    [
        {"backup_repository": ""},
        {"backup_repository": "/mnt/backup/registry", "backup_keep": {}},
        {"backup_repository": "/var/lib/wharfinger-backups"},
        {"backup_repository": "sftp:keeper@store.example.com:/srv/registry", **SSH},
        {"backup_repository": "sftp://keeper@store.example.com:2222//srv/registry", **SSH},
        {"backup_repository": "s3:https://s3.example.com/b", "backup_environment": KEYS},
        {"backup_repository": "s3:s3.amazonaws.com/b/x", "backup_environment": KEYS},
        {"backup_repository": "rest:https://u:p@store.example.com:8000/"},
        {"backup_repository": "/mnt/backup", "backup_rate": "50m", "backup_schedule": ""},
        {"backup_repository": "/mnt/backup", "backup_password": "a pass phrase"},
    ],
)
def test_backups_without_a_mistake(errors: Strings, variables: dict[str, Any]) -> None:
    assert errors(**variables) == []


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"backup_repository": "backups"}, f"backup_repository: {PLACES}"),
    ({"backup_repository": "sftp:store"}, f"backup_repository: {PLACES}"),
    ({"backup_repository": "s3:https://s3.example.com"}, f"backup_repository: {PLACES}"),
    ({"backup_repository": "b2:bucket:/x"}, f"backup_repository: {PLACES}"),
    (
        {"backup_repository": "/srv/data/backups", "storage_path": "/srv/data"},
        "backup_repository: lies in /srv/data (storage_path), and would be lost with it: "
        + ELSEWHERE,
    ),
    (
        {"backup_repository": "/mnt/../srv/data/", "storage_path": "/srv/data"},
        "backup_repository: lies in /srv/data (storage_path), and would be lost with it: "
        + ELSEWHERE,
    ),
    (
        {"backup_repository": "/srv/data", "storage_path": "/srv/data/registry"},
        f"backup_repository: holds /srv/data/registry (storage_path): {ELSEWHERE}",
    ),
    (
        {"backup_repository": "/etc/wharfinger/backups"},
        "backup_repository: lies in /etc/wharfinger (the keys), and would be lost with it: "
        + ELSEWHERE,
    ),
    (
        {"backup_repository": "/var/lib/wharfinger/backups"},
        "backup_repository: lies in /var/lib/wharfinger (the host's state), and would be lost "
        f"with it: {ELSEWHERE}",
    ),
    (
        {"backup_repository": "sftp:keeper@store:/srv/x", **SSH, "backup_ssh_key": ""},
        "backup_ssh_key: is empty, and backup_repository needs it for sftp: write the private key "
        "that opens the server",
    ),
    (
        {"backup_repository": "sftp:keeper@store:/srv/x", **SSH, "backup_ssh_host_keys": ""},
        "backup_ssh_host_keys: is empty, and backup_repository needs it for sftp: write the "
        "server's host keys, as ssh-keyscan shows them",
    ),
    (
        {"backup_repository": "s3:https://s3.example.com/b", "backup_environment": {}},
        "backup_environment: lacks AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, which an S3 "
        "repository needs: write them, their values from ansible-vault",
    ),
    (
        {"backup_environment": {"aws_key": "x"}},
        "backup_environment: aws_key is not the name of a variable: write it in capital letters, "
        "such as AWS_ACCESS_KEY_ID",
    ),
    (
        {"backup_environment": {"AWS_ACCESS_KEY_ID": "a\nb"}},
        "backup_environment: the value of AWS_ACCESS_KEY_ID must be one line of text",
    ),
    (
        {"backup_rate": "fast"},
        "backup_rate: 'fast' is not a number of bytes per second: write 50m or 1g, or 0 for as "
        "fast as it goes",
    ),
    (
        {"backup_schedule": "at night"},
        "backup_schedule: 'at night' is not a schedule: write daily 03:30, sun 03:30, monthly "
        '03:30, or "" for never',
    ),
    (
        {"backup_drill_schedule": "weekly"},
        "backup_drill_schedule: 'weekly' is not a schedule: write daily 03:30, sun 03:30, monthly "
        '03:30, or "" for never',
    ),
    ({"backup_keep": {"dayly": 7}}, "backup_keep: dayly is not a period: write daily"),
    (
        {"backup_keep": {"fortnights": 7}},
        "backup_keep: fortnights is not a period: write one of last, hourly, daily, weekly, "
        "monthly, yearly",
    ),
    ({"backup_keep": {"daily": 0}}, "backup_keep: daily must be a number from 1 on, such as 7"),
    (
        {"backup_password": " secret"},
        "backup_password: begins or ends with a space, or has more than one line, which restic "
        "leaves out: write one line without them",
    ),
]


@pytest.mark.parametrize(("variables", "message"), MISTAKES)
def test_each_mistake(errors: Strings, variables: dict[str, Any], message: str) -> None:
    assert errors(**variables) == [message]


@pytest.mark.parametrize(
    ("content", "given", "message"),
    [
        ("right\n", "", None),
        ("right\n", "right", None),
        (
            "\n",
            "",
            f"{FILE} beside the inventory is empty: bring it back from a copy; if no backup was "
            "made with it, remove it, and a password is made",
        ),
        (
            "one\ntwo\n",
            "",
            f"{FILE} beside the inventory has more than one line: leave only the password in it",
        ),
        (
            "right\n",
            "changed",
            f"is not the password in {FILE} beside the inventory, and the repository opens with "
            "one of them: leave backup_password out, or, if that is the right one, remove the "
            "file. docs/backup.md says how to change a password",
        ),
    ],
)
def test_the_file_with_the_password(
    errors: Strings, tmp_path: Path, content: str, given: str, message: str | None
) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / FILE).write_text(content)
    said = errors(
        backup_repository="/mnt/backup",
        backup_password=given,
        controller={"base": str(tmp_path)},
    )
    assert said == ([f"backup_password: {message}"] if message else [])


def test_a_restore_and_a_backup_need_a_place(errors: Strings) -> None:
    for scope in ("restore", "backup", "backup_drill"):
        assert errors(scope=scope, backup_repository="") == [
            "backup_repository: is empty: write where the backups are, such as "
            "/mnt/backup/registry; docs/backup.md has the places"
        ]


def test_a_restore_needs_the_password_and_names_that_of_another_registry(
    errors: Strings, tmp_path: Path
) -> None:
    def restored(**changes: Any) -> list[str]:
        given = {"backup_password": "", **changes}
        return errors(scope="restore", controller={"base": str(tmp_path)}, **given)

    missing = (
        f"backup_password: is empty, and {FILE} is not beside the inventory: bring this file from "
        "the controller that deployed the registry, or write backup_password"
    )
    assert restored() == [missing]
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/one.internal-backup_password").write_text("secret\n")
    assert restored() == [
        f"{missing}. If the backups are those of one.internal, write registry_hostname: "
        "one.internal"
    ]
    assert restored(backup_password="secret") == []
    (tmp_path / FILE).write_text("secret\n")
    assert restored() == []
