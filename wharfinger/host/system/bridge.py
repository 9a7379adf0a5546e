"""The bridge of the stack's own network: closed towards every other, by the kernel itself."""

from __future__ import annotations

from pathlib import Path

from .context import Host
from .files import read_text


def bridge(name: str) -> str:
    """The bridge's name, on which firewall rules can rely; the kernel allows 15 characters."""
    return f"{name[:14]}0"


def is_closed(host: Host, name: str) -> bool:
    """Whether no packet that comes from the network's bridge is passed on to another interface."""
    return (read_text(_forwarding(host, name)) or "0").strip() == "0"


def closed(host: Host, name: str, check: bool) -> list[str]:
    """Makes it so, and returns what was done.

    Docker closes an internal network by firewall rules alone, and before release 23 its containers
    have a way out besides: where `nft flush ruleset` or another program has taken the rules away,
    whoever adds a route reaches them. This switch of the kernel needs no rules. It goes with the
    bridge, so nginx's unit and the timer set it too.
    """
    if is_closed(host, name):
        return []
    if not check:
        try:
            _forwarding(host, name).write_text("0\n")
        except OSError:
            return []  # a host in a container, whose kernel is not its own: docker's rules remain
    return [f"docker network {name}: closed towards other networks, whatever the firewall says"]


def _forwarding(host: Host, name: str) -> Path:
    return host.paths.interfaces / bridge(name) / "forwarding"
