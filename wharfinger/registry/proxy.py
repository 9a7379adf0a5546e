"""What the proxy's site needs to know of the other sites on a host."""

from __future__ import annotations

import re
from collections.abc import Iterable

from wharfinger.deployment.facts import Site

# The port is what ends the address; `listen ADDRESS` without one means 80 (ngx_http_core_module).
_PORT = re.compile(r"(?:^|:)(\d+)$")


def owned_ports(servers: Iterable[Site], ports: Iterable[int]) -> list[int]:
    """Those of `ports` on which no other site listens, so that ours may answer unknown names there.

    On a shared port the other sites keep what they had: unknown names are theirs.
    """
    taken = {_port(listen) for server in servers if not server.ours for listen in server.listen}
    return [port for port in ports if port not in taken]


def served_name(servers: Iterable[Site]) -> str:
    """The registry's name in our own site, as the last deployment wrote it; "" without a site.

    A name too long for nginx's hash stands there as a pattern.
    """
    for server in servers:
        if server.ours and server.names:
            name = server.names[0]
            return re.sub(r"\\(.)", r"\1", name[2:-1]) if name.startswith("~^") else name
    return ""


def _port(listen: str) -> int | None:
    address = listen.split()[0]
    if address.startswith("unix:"):
        return None
    match = _PORT.search(address)
    return int(match[1]) if match else 80
