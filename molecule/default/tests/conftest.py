"""Every test runs against each of the scenario's registries."""

from __future__ import annotations

import json
from typing import Any

import pytest
from testinfra.host import Host

from support import hosts
from support.images import Pushed, push_everywhere
from support.registry import Account, Registry


@pytest.fixture(scope="session", params=hosts.group("registry"))
def name(request: pytest.FixtureRequest) -> str:
    """The inventory's name of the host under test."""
    return str(request.param)


@pytest.fixture(scope="session")
def machine(name: str) -> Host:
    """The host under test, by SSH and sudo."""
    return hosts.host(name)


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


@pytest.fixture(scope="session")
def containers(machine: Host) -> dict[str, dict[str, Any]]:
    """What Docker says of the toolkit's running containers, by kind."""
    listed = machine.check_output("docker ps --quiet --filter label=wharfinger.kind").split()
    assert len(listed) == 2
    inspected = json.loads(machine.check_output(f"docker inspect {' '.join(listed)}"))
    return {item["Config"]["Labels"]["wharfinger.kind"]: item for item in inspected}
