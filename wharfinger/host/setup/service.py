"""`service`: docker or nginx runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..system.context import Host
from ..system.engine import answers
from ..system.errors import HostError
from ..system.service import start_service


def service(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`service`: it is started if it does not run.

    Request: {"name": "docker" | "nginx", "state": "started"}.
    """
    name = request.get("name")
    if name not in ("docker", "nginx"):
        raise HostError(f"service: unknown name {name!r}: write docker or nginx")
    socket = host.paths.docker_socket
    running = host.nginx.running if name == "nginx" else lambda: answers(socket)
    return {"actions": start_service(name, host.paths, host.runner, running, check=check)}
