"""The renewals that a host's timer starts by itself, every quarter of an hour and after each start
of the timer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from testinfra.host import Host

TIMER = "wharfinger-renew.timer"
# Stopping a timer does not stop what it has started.
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

    A renewal starts containers that were killed, ends interrupted maintenance, continues a
    rotation, closes logs and sends alarms. During a test, it would do the very thing that the test
    examines.
    """
    machine.check_output(STOP)
    try:
        yield
    finally:
        machine.check_output("systemctl start %s", TIMER)
