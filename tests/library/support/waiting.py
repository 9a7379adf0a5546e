"""Waits for clients that work while a test runs."""

from __future__ import annotations

import time
from collections.abc import Callable

OPERATIONS = 20
SECONDS = 120


def enough(count: Callable[[], int], operations: int = OPERATIONS) -> None:
    """Waits until clients have done a number of operations.

    A fast machine ends some commands before its clients have done anything worth examining. So a
    test waits for the clients, and does not require that enough operations fit into the command.

    :param count: returns the number of operations so far :param operations: the wait ends when
    there are more than this :raises AssertionError: there are too few after two minutes
    """
    deadline = time.monotonic() + SECONDS
    while count() <= operations:
        assert time.monotonic() < deadline, f"{count()} operations in {SECONDS} seconds"
        time.sleep(0.1)
