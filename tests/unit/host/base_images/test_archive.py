"""The state of Debian's archive, its dates and tags; what mmdebstrap's errors mean."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wharfinger.host.base_images import archive, build
from wharfinger.host.base_images.settings import Row

ROW = Row(
    to="base/debian-slim",
    tag="13",
    suite="trixie",
    packages=("ca-certificates",),
    mirror="http://deb.example.com/debian",
    security="http://deb.example.com/debian-security",
)


def release(date: str) -> bytes:
    return f"Origin: Debian\nDate: {date}\nValid-Until: Sat, 05 Dec 2026 00:00:00 UTC\n".encode()


def test_a_state_has_the_newest_date() -> None:
    files = [release("Sat, 14 Nov 2026 10:00:00 UTC"), release("Mon, 30 Nov 2026 14:13:00 UTC")]
    state = archive.state_of(files)
    assert (state.date, state.day) == ("2026-11-30T14:13:00Z", "20261130")
    assert state == archive.state_of(files[::-1])
    assert state != archive.state_of([files[1]])


@pytest.mark.parametrize("data", [b"<html>", b"Date: today\n"])
def test_a_file_without_a_date_is_no_state(data: bytes) -> None:
    with pytest.raises(ValueError):
        archive.state_of([data])


def test_the_image_has_the_lists_that_it_was_made_from() -> None:
    text = build.sources(ROW)
    assert text.count("Types: deb\n") == 3
    assert "URIs: http://deb.example.com/debian-security\nSuites: trixie-security\n" in text


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (
            "E: The repository 'http://x trixie InRelease' is not signed.",
            "upgrade the package debian-archive-keyring",
        ),
        ("E: Unable to locate package nosuch", "a name in `packages` is not in the suite"),
        ("E: write error: No space left on device", "the disk is full"),
        ("W: Failed to fetch http://x/\nE: run_chroot failed", "the archive cannot be reached"),
        ("E: something else", "mmdebstrap failed (E: something else)"),
    ],
)
def test_a_failure_is_one_sentence(said: str, meant: str) -> None:
    sentence = build.failure(ROW, said)
    assert sentence.startswith("base/debian-slim:13: ")
    assert meant in sentence
    assert "\n" not in sentence


def test_lists_that_a_package_script_has_replaced_are_not_followed(tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    good = release("Mon, 30 Nov 2026 14:13:00 UTC")
    (lists / "one_InRelease").write_bytes(good)
    assert build.used(lists) == archive.state_of([good])
    secret = tmp_path / "secret"
    secret.write_bytes(release("Tue, 01 Dec 2026 14:13:00 UTC"))
    (lists / "two_InRelease").symlink_to(secret)
    os.mkfifo(lists / "three_InRelease")
    assert build.used(lists) == archive.state_of([good])
    (lists / "one_InRelease").unlink()
    assert build.used(lists) is None
