"""Fixtures of scenarios whose tests run against each of their registries. A scenario's conftest.py
imports them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from testinfra.host import Host

from support import hosts

# Docker makes its first health check one interval (30 s) after the start.
HEALTHY_WITHIN = 180


@pytest.fixture(scope="session", params=hosts.group("registry"))
def name(request: pytest.FixtureRequest) -> str:
    """The inventory's name of the host under test."""
    return str(request.param)


@pytest.fixture(scope="session")
def machine(name: str) -> Host:
    """The host under test, by SSH and sudo."""
    return hosts.host(name)


@pytest.fixture(scope="session")
def containers(machine: Host) -> dict[str, dict[str, Any]]:
    """What Docker says about the toolkit's containers, by kind, once all of them are healthy."""
    deadline = time.monotonic() + HEALTHY_WITHIN
    while True:
        listed = machine.check_output("docker ps --quiet --filter label=wharfinger.kind").split()
        assert len(listed) == 2
        inspected = json.loads(machine.check_output(f"docker inspect {' '.join(listed)}"))
        if all(item["State"]["Health"]["Status"] == "healthy" for item in inspected):
            return {item["Config"]["Labels"]["wharfinger.kind"]: item for item in inspected}
        assert time.monotonic() < deadline, [item["State"]["Health"] for item in inspected]
        time.sleep(1)
