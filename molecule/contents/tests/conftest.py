"""One registry full of everything. Each test changes it, so they run in the order of the files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from testinfra.host import Host

from filling import Amount, fill
from filling.site import Site
from support import hosts, renewals
from support.amount import FULL

MIB = 1024 * 1024


@pytest.fixture(scope="session")
def amount() -> Amount:
    """How much the registry holds. Every walk through the storage takes time for each tag."""
    return Amount() if FULL else Amount(repositories=20, large=64 * MIB)


@pytest.fixture(scope="session")
def site(amount: Amount) -> Site:
    """The host under test, filled."""
    full = Site()
    full.content = fill(full.session, amount)
    return full


@pytest.fixture(scope="session")
def client() -> Host:
    """A machine that uses the registry, with a real Docker."""
    return hosts.host("client")


@pytest.fixture(scope="module")
def no_renewals(site: Site) -> Iterator[None]:
    """The timer begins no renewal during these tests."""
    with renewals.held(site.machine):
        yield
