"""One registry under load. The tests run in the order in which they are written."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from faults import Bench, markdown

_benches: list[Bench] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what was seen of each fault, even if all is well."""
    for bench in _benches:
        terminalreporter.write_line(markdown(bench.rows))


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    """The host under test, with clients that use it from the first test to the last."""
    with Bench() as bench:
        _benches.append(bench)
        # The first fault meets clients that have been served.
        bench.back(time.time(), 120)
        yield bench
    bench.report()
