"""The results of each fault, as plain data and as a table (pure)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

# What httpx's exceptions mean, in plain words.
_WORDS = {
    "ConnectError": "connection refused",
    "ConnectTimeout": "no connection",
    "ReadTimeout": "no answer",
    "WriteTimeout": "no answer",
    "RemoteProtocolError": "connection cut off",
    "ReadError": "connection cut off",
    "WriteError": "connection cut off",
}


@dataclass(frozen=True)
class Row:
    """One fault. `returns`: how service returns; `pulls` and `pushes`: seconds from the fault until
    they succeeded for good, 0 if none failed; `errors`: those of failed operations, and how
    often each occurred; `pushed`: manifests answered with 201 meanwhile; `lost`: those of them that
    could not be pulled."""

    fault: str
    returns: str
    pulls: float
    pushes: float
    operations: int
    failed: int
    pushed: int
    lost: tuple[str, ...] = ()
    errors: dict[str, int] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def words(error: str) -> str:
    """An operation's error in a few words: status, code and message of an answer, or what happened
    to the connection."""
    answered = re.search(r"answered (\d{3}) instead", error)
    if answered is not None:
        code = re.search(r'"code":\s*"([A-Z_]+)"', error)
        message = re.search(r'"message":\s*"([^"]*)"', error)
        detail = re.search(r'"detail":\s*"([^"]*)"', error)
        parts = [answered[1], code[1] if code else "", message[1] if message else ""]
        # If it names a path and what happened to it, keep only what happened.
        parts += [f"({detail[1].rpartition(': ')[2]})"] if detail else []
        return " ".join(part for part in parts if part)
    kind = error.split(":", 1)[0]
    return _WORDS.get(kind, error[:80])


def error_counts(errors: Iterable[str]) -> dict[str, int]:
    """How often each error occurred, the most frequent first."""
    return dict(Counter(map(words, errors)).most_common())


def page(rows: Sequence[Row], day: str, cores: int) -> str:
    """The table as a page for docs/evidence."""
    pushed, lost = sum(row.pushed for row in rows), sum(len(row.lost) for row in rows)
    return f"""# Faults

What happened to clients at each fault, on a deployed Debian 13 host under load. Made by
`FAULTS_REPORT=docs/evidence/faults.md ./test faults`, {day}, {cores} cores shared by host and
clients (other work beside it makes the times longer). Explained in
[reliability.md](../reliability.md).

{pushed} pushes were acknowledged (201) during these faults; {lost} of them are lost.

'Pulls out' and 'pushes out': seconds from the fault until a new client's pulls and pushes
succeeded for good; where a fault lasts, its own time is part of that.

{markdown(rows)}"""


def markdown(rows: Sequence[Row]) -> str:
    """The table."""
    lines = [
        "| fault | service returns | pulls out | pushes out | operations failed "
        "| what they were told | pushes acknowledged | lost |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        said = "; ".join(f"{text} ({count})" for text, count in list(row.errors.items())[:4])
        lines.append(
            f"| {row.fault} | {row.returns} | {_seconds(row.pulls)} | {_seconds(row.pushes)} "
            f"| {row.failed} of {row.operations} | {said or '-'} | {row.pushed} | {len(row.lost)} |"
        )
    return "\n".join(lines) + "\n"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value else "0"
