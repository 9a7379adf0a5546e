"""Waiting for clients that work beside a test."""

from __future__ import annotations

import time
from collections.abc import Callable

OPERATIONS = 20
SECONDS = 120


def enough(count: Callable[[], int], operations: int = OPERATIONS) -> None:
    """Waits until clients have done a number of operations.

    A fast machine ends some commands before its clients have done anything worth looking at, so a
    test waits for them instead of demanding that so many fit beside the command.

    :param count: how many there are by now
    :param operations: more than so many are waited for
    :raises AssertionError: there are too few after two minutes
    """
    deadline = time.monotonic() + SECONDS
    while count() <= operations:
        assert time.monotonic() < deadline, f"{count()} operations in {SECONDS} seconds"
        time.sleep(0.1)
