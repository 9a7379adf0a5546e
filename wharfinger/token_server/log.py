"""The log: one JSON object a line on standard output.

A write never waits. Standard output is docker's pipe, which nobody reads while dockerd is stopped:
lines that find it full are dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

# Lines are written together, so many seconds after the first of them: a write a line costs more
# than all the rest of a refusal.
TOGETHER = 0.02
_STANDARD_OUTPUT = 1
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode

_lines: list[str] = []
_later: Callable[[Callable[[], None]], object] | None = None
# The rest of a line whose beginning was written.
_torn = b""
# Lines that were dropped since the process began.
lost = 0


def line(event: dict[str, Any]) -> str:
    """One event as it stands in the log, ASCII, with the time in front."""
    now = time.time()
    stamp = f"{second(int(now))}.{int(now % 1 * 1000):03d}Z"
    return _ENCODE({"time": stamp} | event)


def write(event: dict[str, Any]) -> None:
    """Write one event, with the time in front."""
    _lines.append(line(event) + "\n")
    if _later is None:
        flush()
    elif len(_lines) == 1:
        _later(flush)


def flush() -> None:
    """Write what is left; what cannot be written at once is dropped."""
    global _torn, lost
    data = _torn + "".join(_lines).encode()
    _lines.clear()
    try:
        written = _write(data)
    except OSError:
        written = 0
    # A line that has begun must end before another begins.
    begun = bool(_torn) if written == 0 else not data[:written].endswith(b"\n")
    kept = data.index(b"\n", written) + 1 if begun else written
    _torn = data[written:kept]
    lost += data.count(b"\n", kept)


def _write(data: bytes) -> int:
    return os.write(_STANDARD_OUTPUT, data)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Within, in a running event loop, lines that come close upon another are written at once, and
    no write waits for a reader."""
    global _later
    os.set_blocking(_STANDARD_OUTPUT, False)
    loop = asyncio.get_running_loop()
    _later = functools.partial(loop.call_later, TOGETHER)
    try:
        yield
    finally:
        _later = None
        flush()


@functools.lru_cache(maxsize=64)
def second(seconds: int) -> str:
    """Seconds since the epoch as date and time in UTC, without the Z, as a fraction may follow."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
