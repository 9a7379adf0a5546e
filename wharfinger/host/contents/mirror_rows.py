"""The rows of the report of `mirror` (mirrors/mirror.py), as people read them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

# More tags than these are counted.
_NAMED = 5
# By state of a tag, how many a row has of it.
STATES = ("locked", "missing", "moved", "new", "gone")


def drift(row: Mapping[str, Any]) -> list[str]:
    """How an upstream differs from mirror.lock, a sentence for each kind."""
    return [
        f"{words}: {', '.join(row[key][:_NAMED])}"
        + (f" and {len(row[key]) - _NAMED} more" if len(row[key]) > _NAMED else "")
        for key, words in (
            ("moved", "moved upstream"),
            ("new", "new upstream"),
            ("gone", "no longer upstream"),
        )
        if row[key]
    ]


def problems(row: Mapping[str, Any]) -> list[str]:
    """What is wrong with one mirror, a sentence each."""
    name = f"{row['to']} ({row['from']})"
    if row["problem"]:
        missing = row["locked"] - row["here"]
        rest = f"; {missing} of {row['locked']} locked tags are not here" if missing else ""
        return [f"{name}: {row['problem']}{rest}"]
    return [f"{name}: {tag}: {why}" for tag, why in sorted(row["failed"].items())]


def in_words(row: Mapping[str, Any]) -> str:
    """One line about a mirror; its problems are not in it."""
    success = (
        time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(row["success"]))
        if row["success"]
        else "never"
    )
    here = f"{row['here']} of {row['locked']} locked tags are here"
    return "; ".join([f"{row['to']}: {here}, last success {success}", *drift(row)])


def counts(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """State of a tag → how many of them there are in all mirrors."""
    rows = list(rows)
    return {
        "locked": sum(row["locked"] for row in rows),
        "missing": sum(row["locked"] - row["here"] for row in rows),
        **{state: sum(len(row[state]) for row in rows) for state in STATES[2:]},
    }
