"""Docker Engine, and a subnet for the stack's own network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network, ip_network
from typing import Any

from wharfinger.deployment.facts import HostFacts
from wharfinger.deployment.problems import Report
from wharfinger.host.observation.engine_state import STATES

from .settings import PRIVATE

ENGINE = (20, 10)
NETWORK = "wharfinger"


def check_engine(host: HostFacts, report: Report) -> None:
    """Reports an engine that cannot be used, and other containers with the names of ours."""
    engine = host.engine
    state = STATES.get(engine.state)
    if state and state.message:
        report.error("host, engine", state.message.format(detail=engine.detail))
    elif engine.version and version(engine.version) < ENGINE:
        report.error(
            "host, engine",
            f"Docker {engine.version} is too old: install 20.10 or newer",
        )
    elif engine.warning:
        report.warning(
            "host, engine", f"Docker runs, but it would not start again: {engine.warning}"
        )
    for name in host.foreign_containers:
        report.error(
            "host, engine",
            f"the container {name} is not Wharfinger's, but has a name of its containers: "
            f"rename it (docker rename {name} …) or remove it",
        )


def check_network(good: Mapping[str, Any], host: HostFacts, report: Report) -> None:
    """Reports a subnet that is taken, or that is not the one in use."""
    # If docker is stopped, its networks cannot be seen, but their routes may still be there.
    present = host.network or host.state.network
    if present and present.ours is False:
        report.error(
            "host, engine",
            f"the docker network {NETWORK} is not Wharfinger's: "
            f"remove it (docker network rm {NETWORK}), or rename it",
        )
        present = None
    text = good.get("container_engine_network")
    if text is None:
        return
    if present and present.subnet == text:
        return
    if present and (host.serves or host.containers):
        report.error(
            "container_engine_network",
            f"{text} is not the subnet that the host's containers are in, {present.subnet}: "
            f"write {present.subnet}, or run playbooks/remove.yml first (data and keys stay)",
        )
        return
    # Our own network is made again if it has no containers, so its addresses are free.
    own = IPv4Network(present.subnet) if present and present.subnet else None
    subnet = IPv4Network(text)
    used = [
        (what, where) for what, where in _in_use(host) if own is None or not where.subnet_of(own)
    ]
    overlapping = [(what, where) for what, where in used if where.overlaps(subnet)]
    if overlapping:
        free = _free_subnet([where for _, where in used])
        what, where = overlapping[0]
        report.error(
            "container_engine_network",
            f"{text} overlaps {what} ({where}): write a subnet that is free"
            + (f", like {free}" if free else ""),
        )


def _in_use(host: HostFacts) -> Iterator[tuple[str, IPv4Network]]:
    """Docker's networks first, since they explain most; then routes and addresses."""
    for network in host.networks:
        for text in network.subnets:
            yield from _ipv4(f"the docker network {network.name}", text)
    for route in host.routes:
        yield from _ipv4(f"a route of the host through {route.device}", route.destination)
    for address in host.addresses or ():
        yield from _ipv4("an address of the host", address)


def _ipv4(what: str, text: str) -> Iterator[tuple[str, IPv4Network]]:
    if text == "default":
        return
    network = ip_network(text, strict=False)
    # Shorter prefixes are default routes in disguise, as VPNs set them (0.0.0.0/1).
    if isinstance(network, IPv4Network) and network.prefixlen >= 8:
        yield what, network


def _free_subnet(used: Sequence[IPv4Network]) -> IPv4Network | None:
    """The last /28 of the first unused private /16; None if there is none."""
    for private in PRIVATE[1], PRIVATE[0], PRIVATE[2]:
        for block in reversed(list(private.subnets(new_prefix=16))):
            if not any(block.overlaps(subnet) for subnet in used):
                return IPv4Network((int(block.broadcast_address) - 15, 28))
    return None


def version(text: str) -> tuple[int, ...]:
    """The first two numbers of a version, to compare them."""
    return tuple(int(number) for number in re.findall(r"[0-9]+", text)[:2])
