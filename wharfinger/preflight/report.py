"""The messages that preflight shows."""

from __future__ import annotations

from collections.abc import Sequence

from wharfinger.deployment.problems import Problem

# At most so many are shown: a thousand users without a rule cause a thousand warnings.
WARNINGS = 20


def warnings(problems: Sequence[Problem]) -> list[str]:
    """The warnings that are shown, and a line with the number of the others."""
    sentences = [str(problem) for problem in problems[:WARNINGS]]
    more = len(problems) - WARNINGS
    return [*sentences, f"{more} more warnings like these"] if more > 0 else sentences


def mistakes(errors: Sequence[Problem]) -> str:
    """The message of a run that stops before it changes anything."""
    count = f"{len(errors)} mistake{'s' if len(errors) > 1 else ''}"
    return "\n".join(
        [f"{count} found; nothing was changed.", *(f"  - {error}" for error in errors)]
    )


def shown(value: str) -> str:
    """A value from the inventory in quotes, shortened, and without the part before an `@`.

    Only for values that are not secrets. The credentials of a pasted URL must not be printed.
    """
    text = value.rpartition("@")[2]
    text = f"…@{text}" if text != value else value
    return repr(text if len(text) <= 64 else text[:63] + "…")
