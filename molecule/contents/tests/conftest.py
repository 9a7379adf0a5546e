"""One registry full of everything. The tests run as they are written: each changes it."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from filling import fill
from filling.site import Site
from support import hosts


@pytest.fixture(scope="session")
def site() -> Site:
    """The host under test, filled."""
    found = Site()
    found.content = fill(found.session)
    return found


@pytest.fixture(scope="session")
def client() -> Host:
    """The machine of somebody who uses the registry, with a real Docker."""
    return hosts.host("client")
