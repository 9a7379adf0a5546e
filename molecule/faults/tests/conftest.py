"""One registry under load. The tests run as they are written, each an accident."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults import Bench, markdown

_benches: list[Bench] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what was seen of each fault, also where all is well."""
    for bench in _benches:
        terminalreporter.write_line(markdown(bench.rows))


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    """The host under test, with clients that use it from the first to the last test."""
    with Bench() as bench:
        _benches.append(bench)
        yield bench
    bench.report()
