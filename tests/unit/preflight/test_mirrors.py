"""registry_mirrors, its schedule and mirror.lock: what preflight says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import MIRRORS, Judge

Strings = Callable[..., list[str]]

DIGEST = "sha256:" + "a" * 64
LINE = f"base/debian:13@{DIGEST} 2026-12-01 docker.io/library/debian\n"
NOTHING_YET = (
    "registry_mirrors, mirror 1 (docker.io/library/debian): mirror.lock has no tag of base/debian "
    "yet, so nothing is copied there: run ansible-playbook playbooks/mirror.yml -e update=true"
)


def test_a_locked_mirror_is_neither_a_mistake_nor_warned_of(
    warnings: Strings, tmp_path: Path
) -> None:
    (tmp_path / "mirror.lock").write_text(LINE)
    for scope in ("site", "mirror"):
        assert warnings(scope=scope, **MIRRORS) == []


@pytest.mark.parametrize("lock", [None, "", LINE.replace("docker.io", "quay.io")])
def test_a_mirror_without_a_line_is_warned_of(
    judge: Judge, tmp_path: Path, lock: str | None
) -> None:
    if lock is not None:
        (tmp_path / "mirror.lock").write_text(lock)
    for scope in ("site", "mirror"):
        report = judge(scope=scope, **MIRRORS)
        assert (report.errors, report.warnings) == ([], [NOTHING_YET])
    assert judge(scope="mirror", playbook_vars={"update": "true"}, **MIRRORS).warnings == []
    assert judge(scope="users", **MIRRORS).warnings == []


@pytest.mark.parametrize(
    ("lock", "message"),
    [
        (
            f"# a comment\nbase/debian:13 {DIGEST}\n",
            "line 2 is not in the format: write REPOSITORY:TAG@sha256:… YEAR-MONTH-DAY SOURCE, "
            "take the line from an earlier commit, or delete it and run playbooks/mirror.yml "
            "-e update=true",
        ),
        (
            LINE + LINE,
            "line 2: base/debian:13 has a line already, as after a merge: delete one of them",
        ),
    ],
)
def test_a_bad_line_stops_what_reads_it(
    judge: Judge, tmp_path: Path, lock: str, message: str
) -> None:
    (tmp_path / "mirror.lock").write_text(lock)
    for scope in ("site", "mirror"):
        assert judge(scope=scope, **MIRRORS).errors == [f"mirror.lock: {message}"]
    assert judge(scope="users", **MIRRORS).errors == []
    # Without mirrors nobody reads it.
    assert judge(registry_mirrors=[]).errors == []


def test_a_lock_that_is_a_folder(judge: Judge, tmp_path: Path) -> None:
    (tmp_path / "mirror.lock").mkdir()
    assert judge(**MIRRORS).errors == ["mirror.lock: it cannot be read: Is a directory"]


def test_a_mistake_in_an_entry_stops_a_deployment_and_the_playbook(judge: Judge) -> None:
    entries = [{"from": "debian", "to": "base/debian", "tags": "13"}]
    for scope in ("site", "mirror"):
        assert judge(scope=scope, registry_mirrors=entries).errors == [
            'registry_mirrors, mirror 1: from: "debian" names no registry: write '
            "docker.io/library/debian if Docker Hub is meant"
        ]


def test_the_playbook_needs_a_mirror(errors: Strings) -> None:
    assert errors(scope="mirror", registry_mirrors=[]) == [
        "registry_mirrors: is empty, so there is nothing to copy: write which images are to be "
        "kept here (docs/mirrors.md)"
    ]
    assert errors(registry_mirrors=[]) == []


@pytest.mark.parametrize(
    ("schedule", "instead"),
    [
        ("03:30", "daily 03:30"),
        ("at night", 'daily 03:30, sun 03:30, monthly 03:30, or "" for never'),
    ],
)
def test_a_schedule_that_is_none(errors: Strings, schedule: str, instead: str) -> None:
    assert errors(registry_mirrors_schedule=schedule) == [
        f"registry_mirrors_schedule: '{schedule}' is not a schedule: write {instead}"
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"playbook_vars": {"update": "perhaps"}}, "update: 'perhaps' is neither true nor false"),
        ({"extra": ("updat",)}, "updat: is an unknown variable: write -e update=…"),
    ],
)
def test_words_of_the_playbook(judge: Judge, given: dict[str, Any], message: str) -> None:
    [said] = judge(scope="mirror", **given).errors
    assert said.startswith(message)


def test_update_belongs_to_this_playbook(judge: Judge) -> None:
    assert judge(playbook_vars={"update": "true"}, extra=("update",)).errors == [
        "update: is not read by this playbook: run playbooks/mirror.yml with it, or leave it out"
    ]


@pytest.mark.parametrize("name", ["wharfinger-mirror", "wharfinger-verification"])
def test_the_toolkits_own_accounts_are_no_users(errors: Strings, name: str) -> None:
    said = errors(registry_users={"admin": {}, name: {}})
    assert len(said) == 1 and f"registry_users, {name}:" in said[0] and "reserved" in said[0]


def test_a_mirror_and_a_base_image_do_not_share_a_repository(errors: Strings) -> None:
    images = [{"to": "base/debian", "suite": "trixie"}]
    assert errors(registry_base_images=images, **MIRRORS) == [
        "registry_mirrors, mirror 1: to: base/debian is also where registry_base_images puts an "
        "image: choose another name"
    ]
