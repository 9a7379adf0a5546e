"""Every test runs against each of the scenario's registries."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from support import hosts
from support.each_registry import containers, machine, name

__all__ = ["containers", "machine", "name"]


@pytest.fixture(scope="session")
def address(name: str) -> str:
    """The address at which others reach the host under test."""
    return str(hosts.variables(name)["ansible_host"])


@pytest.fixture(scope="session")
def neighbour() -> Host:
    """Another machine on the same network, with a hostile owner."""
    return hosts.host("neighbour")
