"""A person's confirmations for a job's next run, which may be another process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..system.context import Host
from ..system.files import read_text, write_atomically

_FLAGS = ("confirm_deletions", "clock_is_right")
# Seconds for which a confirmation is valid: as long as the job may wait for the lock.
_WAITS = 1200.0


@contextmanager
def pass_on_confirmations(host: Host, job: str, request: Mapping[str, Any]) -> Iterator[None]:
    """Leaves the confirmations in `request` for the job that the body starts as another process.
    They are gone afterwards, so no other run finds them."""
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
    """The confirmations for this run, from the request or `pass_on_confirmations`; the latter only
    once."""
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
