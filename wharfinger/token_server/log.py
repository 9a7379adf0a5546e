"""The log: one JSON object per line on standard output.

A write never waits. Standard output is docker's pipe, which nobody reads while dockerd is stopped:
when it is full, lines are dropped and counted.
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

# Lines are written in batches, this many seconds after a batch's first line: one write for each
# line would cost a fifth of a token's time.
TOGETHER = 0.02
_STANDARD_OUTPUT = 1
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode

_lines: list[str] = []
_later: Callable[[Callable[[], None]], object] | None = None
# The rest of a line that was written only in part.
_torn = b""
# Lines that were dropped since the process began.
lost = 0


def line(event: dict[str, Any]) -> str:
    """An event's line in the log: ASCII, the time first."""
    now = time.time()
    stamp = f"{second(int(now))}.{int(now % 1 * 1000):03d}Z"
    return _ENCODE({"time": stamp} | event)


def write(event: dict[str, Any]) -> None:
    """Write one event, the time first."""
    _lines.append(line(event) + "\n")
    if _later is None:
        flush()
    elif len(_lines) == 1:
        _later(flush)


def flush() -> None:
    """Write the batch. Lines that cannot be written at once are dropped."""
    global _torn, lost
    data = _torn + "".join(_lines).encode()
    _lines.clear()
    try:
        written = _write(data)
    except OSError:
        written = 0
    # The rest of a torn line must be written before the next line.
    begun = bool(_torn) if written == 0 else not data[:written].endswith(b"\n")
    kept = data.index(b"\n", written) + 1 if begun else written
    _torn = data[written:kept]
    lost += data.count(b"\n", kept)


def _write(data: bytes) -> int:
    return os.write(_STANDARD_OUTPUT, data)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Inside this context, in a running event loop, lines are written in batches and no write waits
    for a reader."""
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
    """Seconds since the epoch as date and time in UTC, without the Z: a fraction may follow."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
