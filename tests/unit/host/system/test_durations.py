"""Lengths of time in words."""

from __future__ import annotations

import pytest

from wharfinger.host.system.durations import in_words

DAY = 86400


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 seconds"),
        (59, "59 seconds"),
        (180, "3 minutes"),
        (7300, "2 hours"),
        (DAY, "24 hours"),
        (2 * DAY, "2 days"),
    ],
)
def test_an_age_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(90 * 60, "2 hours"), (47 * 3600, "47 hours"), (2.6 * DAY, "3 days"), (3600, "1 hour")],
)
def test_rounded_to_the_units_that_matter(seconds: float, words: str) -> None:
    assert in_words(seconds, ("day", "hour"), rounded=True) == words
