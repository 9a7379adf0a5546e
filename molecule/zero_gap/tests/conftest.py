"""One registry under load. Each test changes it, so they run in the order of the file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from load import Load
from load.report import table
from load.site import Site, new_load
from support import evidence
from support.amount import PACE

_loads: list[tuple[str, Load]] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what happened to the clients, even if all is well."""
    page = ""
    for title, load in _loads:
        page += evidence.shown(terminalreporter, title, table(load.report("steady")))
    evidence.write(
        "changes.md",
        "What clients notice of changes",
        "WHARFINGER_TEST_FULL=1 ./test zero_gap",
        page,
    )


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The host under test."""
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def loaded(site: Site, request: pytest.FixtureRequest) -> Iterator[Load]:
    """Clients use the registry from the first test of the file to the last."""
    name = request.module.__name__.rpartition(".")[2]
    with new_load(site.kept_authority(name), pace=PACE) as load:
        site.load = load
        _loads.append((str(request.module.__doc__).splitlines()[0], load))
        yield load
    site.load = None
