"""Names of docker's objects and addresses of the slots (pure)."""

from __future__ import annotations

import ipaddress

from .errors import HostError

REGISTRY = "registry"
TOKEN_SERVER = "token_server"

# Offsets from the subnet's first address; the gateway has offset 1.
_OFFSETS = {"registry": {"a": 2, "b": 3}, "token_server": {"a": 4, "b": 5}}


def slots(kind: str, subnet: str) -> dict[str, str]:
    """The fixed address of each slot of `kind` in `subnet`. Raises HostError for a bad subnet."""
    base = network_of(subnet).network_address
    return {slot: str(base + offset) for slot, offset in _OFFSETS[kind].items()}


def gateway(subnet: str) -> str:
    return str(network_of(subnet).network_address + 1)


def network_of(subnet: str) -> ipaddress.IPv4Network:
    """The subnet: IPv4, with at least 8 addresses. Raises HostError for another."""
    try:
        network = ipaddress.IPv4Network(subnet)
    except ValueError as problem:
        raise HostError(
            f"container_engine_network: {subnet!r} is not an IPv4 subnet ({problem}): write one "
            "like 172.31.255.240/28"
        ) from problem
    if network.num_addresses < 8:
        raise HostError(
            f"container_engine_network: {subnet} is too small for two slots of two containers: "
            "write at least a /29"
        )
    return network


def container(stack: str, kind: str, number: int) -> str:
    return f"{stack}-{kind}-{number}"
