"""The log: one JSON object a line on standard output."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

# Lines are written together, so many seconds after the first of them: a write a line costs more
# than all the rest of a refusal.
TOGETHER = 0.02
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode

_lines: list[str] = []
_later: Callable[[Callable[[], None]], object] | None = None


def write(event: dict[str, Any]) -> None:
    """Write one event, with the time in front."""
    now = time.time()
    stamp = f"{_second(int(now))}.{int(now % 1 * 1000):03d}Z"
    _lines.append(_ENCODE({"time": stamp} | event) + "\n")
    if _later is None:
        flush()
    elif len(_lines) == 1:
        _later(flush)


def flush() -> None:
    """Write what is left."""
    text = "".join(_lines)
    _lines.clear()
    sys.stdout.write(text)
    sys.stdout.flush()


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Within, in a running event loop, lines that come close upon another are written at once."""
    global _later
    loop = asyncio.get_running_loop()
    _later = functools.partial(loop.call_later, TOGETHER)
    try:
        yield
    finally:
        _later = None
        flush()


@functools.lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
