"""The host's container engine, and whether the toolkit can work with it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket as connection
from collections.abc import Mapping
from itertools import compress
from operator import not_
from pathlib import Path
from typing import Any

from ...deployment.facts import Container
from ..system import processes
from ..system.bridge import is_closed
from ..system.context import Host
from ..system.engine import DockerEngine, subnets
from ..system.errors import HostError
from ..system.packages import clashing, installed
from ..system.service import units
from ..system.state import KINDS
from ..system.storage_facts import nearest
from . import engine_settings
from .engine_settings import value_of
from .engine_state import (
    ABSENT,
    CLIENT_ONLY,
    ELSEWHERE,
    MASKED,
    MISCONFIGURED,
    PARTS,
    PODMAN,
    ROOTLESS,
    RUNNING,
    SILENT,
    SNAP,
    STOPPED,
    USERNS,
    EngineState,
)

# Docker's default directory.
_USUAL_ROOT = Path("/var/lib/docker")
# Seconds that docker may take for one answer before it counts as not running; more if there is a
# dockerd, which may need long on a busy host with thousands of images.
_PATIENCE = 5.0
_PATIENCE_WITH_RUNNING = 30.0
# Seconds that dockerd may take to answer after its start.
_STARTING = 60.0
_EXCLUDING = ("containerd.io", "podman-docker")
_UNITS = ("docker.service", "docker.socket", "containerd.service")


def look(host: Host, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """engine (`state`: one of engine_state.py; `detail`: for its message; `warning`: why a running
    engine would not start again), network (`wanted["name"]`), networks, containers (ours),
    foreign_containers (somebody else's with names like ours) and images (id → names).
    """
    answer: dict[str, Any] = {
        "engine": {
            "state": ABSENT.name,
            "detail": None,
            "present": False,
            "running": False,
            "warning": None,
            "version": None,
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
    client = host.runner.which("docker")
    foreign, why = client_state(client, _head(client)), None
    if foreign is PODMAN:
        why = (
            f"the docker command ({client}) is podman's, which is not Docker Engine: remove "
            "podman-docker, or that file where no package has it"
        )
    elif foreign is None and _leads_to_podman(host.paths.docker_socket):
        foreign, why = PODMAN, _podmans_socket(host.paths.docker_socket)
    docker = DockerEngine(host.paths.docker_socket)
    try:
        info, networks, containers, images = _reports(host, docker)
    except HostError:
        state, detail = (foreign, why) if foreign else unanswered(host, client)
        answer["engine"] |= _engine(state, detail)
        return answer
    if foreign is None:
        answer["engine"] |= facts(info, host.paths.docker_socket)
        answer["engine"]["warning"] = _Service(host).warning()
    else:
        answer["engine"] |= _engine(foreign, why)
    answer["networks"] = [
        {"name": network["Name"], "subnets": subnets(network)} for network in networks
    ]
    name = str(wanted.get("name") or host.stack)
    answer["network"] = ours(networks, name, host.labels)
    if answer["network"] is not None:
        answer["network"]["closed"] = is_closed(host, name)
    own = [
        host.labels.items() <= (container.get("Labels") or {}).items() for container in containers
    ]
    answer["containers"] = [listed(container) for container in compress(containers, own)]
    answer["foreign_containers"] = [
        name
        for container in compress(containers, map(not_, own))
        for name in (text.lstrip("/") for text in container["Names"])
        if name.startswith(tuple(f"{host.stack}-{kind}-" for kind in KINDS))
    ]
    answer["images"] = {image["Id"]: image.get("RepoTags") or [] for image in images}
    return answer


def _reports(host: Host, docker: DockerEngine) -> tuple[Any, Any, Any, Any]:
    """Docker's info, networks, containers and images. Raises HostError if it does not answer."""

    def within(patience: float) -> tuple[Any, Any, Any, Any]:
        return (
            docker.get("/info", timeout=patience),
            docker.get("/networks", timeout=patience),
            docker.listed_containers({}, timeout=patience),
            docker.get("/images/json", timeout=patience),
        )

    try:
        return within(_PATIENCE)
    except HostError:
        if _process(host.paths.proc) is None:
            raise
        return within(_PATIENCE_WITH_RUNNING)


def _head(program: str | None) -> str:
    if program is None:
        return ""
    try:
        with Path(program).open("rb") as stream:
            return stream.read(4096).decode("latin-1")
    except OSError:
        return ""


def client_state(client: str | None, head: str) -> EngineState | None:
    """SNAP or PODMAN if the docker command belongs to it. head: the beginning of its file."""
    if client is None:
        return None
    target = str(Path(client).resolve())
    if target.startswith("/snap/") or target.endswith("/bin/snap"):
        return SNAP
    if "podman" in Path(target).name or (head.startswith("#!") and "podman" in head):
        return PODMAN
    return None


def _leads_to_podman(socket: Path) -> bool:
    """Whether docker's socket is a link to podman's, as podman-docker makes it, and podman listens.
    The link stays until the next boot, even if that package is removed."""
    target = socket.resolve()
    if target.name != "podman.sock":
        return False
    with contextlib.closing(connection.socket(connection.AF_UNIX)) as client:
        client.settimeout(_PATIENCE)
        try:
            client.connect(str(target))
        except OSError:
            return False
    return True


def _podmans_socket(socket: Path) -> str:
    return (
        f"podman answers at {socket}, where Docker Engine is needed: stop that "
        f"(`rm {socket}` where it is a link)"
    )


def facts(info: Mapping[str, Any], socket: Path) -> dict[str, Any]:
    """The engine's facts, from the answer to GET /info at docker's socket."""
    options = " ".join(info.get("SecurityOptions") or ())
    root = str(info.get("DockerRootDir") or "")
    state, detail = RUNNING, None
    if "name=rootless" in options:
        state = ROOTLESS
    elif "name=userns" in options:
        state = USERNS
    elif root.startswith("/var/snap/"):
        state = SNAP
    elif "BuildahVersion" in info:
        # A key that only podman's answer has (4.3 and 5.4).
        state, detail = PODMAN, _podmans_socket(socket)
    status = json.dumps(info.get("DriverStatus") or [])
    return {
        **_engine(state, detail),
        "running": True,
        "version": info.get("ServerVersion"),
        "root": root,
        "free_bytes": free_bytes(Path(root)) if root else None,
        "images_store": "containerd" if "io.containerd.snapshotter" in status else "classic",
    }


def _engine(state: EngineState, detail: str | None) -> dict[str, Any]:
    return {"state": state.name, "detail": detail, "present": state.deployment != "installs"}


class _Service:
    """How this host starts dockerd, and what prevents it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.units = units(host.paths, host.runner, _UNITS)
        self.flags = engine_settings.flags(self.units.get(_UNITS[0]), host.paths)

    def is_there(self) -> bool:
        """Whether dockerd can be started as a service; without systemd the host program starts
        it."""
        return not self.units or self.units[_UNITS[0]].get("LoadState") == "loaded"

    def masked(self) -> str:
        """The masked units that dockerd needs, "" for none. It does not need the socket if its unit
        neither requires it nor listens by it, and not containerd if dockerd starts its own."""
        service, socket, containerd = _UNITS
        required = self.units.get(service, {}).get("Requires", "").split()
        needed = {
            service: True,
            socket: socket in required or "fd://" in value_of(self.flags, "H", "host"),
            containerd: bool(value_of(self.flags, "containerd")),
        }
        return " ".join(
            name
            for name in _UNITS
            if needed[name] and self.units.get(name, {}).get("LoadState") == "masked"
        )

    def misconfigured(self) -> str | None:
        return engine_settings.problem(self.flags, self.host.paths)

    def warning(self) -> str | None:
        """Why a running dockerd would not start again."""
        masked = self.masked()
        if masked:
            return f"it is masked in systemd: run `systemctl unmask {masked}`"
        return self.misconfigured()

    def elsewhere(self, process: int) -> str | None:
        """A sentence about where this dockerd listens; None if it listens at docker's socket."""
        paths = self.host.paths
        options = processes.words(paths.proc, process)[1:]
        file = engine_settings.settings_file(options, paths)
        written = list(map(str, engine_settings.read(file)[0].get("hosts") or ()))
        where = [*value_of(options, "H", "host"), *written]
        usual = f"unix://{paths.docker_socket}"
        if not where or {usual, "unix:///run/docker.sock", "unix://"} & set(where):
            return None
        if "fd://" in where:
            listen = self.units.get(_UNITS[1], {}).get("Listen", "")
            if not listen or re.search(r"/run/docker\.sock \(", listen):
                return None
            where, place = [listen], "`systemctl cat docker.socket`"
            cure = "write ListenStream=/run/docker.sock there"
        elif written:
            place, cure = str(file), f'add "{usual}" to hosts there'
        else:
            place, cure = "its flag -H", f"add -H {usual}"
        restart = "systemctl restart" if self.units else "service"
        return (
            f"Docker runs (process {process}), but not at {paths.docker_socket}, where it is "
            f"needed: it listens at {', '.join(where)}, by {place}: {cure}, and run "
            f"`{restart} docker{'' if self.units else ' restart'}`"
        )


def unanswered(host: Host, client: str | None) -> tuple[EngineState, str | None]:
    """(state, detail) of an engine that does not answer at docker's socket."""
    service = _Service(host)
    process = _process(host.paths.proc)
    if process is not None:
        where = service.elsewhere(process)
        if where is not None:
            return ELSEWHERE, where
        if processes.age(host.paths.proc, process) > _STARTING:
            return SILENT, f"process {process}"
    masked = service.masked()
    if masked:
        return MASKED, masked
    daemon = host.runner.which("dockerd")
    why = service.misconfigured()
    if why is None and daemon is not None:
        why = engine_settings.refused(service.flags, host.paths, host.runner)
    if why is None:
        why = engine_settings.refused_by_containerd(service.flags, host.runner)
    if why is not None:
        return MISCONFIGURED, why
    if daemon is not None and (process is not None or service.is_there()):
        return STOPPED, None
    parts = set() if daemon else _parts(host)
    if "podman-docker" in parts:
        return PODMAN, "podman-docker is there, and docker.io would replace it: remove it"
    if parts:
        return PARTS, " and ".join(sorted(parts))
    return (CLIENT_ONLY if client or daemon else ABSENT), None


def _parts(host: Host) -> set[str]:
    """The packages that docker.io would replace. Those that are known to conflict are included even
    if apt cannot tell yet."""
    packages = clashing(host, ["docker.io"])
    if host.runner.which("dpkg-query"):
        packages |= set(installed(host, _EXCLUDING))
    return packages


def _process(proc: Path) -> int | None:
    """The dockerd that runs as root on the host itself: not a user's, and not in a container."""
    for pid in sorted(processes.process_ids(proc)):
        if processes.program(proc, pid) == "dockerd" and processes.is_the_hosts(proc, pid):
            return pid
    return None


def free_bytes(root: Path) -> int:
    """The free space of docker's directory, or of its nearest parent."""
    sizes = os.statvfs(nearest(root))
    return sizes.f_bavail * sizes.f_frsize


def ours(
    networks: list[Mapping[str, Any]], name: str, labels: Mapping[str, str]
) -> dict[str, Any] | None:
    """The network `name`, and whether it has our labels."""
    for network in networks:
        if network["Name"] == name:
            return {
                "name": name,
                "subnet": next(iter(subnets(network)), None),
                "internal": bool(network.get("Internal")),
                "ours": labels.items() <= (network.get("Labels") or {}).items(),
            }
    return None


def listed(raw: Mapping[str, Any]) -> Container:
    """A container of GET /containers/json, where only the status text has its health."""
    labels = raw.get("Labels") or {}
    status = raw.get("Status", "")
    health = next((word for word in ("unhealthy", "healthy", "starting") if word in status), "none")
    number = labels.get("wharfinger.generation", "")
    return Container(
        name=raw["Names"][0].lstrip("/"),
        kind=labels.get("wharfinger.kind"),
        generation=int(number) if number.isdecimal() else None,
        spec=labels.get("wharfinger.spec"),
        running=raw.get("State") == "running",
        health=health,
        image=raw.get("ImageID"),
    )
