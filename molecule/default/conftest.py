"""Every test runs against each of the scenario's registries."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from support import hosts
from support.each_registry import containers, machine, name
from support.images import Pushed, push_everywhere
from support.registry import Account, Registry

__all__ = ["containers", "machine", "name"]


@pytest.fixture(scope="session")
def client() -> Host:
    """A machine that uses the registries, with a real Docker."""
    return hosts.host("client")


@pytest.fixture(scope="session")
def registry(name: str) -> Registry:
    """The registry under test, for raw requests."""
    return hosts.registry(name)


@pytest.fixture(scope="session")
def admin() -> Account:
    """An account that may do everything."""
    return hosts.account("admin")


@pytest.fixture(scope="session")
def someuser() -> Account:
    """An account that may do everything below someuser/ and push to its group's repositories."""
    return hosts.account("someuser")


@pytest.fixture(scope="session")
def images(registry: Registry, admin: Account) -> dict[str, Pushed]:
    """One image in each repository: repository → image."""
    return push_everywhere(registry, admin)
