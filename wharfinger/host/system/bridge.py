"""The bridge of the stack's own network, which the kernel closes towards all other networks."""

from __future__ import annotations

from pathlib import Path

from .context import Host
from .files import read_text


def bridge(name: str) -> str:
    """The bridge's name. Firewall rules can rely on it. The kernel allows 15 characters."""
    return f"{name[:14]}0"


def is_closed(host: Host, name: str) -> bool:
    """Whether the kernel forwards no packet from the network's bridge to another interface."""
    return (read_text(_forwarding(host, name)) or "0").strip() == "0"


def closed(host: Host, name: str, check: bool) -> list[str]:
    """Closes the network, and returns what was done.

    Docker closes an internal network by firewall rules only. Before release 23 its containers also
    have a default route. If `nft flush ruleset` or another program removes the rules, a machine
    that adds a route reaches the containers. This switch of the kernel needs no rules. It
    disappears with the bridge, so nginx's unit and the timer set it too.
    """
    if is_closed(host, name):
        return []
    if not check:
        try:
            _forwarding(host, name).write_text("0\n")
        except OSError:
            return []  # the host is a container with another's kernel: docker's rules remain
    return [f"docker network {name}: closed towards other networks, whatever the firewall says"]


def _forwarding(host: Host, name: str) -> Path:
    return host.paths.interfaces / bridge(name) / "forwarding"
