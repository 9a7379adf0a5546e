"""Every test runs against each of the scenario's registries."""

from __future__ import annotations

import json
from typing import Any

import pytest
from testinfra.host import Host

from support import hosts


@pytest.fixture(scope="session", params=hosts.group("registry"))
def name(request: pytest.FixtureRequest) -> str:
    """The inventory's name of the host under test."""
    return str(request.param)


@pytest.fixture(scope="session")
def machine(name: str) -> Host:
    """The host under test, by SSH and sudo."""
    return hosts.host(name)


@pytest.fixture(scope="session")
def address(name: str) -> str:
    """The address by which others reach the host under test."""
    return str(hosts.variables(name)["ansible_host"])


@pytest.fixture(scope="session")
def neighbour() -> Host:
    """Another machine on the same network, whose owner means harm."""
    return hosts.host("neighbour")


@pytest.fixture(scope="session")
def containers(machine: Host) -> dict[str, dict[str, Any]]:
    """What Docker says of the toolkit's running containers, by kind."""
    listed = machine.check_output("docker ps --quiet --filter label=wharfinger.kind").split()
    assert len(listed) == 2
    inspected = json.loads(machine.check_output(f"docker inspect {' '.join(listed)}"))
    return {item["Config"]["Labels"]["wharfinger.kind"]: item for item in inspected}
