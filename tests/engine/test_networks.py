"""Other networks on this machine and other runs of the tests do not get in the tests' way."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network

import pytest

from support import networks

from .stack import Stack


@contextmanager
def network(name: str, subnet: str) -> Iterator[None]:
    """Another network has this subnet meanwhile."""
    command = ["docker", "network", "create", "--subnet", subnet, name]
    made = subprocess.run(command, capture_output=True, text=True)
    # If Docker refuses it, another network already has the subnet.
    assert made.returncode == 0 or "overlap" in made.stderr, made.stderr
    try:
        yield
    finally:
        subprocess.run(["docker", "network", "rm", name], capture_output=True)


@pytest.fixture
def neighbour() -> Iterator[None]:
    """The subnet that these tests once always used belongs to another network."""
    with network("wharfinger-test-neighbour", "10.98.0.0/28"):
        yield


def test_a_neighbour_is_not_in_the_way(neighbour: None, deployed: Stack) -> None:
    assert deployed.verify()["changed"] is False


def test_each_network_of_test_hosts_has_a_subnet_of_its_own() -> None:
    within = IPv4Network("10.97.200.0/23")
    first, second = "wharfinger-test-first", "wharfinger-test-second"
    with network("wharfinger-test-neighbour", "10.97.200.0/28"):
        try:
            assert networks.create(first, within=within) == "10.97.201.0/24"
            # A second call finds the existing network.
            assert networks.create(first, within=within) == "10.97.201.0/24"
            with pytest.raises(SystemExit, match=r"^10\.97\.200\.0/23 has no free /24: "):
                networks.create(second, within=within)
        finally:
            subprocess.run(["docker", "network", "rm", first], capture_output=True)
