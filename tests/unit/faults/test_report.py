"""What is reported about a fault, and how long there was no service."""

from __future__ import annotations

import pytest

from faults.report import Row, page, words
from faults.watch import Seen, out


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("ReadTimeout: The read operation timed out", "no answer"),
        ("ConnectError: [Errno 111] Connection refused", "connection refused"),
        ("Unexpected: the upload's begin answered 502 instead of 202 (POST /v2/): <html>", "502"),
        (
            "Unexpected: the upload's end answered 500 instead of 201 (PUT /v2/): "
            '{"errors":[{"code":"UNKNOWN","message":"failed","detail":"write /a: no room"}]}',
            "500 UNKNOWN failed (no room)",
        ),
    ],
)
def test_an_error_in_few_words(error: str, said: str) -> None:
    assert words(error) == said


@pytest.mark.parametrize(
    ("rounds", "seconds"),
    [
        ([(9, 10, ""), (11, 12, "")], 0),
        ([(9, 10.5, "cut off"), (11, 12, ""), (12, 13, "")], 2),
        ([(11, 12, "x"), (12, 13, ""), (13, 14, "x"), (14, 15, "")], 5),
        ([(8, 9, "before the fault"), (11, 12, "")], 0),
        ([(11, 12, "x"), (12, 13, "x")], 3),
    ],
)
def test_service_is_out_until_it_succeeds_for_good(
    rounds: list[tuple[float, float, str]], seconds: float
) -> None:
    assert out([Seen(*seen) for seen in rounds], 10) == seconds


def test_the_page_counts_what_was_acknowledged_and_lost() -> None:
    row = Row("a fault", "by itself", 1.5, 0, 20, 3, 7, ("a@sha256:b: gone",), {"502": 3})
    text = page([row, row], "2026-11-25", 2)
    assert "14 pushes were acknowledged (201) during these faults; 2 of them are lost." in text
    assert "| a fault | by itself | 1.5 s | 0 | 3 of 20 | 502 (3) | 7 | 1 |" in text
