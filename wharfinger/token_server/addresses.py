"""Addresses and networks of clients."""

from __future__ import annotations

import functools
import ipaddress
import re

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NETWORK = re.compile(r"[0-9A-Fa-f.:]+/[0-9]{1,3}")


def address(text: str) -> Address:
    """The address in a text. An IPv4 address may be written as an IPv6 one (::ffff:10.0.0.1).

    Raises ValueError, also for a zone ('%eth0'), which docker_auth does not accept either.
    """
    if "%" in text:
        raise ValueError(text)
    read = ipaddress.ip_address(text)
    if isinstance(read, ipaddress.IPv6Address) and read.ipv4_mapped is not None:
        return read.ipv4_mapped
    return read


def network(text: str) -> Network:
    """The network in a text; an address is a network of its own. Raises ValueError."""
    if "/" not in text:
        return ipaddress.ip_network(address(text))
    if not _NETWORK.fullmatch(text):
        raise ValueError(text)
    read = ipaddress.ip_network(text, strict=False)
    if isinstance(read, ipaddress.IPv6Network) and read.prefixlen >= 96:
        inner = read.network_address.ipv4_mapped
        if inner is not None:
            # `address` makes clients from such a network IPv4 clients, as docker_auth does.
            return ipaddress.ip_network((inner, read.prefixlen - 96))
    return read


@functools.lru_cache(maxsize=4096)
def neighbourhood(ip: Address) -> str:
    """What counts as one address: for IPv6 the /64, because each customer has at least that."""
    if ip.version == 6:
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
