"""Durations, sizes and truth values."""

from __future__ import annotations

import pytest

from wharfinger.values import boolean, duration, readable_size, size


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *((600, 600), ("600", 600), ("90s", 90), ("10m", 600), ("1h", 3600), (" 5 m ", 300)),
        *((0, 0), ("14d", 14 * 86400), ("2w", 14 * 86400)),
    ],
)
def test_a_duration_is_seconds(value: object, seconds: int) -> None:
    assert duration(value) == seconds


@pytest.mark.parametrize("value", ["", "ten", "10 minutes", "-5", "1.5h", "1h30m", 1.5, True, None])
def test_a_malformed_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        duration(value)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1024, 1024),
        ("512m", 512 * 2**20),
        ("2g", 2**31),
        ("2GiB", 2**31),
        ("2 GB", 2**31),
        ("1k", 1024),
        ("1T", 2**40),
        ("100b", 100),
    ],
)
def test_a_size_is_bytes(value: object, number: int) -> None:
    assert size(value) == number


@pytest.mark.parametrize("value", ["", "much", "1.5g", "-1", "5x", True, None, 2.0])
def test_a_malformed_size_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        size(value)


@pytest.mark.parametrize("value", [True, "yes", "True", "on", 1, "1"])
def test_what_ansible_takes_for_true_is_true(value: object) -> None:
    assert boolean(value) is True


@pytest.mark.parametrize("value", [False, "no", "FALSE", "off", 0, "0"])
def test_what_ansible_takes_for_false_is_false(value: object) -> None:
    assert boolean(value) is False


@pytest.mark.parametrize("value", ["maybe", 2, "", None, [True], 1.0])
def test_what_is_neither_true_nor_false_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        boolean(value)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (3 * 2**29, "1.5 GiB"),
        (2**31, "2 GiB"),
        (5 * 2**20, "5 MiB"),
        (2048, "2 KiB"),
        (7, "7 bytes"),
    ],
)
def test_a_size_is_shown_as_people_read_it(number: int, text: str) -> None:
    assert readable_size(number) == text
