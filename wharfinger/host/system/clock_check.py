"""Reads this host's clock, and says what a doubt about it means (clock.py judges)."""

from __future__ import annotations

import time

from .clock import Record, judge, load, store
from .context import Host
from .errors import HostError

CONFIRMATION = "-e clock_is_right=true"


class InDoubt(HostError):
    """The clock is in doubt, and the request depends on it."""


def sentence(record: Record, now: float) -> str:
    """What an operator has to know about a clock in doubt; "" if it is not."""
    if not record.doubt:
        return ""
    shown = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    return (
        f"the clock is in doubt: {record.doubt}, and no time server sets it. It shows {shown}. "
        "Meanwhile nothing is deleted, and no key or certificate is renewed. Set it right, or let "
        "a time server do that; where it is right, run playbooks/rotate_certificates.yml "
        f"{CONFIRMATION}"
    )


def look(host: Host, *, confirmed: bool = False, check: bool = False) -> Record:
    """Reads this host's clock. `confirmed`: a person says that it is right. With `check` the
    reading is not stored; without it, the caller holds the host's lock."""
    path = host.paths.clock
    record = judge(load(path), host.clock.reading(), confirmed=confirmed)
    if not check:
        store(path, record)
    return record


def doubt(host: Host, *, confirmed: bool = False, check: bool = False) -> str:
    """The same as a sentence for an operator; "" if the clock can be trusted."""
    return sentence(look(host, confirmed=confirmed, check=check), host.clock.now())
