"""`network`: the stack's own docker network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..system.bridge import bridge, closed
from ..system.context import Host
from ..system.engine import subnets
from ..system.errors import HostError
from ..system.names import gateway, network_of


def network(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Request: {"name", "subnet", "internal": true}. Recreates our network if it differs and no
    container is on it."""
    name, subnet = str(request["name"]), str(network_of(str(request["subnet"])))
    internal = bool(request.get("internal", True))
    state = host.store.load()
    actions: list[str] = []
    present = host.engine.network(name)
    if present is not None:
        if not host.labels.items() <= (present.get("Labels") or {}).items():
            raise HostError(
                f"the docker network {name} already exists and was not made by this toolkit: "
                f"rename it, or remove it with `docker network rm {name}`"
            )
        actual = (next(iter(subnets(present)), None), bool(present.get("Internal")))
        if actual != (subnet, internal):
            if present.get("Containers"):
                raise HostError(
                    f"container_engine_network: the docker network {name} has the subnet "
                    f"{actual[0]} and containers on it, so it cannot become {subnet}: write "
                    f"{actual[0]} again, or run playbooks/remove.yml (data and keys stay) and "
                    "deploy again"
                )
            actions.append(f"docker network {name}: removed, because its subnet is {actual[0]}")
            if not check:
                host.engine.remove_network(name)
            present = None
    if present is None:
        actions.append(f"docker network {name}: made with the subnet {subnet}")
        if not check:
            host.engine.create_network(definition(host, name, subnet, internal))
    if internal:
        actions += closed(host, name, check)
    record = {"name": name, "subnet": subnet, "internal": internal}
    if state.network != record and not check:
        state.network = record
        host.store.save(state)
    return {"actions": actions, "network": record}


def definition(host: Host, name: str, subnet: str, internal: bool) -> dict[str, Any]:
    """The body of docker's POST /networks/create."""
    return {
        "Name": name,
        "Driver": "bridge",
        "CheckDuplicate": True,
        "Internal": internal,
        "IPAM": {"Config": [{"Subnet": subnet, "Gateway": gateway(subnet)}]},
        "Options": {"com.docker.network.bridge.name": bridge(name)},
        "Labels": host.labels,
    }
