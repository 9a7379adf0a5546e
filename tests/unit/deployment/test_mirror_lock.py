"""The format of mirror.lock."""

from __future__ import annotations

import pytest

from wharfinger.deployment.mirror_lock import Locked, LockError, parse, written

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
DEBIAN = Locked("base/debian", "13", A, "2026-12-01", "docker.io/library/debian")
DATED = Locked("base/debian", "13-20261101", B, "2026-11-01", "docker.io/library/debian")
MADE = Locked("base/slim", "13", B, "2026-12-01", "trixie@2026-11-30T14:13:00Z")


def test_what_is_written_is_read_again_and_sorted() -> None:
    text = written([MADE, DATED, DEBIAN])
    assert parse(text) == [DEBIAN, DATED, MADE]
    assert text.splitlines()[3:] == [
        f"base/debian:13@{A} 2026-12-01 docker.io/library/debian",
        f"base/debian:13-20261101@{B} 2026-11-01 docker.io/library/debian",
        f"base/slim:13@{B} 2026-12-01 trixie@2026-11-30T14:13:00Z",
    ]
    assert written(parse(text)) == text


def test_an_empty_file_and_comments_are_no_lines() -> None:
    assert parse("\n# base/debian:13\n   \n") == []
    assert parse(written([])) == []


def test_base_images_are_told_by_their_source() -> None:
    assert [line.is_base_image for line in (DEBIAN, MADE)] == [False, True]


@pytest.mark.parametrize(
    "line",
    [
        "base/debian:13",
        f"base/debian:13@{A}",
        f"base/debian:13@{A} 2026-12-01",
        f"base/debian:13@{A} 1.12.2026 docker.io/library/debian",
        f"base/debian:13@{A[:-1]} 2026-12-01 docker.io/library/debian",
        f"base/debian@{A} 2026-12-01 docker.io/library/debian",
        f"Base/debian:13@{A} 2026-12-01 docker.io/library/debian",
        f"base/debian:13@{A} 2026-12-01 docker.io/library/debian more",
        f"{'a/' * 130}a:13@{A} 2026-12-01 docker.io/library/debian",
        "<<<<<<< HEAD",
    ],
)
def test_a_line_in_another_format_is_named(line: str) -> None:
    with pytest.raises(LockError) as raised:
        parse(f"# a comment\n{line}\n")
    assert str(raised.value) == (
        "line 2 is not in the format: write REPOSITORY:TAG@sha256:… YEAR-MONTH-DAY SOURCE, take "
        "the line from an earlier commit, or delete it and run playbooks/mirror.yml -e update=true"
    )


def test_a_tag_with_two_lines_is_named() -> None:
    other = Locked("base/debian", "13", B, "2026-12-01", "docker.io/library/debian")
    with pytest.raises(LockError) as raised:
        parse(f"{DEBIAN}\n{other}\n")
    assert str(raised.value) == (
        "line 2: base/debian:13 has a line already, as after a merge: delete one of them"
    )
