"""What the proxy's site needs to know about the other sites on a host."""

from __future__ import annotations

import re
from collections.abc import Iterable

from wharfinger.deployment.facts import Site

# The port at the end of an address; `listen ADDRESS` without one means 80 (ngx_http_core_module).
_PORT = re.compile(r"(?:^|:)(\d+)$")


def owned_ports(servers: Iterable[Site], ports: Iterable[int]) -> list[int]:
    """The ports on which no other site listens: there our site may answer unknown names.

    On a shared port, the other sites go on answering unknown names.
    """
    taken = {_port(listen) for server in servers if not server.ours for listen in server.listen}
    return [port for port in ports if port not in taken]


def served_name(servers: Iterable[Site]) -> str:
    """The registry's name in our own site, as the last deployment wrote it; "" without a site.

    A name that is too long for nginx's hash is written there as a pattern.
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
