"""Lengths of time and days in words, for people (pure)."""

from __future__ import annotations

import time
from collections.abc import Sequence

_SECONDS = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}


def in_words(
    seconds: float,
    units: Sequence[str] = tuple(_SECONDS),
    *,
    least: int = 2,
    rounded: bool = False,
) -> str:
    """A length of time in the largest of `units` that it has `least` times, else in the last.

    The number is cut off, or rounded with `rounded`; seconds are always rounded. A negative length
    counts as 0.
    """
    seconds = max(seconds, 0)
    enough = (unit for unit in units if seconds >= least * _SECONDS[unit])
    unit = next(enough, units[-1])
    number = seconds / _SECONDS[unit]
    number = round(number) if rounded or unit == "second" else int(number)
    return f"{number} {unit if number == 1 else f'{unit}s'}"


def day(seconds: float) -> str:
    """The day in UTC of a time in seconds since 1970: 2026-11-30."""
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
