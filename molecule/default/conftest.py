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
    """The machine of somebody who uses the registries, with a real Docker."""
    return hosts.host("client")


@pytest.fixture(scope="session")
def registry(name: str) -> Registry:
    """The registry under test, by raw requests."""
    return hosts.registry(name)


@pytest.fixture(scope="session")
def admin() -> Account:
    """Who may do everything."""
    return hosts.account("admin")


@pytest.fixture(scope="session")
def someuser() -> Account:
    """Who may do everything below someuser/, and push to the group's repositories."""
    return hosts.account("someuser")


@pytest.fixture(scope="session")
def images(registry: Registry, admin: Account) -> dict[str, Pushed]:
    """An image in each repository, by repository."""
    return push_everywhere(registry, admin)
