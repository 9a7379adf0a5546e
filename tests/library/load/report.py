"""The results of a load as plain data, and as a table (pure)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .record import Operation, Record

# How many failures the report lists, and how much of the beginning and end of each: the middle
# holds long addresses.
_TOLD = 50
_WORDS = 300


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that `share` (0 to 1) of all do not exceed; None without values."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def totals(operations: Iterable[Operation]) -> dict[str, int]:
    """How many requests and operations there were; how many of them failed and were retried."""
    counts = {"requests": 0, "operations": 0, "failed": 0, "retried": 0}
    for operation in operations:
        counts["requests"] += operation.requests
        counts["operations"] += 1
        counts["failed"] += not operation.ok
        counts["retried"] += operation.retries
    return counts


def by_kind(operations: Sequence[Operation]) -> dict[str, dict[str, int]]:
    """The totals of each kind of operation."""
    kinds = sorted({operation.kind for operation in operations})
    return {
        kind: totals(operation for operation in operations if operation.kind == kind)
        for kind in kinds
    }


def report(record: Record, steady: str | None = None, now: float | None = None) -> dict[str, Any]:
    """Totals, by kind, and by phase with the latencies of small requests in milliseconds.

    The p99 of other phases is compared with that of `steady` (`p99_ratio`), or of the first phase
    if None. A phase that begins several times counts as one.
    """
    operations = record.so_far()
    phases = list(record.phases)
    ends = [start for _, start in phases[1:]] + [record.ended or now or time.time()]
    seconds: dict[str, float] = {}
    for (name, start), end in zip(phases, ends, strict=True):
        seconds[name] = seconds.get(name, 0) + end - start
    base = steady or (phases[0][0] if phases else "")
    of_base = percentile(_latencies(operations, base), 0.99)
    by_phase = []
    for name, lasted in seconds.items():
        own = [operation for operation in operations if operation.phase == name]
        small = _latencies(operations, name)
        p50, p99 = percentile(small, 0.5), percentile(small, 0.99)
        by_phase.append(
            {
                "name": name,
                "seconds": round(lasted, 1),
                **totals(own),
                "kinds": by_kind(own),
                "small_requests": len(small),
                "p50_ms": _milliseconds(p50),
                "p99_ms": _milliseconds(p99),
                "p99_ratio": round(p99 / of_base, 2) if p99 and of_base else None,
            }
        )
    failures = [operation for operation in operations if not operation.ok]
    return {
        **totals(operations),
        "kinds": by_kind(operations),
        "phases": by_phase,
        "failures": [
            {
                "client": failure.client,
                "kind": failure.kind,
                "phase": failure.phase,
                "start": round(failure.start, 3),
                "seconds": round(failure.seconds, 3),
                "error": failure.error,
            }
            for failure in failures[:_TOLD]
        ],
    }


def _latencies(operations: Iterable[Operation], phase: str) -> list[float]:
    return [
        value
        for operation in operations
        if operation.phase == phase
        for value in operation.latencies
    ]


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def table(report: Mapping[str, Any]) -> str:
    """The report for people: a line for each phase, then for each kind, then the failures."""
    lines = [
        f"{'phase':34} {'s':>6} {'requests':>8} {'operations':>10} {'failed':>6} {'retried':>7}"
        f" {'p50 ms':>7} {'p99 ms':>7} {'ratio':>6}"
    ]
    for phase in report["phases"]:
        lines.append(
            f"{phase['name'][:34]:34} {phase['seconds']:6} {phase['requests']:8}"
            f" {phase['operations']:10} {phase['failed']:6} {phase['retried']:7}"
            f" {_or_dash(phase['p50_ms']):>7} {_or_dash(phase['p99_ms']):>7}"
            f" {_or_dash(phase['p99_ratio']):>6}"
        )
    for kind, counts in {**report["kinds"], "all": report}.items():
        lines.append(
            f"{kind[:34]:34} {'':6} {counts['requests']:8} {counts['operations']:10}"
            f" {counts['failed']:6} {counts['retried']:7}"
        )
    lines += [
        f"FAILED {failure['kind']} by {failure['client']} in {failure['phase']}: "
        + _both_ends(failure["error"])
        for failure in report["failures"]
    ]
    return "\n".join(lines)


def _both_ends(words: str) -> str:
    return words if len(words) <= 2 * _WORDS else f"{words[:_WORDS]} … {words[-_WORDS:]}"


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)
