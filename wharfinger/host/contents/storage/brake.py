"""The brake: a run that would remove very much waits for a person's confirmation. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# A run this many times as large as the largest of the last runs needs a confirmation.
_TIMES = 10
# How many of the last runs that removed something are remembered.
_RUNS = 10
_SHOWN = 10


def verdict(
    repositories: Sequence[str],
    total: int,
    settings: Mapping[str, Any],
    history: Sequence[int],
    what: str,
) -> str:
    """Why a person must confirm the removals, and what would go; "" if nobody must.

    repositories: the repository of each removal; total: how many tags or manifests exist; what:
    which of the two. settings: `brake_percent` and `brake_at_least`. history: how many each of the
    last runs removed.
    """
    count = len(repositories)
    percent = float(settings.get("brake_percent", 30))
    if count < int(settings.get("brake_at_least", 50)):
        return ""
    if count * 100 > percent * total:
        why = f"more than {percent:g} % (registry_brake_percent)"
    elif history and count > _TIMES * max(history):
        why = f"more than {_TIMES} times as many as any of the last runs ({max(history)} at most)"
    else:
        return ""
    return f"{count} of {total} {what} would go, {why}: {_by_repository(repositories)}"


def _by_repository(repositories: Iterable[str]) -> str:
    """`team/app 40, ci/app 12 and 3 more repositories`."""
    counts = Counter(repositories).most_common()
    shown = ", ".join(f"{name} {number}" for name, number in counts[:_SHOWN])
    more = len(counts) - _SHOWN
    return shown + (f" and {more} more repositories" if more > 0 else "")


def updated_history(history: Sequence[int], removed: int) -> list[int]:
    """The history after a run that removed this many."""
    return [*history, *([removed] if removed else [])][-_RUNS:]
