"""How what preflight has found is told."""

from __future__ import annotations

from collections.abc import Sequence

from wharfinger.deployment.problems import Problem

# As many are shown; a thousand users without a rule make a thousand of them.
WARNINGS = 20


def warnings(problems: Sequence[Problem]) -> list[str]:
    """The warnings that are shown, and of the others how many there are."""
    sentences = [str(problem) for problem in problems[:WARNINGS]]
    more = len(problems) - WARNINGS
    return [*sentences, f"{more} more warnings like these"] if more > 0 else sentences


def mistakes(errors: Sequence[Problem]) -> str:
    """The message with which a run stops before it changes anything."""
    count = f"{len(errors)} mistake{'s' if len(errors) > 1 else ''}"
    return "\n".join(
        [f"{count} found; nothing was changed.", *(f"  - {error}" for error in errors)]
    )


def shown(value: str) -> str:
    """A value from the inventory between quotes: shortened, and without what precedes an `@`.

    Only for values that are not secrets; a URL pasted with its credentials must not print them.
    """
    text = value.rpartition("@")[2]
    text = f"…@{text}" if text != value else value
    return repr(text if len(text) <= 64 else text[:63] + "…")
