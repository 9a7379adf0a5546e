#!/usr/bin/env python3
"""Subnets and ports that nothing on this machine uses, and Docker networks in them.

`networks.py NAME` creates the network of that name for the test hosts, unless it exists, and prints
its subnet. It uses only the standard library: Molecule runs it as a program.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network
from pathlib import Path

# Test hosts get a /24 of these. If Docker chose, the Docker inside a host could choose the same
# subnet for its own bridge.
HOSTS = IPv4Network("10.99.0.0/16")
# Containers that a suite runs on this machine itself get a /28 of these.
CONTAINERS = IPv4Network("10.98.0.0/16")
ROUTES = Path("/proc/net/route")
CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
# Identifies this clone of the project: clones that run at the same time use different names.
CLONE = hashlib.sha1(
    str(Path(__file__).resolve().parents[3]).encode(), usedforsecurity=False
).hexdigest()[:6]


def routed(table: str) -> list[IPv4Network]:
    """The networks that a routing table (in the form of /proc/net/route) leads to, without the
    default route."""
    subnets = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        address, mask = (socket.ntohl(int(fields[column], 16)) for column in (1, 7))
        if mask:
            subnets.append(IPv4Network((address, mask.bit_count())))
    return subnets


def taken() -> list[IPv4Network]:
    """The networks that this machine has a route to, including Docker's without containers."""
    return routed(ROUTES.read_text())


def free(within: IPv4Network, prefix: int, used: Iterable[IPv4Network]) -> Iterator[IPv4Network]:
    """The subnets of this size that overlap nothing in `used`, in random order, so that two runs
    that start at the same time rarely choose the same."""
    used = list(used)
    candidates = list(within.subnets(new_prefix=prefix))
    random.shuffle(candidates)
    return (subnet for subnet in candidates if not any(subnet.overlaps(other) for other in used))


def for_containers() -> str:
    """A free subnet for a network that the toolkit itself creates on this machine."""
    return str(next(free(CONTAINERS, 28, taken())))


def free_ports(number: int) -> list[int]:
    """This many unused ports of 127.0.0.1. None of them is in the range that the kernel gives to
    clients: otherwise somebody's connection could take one before the test's server listens."""
    first_for_clients = int(CLIENTS.read_text().split()[0])
    ports: set[int] = set()
    while len(ports) < number:
        port = random.randrange(10_000, first_for_clients)
        with socket.socket() as server, contextlib.suppress(OSError):
            server.bind(("127.0.0.1", port))
            ports.add(port)
    return list(ports)


def docker(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", "network", *words], capture_output=True, text=True)


def create(name: str, *options: str, within: IPv4Network = HOSTS, prefix: int = 24) -> str:
    """Creates the network with these options of Docker's, unless it exists; returns its subnet.
    Another run may take a subnet in between: Docker then refuses it, and the next one is tried."""
    present = docker("inspect", name)
    if present.returncode == 0:
        return str(json.loads(present.stdout)[0]["IPAM"]["Config"][0]["Subnet"])
    for subnet in free(within, prefix, taken()):
        created = docker("create", *options, "--subnet", str(subnet), name)
        if created.returncode == 0:
            return str(subnet)
        if "overlap" not in created.stderr:
            raise SystemExit(created.stderr.strip())
    raise SystemExit(f"{within} has no free /{prefix}: remove networks (docker network ls)")


if __name__ == "__main__":
    print(create(sys.argv[1]))
