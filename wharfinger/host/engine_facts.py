"""What there is of a container engine, and whether it is one the toolkit can work with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from itertools import compress
from operator import not_
from pathlib import Path
from typing import Any

from .bridge import is_closed
from .context import Host
from .engine import DockerEngine
from .errors import HostError
from .files import exists
from .state import KINDS
from .storage_facts import nearest

# Where docker keeps everything, unless told otherwise.
_USUAL_ROOT = Path("/var/lib/docker")
# Seconds that docker may take for one answer before it counts as not running.
_PATIENCE = 5.0


def look(host: Host, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """engine, network (`wanted["name"]`), networks, containers (ours), foreign_containers (with
    names like ours, but somebody else's) and images (id → names)."""
    client = host.runner.which("docker")
    daemon = host.runner.which("dockerd")
    answer: dict[str, Any] = {
        "engine": {
            "present": bool(client or daemon),
            "running": False,
            "version": None,
            "problem": client_problem(client, _head(client)),
            "detail": None,
            "root": None,
            "images_store": None,
            "free_bytes": free_bytes(_USUAL_ROOT),
        },
        "network": None,
        "networks": [],
        "containers": [],
        "foreign_containers": [],
        "images": {},
    }
    docker = DockerEngine(host.paths.docker_socket)
    try:
        info = docker.get("/info", timeout=_PATIENCE)
        answer["engine"] |= facts(info) if answer["engine"]["problem"] is None else {}
        networks = docker.get("/networks", timeout=_PATIENCE)
        containers = docker.listed_containers({}, timeout=_PATIENCE)
        images = docker.get("/images/json", timeout=_PATIENCE)
    except HostError as problem:
        if answer["engine"]["present"]:
            answer["engine"]["detail"] = str(problem)
        return answer
    answer["engine"]["present"] = True
    answer["networks"] = [{"name": one["Name"], "subnets": subnets(one)} for one in networks]
    name = str(wanted.get("name") or host.stack)
    answer["network"] = ours(networks, name, host.labels)
    if answer["network"] is not None:
        answer["network"]["closed"] = is_closed(host, name)
    carried = [host.labels.items() <= (one.get("Labels") or {}).items() for one in containers]
    answer["containers"] = [listed(one) for one in compress(containers, carried)]
    answer["foreign_containers"] = [
        name
        for one in compress(containers, map(not_, carried))
        for name in (text.lstrip("/") for text in one["Names"])
        if name.startswith(tuple(f"{host.stack}-{kind}-" for kind in KINDS))
    ]
    answer["images"] = {one["Id"]: one.get("RepoTags") or [] for one in images}
    return answer


def _head(program: str | None) -> str:
    if program is None:
        return ""
    try:
        with Path(program).open("rb") as stream:
            return stream.read(4096).decode("latin-1")
    except OSError:
        return ""


def client_problem(client: str | None, head: str) -> str | None:
    """`snap` or `podman` where the docker command is one of theirs."""
    if client is None:
        return None
    target = str(Path(client).resolve())
    if target.startswith("/snap/") or target.endswith("/bin/snap"):
        return "snap"
    if "podman" in Path(target).name or (head.startswith("#!") and "podman" in head):
        return "podman"
    return None


def facts(info: Mapping[str, Any]) -> dict[str, Any]:
    """The engine's part of the answer, from what GET /info gave."""
    options = " ".join(info.get("SecurityOptions") or ())
    root = str(info.get("DockerRootDir") or "")
    problem = None
    detail = None
    if "name=rootless" in options:
        problem, detail = "rootless", "docker runs rootless on this host"
    elif "name=userns" in options:
        problem, detail = "userns-remap", "docker maps user ids (userns-remap in daemon.json)"
    elif root.startswith("/var/snap/"):
        problem, detail = "snap", f"docker is the snap package (its data is in {root})"
    elif "libpod" in info or str(info.get("ProductLicense", "")).startswith("podman"):
        problem, detail = "podman", "podman answers at docker's socket"
    status = json.dumps(info.get("DriverStatus") or [])
    return {
        "running": True,
        "version": info.get("ServerVersion"),
        "problem": problem,
        "detail": detail,
        "root": root,
        "free_bytes": free_bytes(Path(root)) if root else None,
        "images_store": "containerd" if "io.containerd.snapshotter" in status else "classic",
    }


def free_bytes(root: Path) -> int:
    """What docker's directory has left, or would have where it is not there yet."""
    sizes = os.statvfs(nearest(root))
    return sizes.f_bavail * sizes.f_frsize


def subnets(network: Mapping[str, Any]) -> list[str]:
    return [
        one["Subnet"] for one in (network.get("IPAM") or {}).get("Config") or () if "Subnet" in one
    ]


def ours(
    networks: list[Mapping[str, Any]], name: str, labels: Mapping[str, str]
) -> dict[str, Any] | None:
    """The network called `name`, and whether it carries our labels."""
    for one in networks:
        if one["Name"] == name:
            return {
                "name": name,
                "subnet": next(iter(subnets(one)), None),
                "internal": bool(one.get("Internal")),
                "ours": labels.items() <= (one.get("Labels") or {}).items(),
            }
    return None


def listed(raw: Mapping[str, Any]) -> dict[str, Any]:
    """One container from GET /containers/json, whose health is only in the status text."""
    labels = raw.get("Labels") or {}
    status = raw.get("Status", "")
    health = next((word for word in ("unhealthy", "healthy", "starting") if word in status), "none")
    number = labels.get("wharfinger.generation", "")
    return {
        "name": raw["Names"][0].lstrip("/"),
        "kind": labels.get("wharfinger.kind"),
        "generation": int(number) if number.isdecimal() else None,
        "spec": labels.get("wharfinger.spec"),
        "running": raw.get("State") == "running",
        "health": health,
        "image": raw.get("ImageID"),
    }


def answers(host: Host) -> bool:
    """Whether docker is there to be asked."""
    if not exists(host.paths.docker_socket):
        return False
    try:
        docker = DockerEngine(host.paths.docker_socket)
        status, _ = docker.request("GET", "/_ping", timeout=_PATIENCE)
    except HostError:
        return False
    return status == 200
