"""The renewals that a host's timer begins by itself, at any quarter of an hour and after each start
of the timer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from testinfra.host import Host

TIMER = "wharfinger-renew.timer"
# A timer that is stopped does not stop what it has begun.
STOP = f"""
systemctl stop {TIMER}
timeout 300 sh -c '
  while systemctl show --property=ActiveState wharfinger-renew.service | grep -q =activating; do
    sleep 0.1
  done'
"""


@contextmanager
def held(machine: Host) -> Iterator[None]:
    """The host renews nothing by itself during the body.

    A renewal starts containers that were killed, ends maintenance that was interrupted, goes on
    with a rotation, closes logs and sends alarms. In the midst of a test it does what the test is
    about.
    """
    machine.check_output(STOP)
    try:
        yield
    finally:
        machine.check_output("systemctl start %s", TIMER)
