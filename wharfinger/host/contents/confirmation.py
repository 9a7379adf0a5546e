"""What a person asks of a job's next run, also where that is a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..system.context import Host
from ..system.files import read_text, write_atomically

_FLAGS = ("confirm_deletions", "clock_is_right")
# Seconds for which a person's word waits for the job: as long as it may wait for the lock.
_WAITS = 1200.0


@contextmanager
def pass_on_confirmations(host: Host, job: str, request: Mapping[str, Any]) -> Iterator[None]:
    """What a person asks of the job that the body starts apart from this process; nobody else's
    run finds it afterwards."""
    flags = {name: True for name in _FLAGS if request.get(name)}
    if not flags:
        yield
        return
    now = host.clock.reading()
    path = host.paths.confirmation
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"job": job, "boot": now.boot, "until": now.up + _WAITS, **flags})
    write_atomically(path, text.encode(), 0o600)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def confirmations(host: Host, job: str, request: Mapping[str, Any]) -> dict[str, bool]:
    """What a person asks of this run, by the request or by way of `left_for`, once."""
    passed_on: dict[str, Any] = {}
    text = read_text(host.paths.confirmation)
    if text is not None:
        now = host.clock.reading()
        try:
            stored = json.loads(text)
            if (stored["job"], stored["boot"]) == (job, now.boot) and now.up <= float(
                stored["until"]
            ):
                passed_on = stored
        except (ValueError, TypeError, LookupError):
            pass  # nobody has confirmed anything
        if passed_on:
            host.paths.confirmation.unlink(missing_ok=True)
    return {name: (passed_on.get(name) or request.get(name)) is True for name in _FLAGS}
