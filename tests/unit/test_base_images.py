"""registry_base_images: mistakes, what the host reads, and the lines of mirror.lock."""

from __future__ import annotations

from typing import Any

import pytest

from wharfinger import base_images
from wharfinger.deployment.mirror_lock import parse
from wharfinger.deployment.problems import Report

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
ROW = {"to": "base/debian-slim", "suite": "trixie"}


def problems(rows: list[Any], schedule: str = "") -> list[str]:
    found: list[str] = []
    base_images.check_base_images(
        {"registry_base_images": rows, "base_images_schedule": schedule},
        lambda topic, message, place="": found.append(f"{topic}: {message}"),
    )
    return found


def test_rows_without_mistakes() -> None:
    rows = [ROW, {**ROW, "tag": "13-ca", "packages": ["ca-certificates", "libstdc++6"]}]
    assert problems([*rows, {**ROW, "suite": "bookworm"}], "sun 02:30") == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**ROW, "packges": []}, "[0] has the key packges, which is not known: write packages"),
        ({"to": "base/x"}, "[0] lacks `suite`: write one, such as suite: trixie"),
        ({"suite": "trixie"}, "[0] lacks `to`: write one, such as to: base/debian-slim"),
        ({**ROW, "to": "Base"}, "[0] `to` is 'Base', not a repository"),
        ({**ROW, "to": "wharfinger-verification/x"}, "[0] `to` lies in wharfinger-verification"),
        ({**ROW, "suite": "sid"}, "[0] `suite` is 'sid': write bookworm or trixie"),
        ({**ROW, "tag": 13}, '[0] `tag` is not text: write it in quotes, as "13"'),
        ({**ROW, "tag": "a b"}, "[0] `tag` is 'a b', not a tag"),
        ({**ROW, "packages": "curl"}, "[0] `packages` is not a list"),
        ({**ROW, "packages": ["a;b"]}, "[0] `packages` has 'a;b': write names of Debian's"),
        ({**ROW, "mirror": "file:///x"}, "[0] `mirror` is not the address of an archive"),
        ({**ROW, "security_mirror": ""}, "[0] `security_mirror` is not the address"),
    ],
)
def test_a_mistake_is_one_message(row: dict[str, Any], message: str) -> None:
    (found,) = problems([row])
    assert found.startswith(f"registry_base_images: {message}")


def test_two_rows_make_no_tag_together() -> None:
    (found,) = problems([ROW, {**ROW, "packages": ["curl"]}])
    assert found == (
        "registry_base_images: [1] makes base/debian-slim:13, as registry_base_images[0] does: "
        "write another `to` or `tag`"
    )


def test_a_schedule_that_is_none() -> None:
    (found,) = problems([], "weekly")
    assert found.startswith("base_images_schedule: 'weekly' is not a schedule: write ")


def test_the_playbook_needs_a_row() -> None:
    report = Report()
    base_images.check_base_images_given({"registry_base_images": []}, report)
    assert "registry_base_images: is empty: write a row, such as" in str(report.errors[0])


def test_the_host_gets_every_key() -> None:
    settings = base_images.settings({"url": "https://r.example.com:5443", "images": [ROW]})
    assert (settings["hostname"], settings["port"]) == ("r.example.com", 5443)
    assert settings["images"] == [
        {
            "to": "base/debian-slim",
            "tag": "13",
            "suite": "trixie",
            "packages": [],
            "mirror": base_images.MIRROR,
            "security": base_images.SECURITY,
        }
    ]


def made(digest: str, moment: str, dated: str) -> dict[str, str]:
    source = f"trixie@{moment}"
    return {"to": "b", "tag": "13", "dated": dated, "digest": digest, "source": source}


def test_the_lock_follows_the_newest_state_and_keeps_dated_tags() -> None:
    old, new = made(A, "2026-11-01T00:00:00Z", "13-20261101"), None
    first = base_images.locked("", [old], "2026-12-01")
    assert [str(line) for line in parse(first)] == [
        f"b:13@{A} 2026-12-01 trixie@2026-11-01T00:00:00Z",
        f"b:13-20261101@{A} 2026-12-01 trixie@2026-11-01T00:00:00Z",
    ]
    assert base_images.locked(first, [old], "2026-12-05") == first
    new = made(B, "2026-11-02T00:00:00Z", "13-20261102")
    second = base_images.locked(first, [new], "2026-12-02")
    assert {line.tag: line.digest for line in parse(second)} == {
        "13": B,
        "13-20261101": A,
        "13-20261102": B,
    }
    # Another host has still the older state.
    assert base_images.locked(second, [old], "2026-12-03") == second


def test_lines_of_mirrors_stay() -> None:
    line = f"base/debian:13@{A} 2026-12-01 docker.io/library/debian\n"
    text = base_images.locked(line, [made(B, "2026-11-02T00:00:00Z", "13-20261102")], "2026-12-02")
    assert line in text
