"""Docker Engine, by its socket (Docker Engine API 1.41 and later).

The command line is not used: it cannot express a health check without a shell, and a process takes
50 ms where a request takes one.
"""

from __future__ import annotations

import http.client
import json
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import quote, urlencode

from .errors import HostError
from .files import exists

# Seconds that docker may take to answer a ping.
_PATIENCE = 5.0


@dataclass(frozen=True)
class Container:
    """The properties of a container that decisions need."""

    id: str
    name: str
    image: str
    labels: Mapping[str, str]
    status: str  # created | running | restarting | exited | dead | paused | removing
    health: str  # healthy | unhealthy | starting | none
    address: str | None
    exit_code: int
    out_of_memory: bool
    restarts: int
    error: str

    @property
    def running(self) -> bool:
        return self.status == "running"

    @property
    def paused(self) -> bool:
        return self.status == "paused"

    @property
    def alive(self) -> bool:
        """Whether it has a process, paused or not."""
        return self.running or self.paused


class Engine(Protocol):
    """What the steps need from a container engine; tests pass in another."""

    def containers(self, labels: Mapping[str, str]) -> list[Container]: ...

    def inspect(self, name: str) -> Container | None: ...

    def create(self, name: str, definition: Mapping[str, Any]) -> None: ...

    def start(self, name: str) -> None: ...

    def stop(self, name: str, timeout: int) -> None: ...

    def pause(self, name: str) -> None: ...

    def unpause(self, name: str) -> None: ...

    def remove(self, name: str) -> None: ...

    def execute(self, name: str, command: Sequence[str], timeout: float) -> tuple[int, str]: ...

    def logs(self, name: str, lines: int) -> str: ...

    def network(self, name: str) -> dict[str, Any] | None: ...

    def create_network(self, definition: Mapping[str, Any]) -> None: ...

    def remove_network(self, name: str) -> None: ...

    def others(self, labels: Mapping[str, str], images: set[str]) -> list[str]:
        """What docker has besides the containers with `labels` and the `images` (names or ids)."""

    def sharing(self, labels: Mapping[str, str], folder: Path) -> list[str]:
        """The names of running containers without `labels` that may write into `folder` or below.
        A container that mounts a parent of it (for backups or monitoring) does not count."""

    def image(self, reference: str) -> dict[str, Any] | None: ...

    def used_images(self) -> set[str]:
        """The ids of the images of all containers, including stopped and foreign ones."""

    def load(self, archive: Path) -> str: ...

    def tag(self, image: str, reference: str) -> None: ...

    def remove_image(self, reference: str) -> bool: ...


class UnixConnection(http.client.HTTPConnection):
    """HTTP by a socket in the file system."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class DockerEngine:
    """The Docker Engine of this host."""

    def __init__(self, path: Path) -> None:
        self._path = path

    # -- transport ---------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | IO[bytes] | None = None,
        *,
        timeout: float = 60,
        length: int | None = None,
    ) -> tuple[int, bytes]:
        """One request; returns status and body. Raises HostError if docker does not answer."""
        connection = UnixConnection(self._path, timeout)
        headers = {"Connection": "close"}
        payload: bytes | IO[bytes] | None = None
        if isinstance(body, Mapping):
            payload = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        elif body is not None:
            payload = body
            headers |= {"Content-Type": "application/x-tar", "Content-Length": str(length)}
        elif method == "POST":
            headers["Content-Length"] = "0"
        try:
            connection.request(method, path, body=payload, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()
        except PermissionError as problem:
            raise HostError(
                f"docker's socket {self._path} may not be opened: run wharfinger-host as root"
            ) from problem
        except TimeoutError as problem:
            raise HostError(
                f"docker did not answer within {timeout:g} s ({method} {path.split('?')[0]}): look "
                "at its log (journalctl -u docker, or /var/log/docker.log)"
            ) from problem
        except (OSError, http.client.HTTPException) as problem:
            raise HostError(
                f"docker does not answer at {self._path} ({problem}): start it with "
                "`service docker start` and look at its log"
            ) from problem
        finally:
            connection.close()

    def get(self, path: str, *, timeout: float = 60) -> Any:
        """The JSON of a GET, None for 404."""
        status, data = self.request("GET", path, timeout=timeout)
        if status == 404:
            return None
        _expect(status, data, f"GET {path.split('?')[0]}")
        return json.loads(data)

    # -- containers --------------------------------------------------------------------------------

    def listed_containers(
        self, labels: Mapping[str, str], *, timeout: float = 60
    ) -> list[dict[str, Any]]:
        """Docker's own list of the containers with all these labels, including stopped ones."""
        wanted = json.dumps({"label": [f"{key}={value}" for key, value in labels.items()]})
        query = urlencode({"all": "1", "filters": wanted})
        listing: list[dict[str, Any]] = self.get(f"/containers/json?{query}", timeout=timeout)
        return listing

    def containers(self, labels: Mapping[str, str]) -> list[Container]:
        """The containers with all these labels, including stopped ones."""
        containers = (self.inspect(container["Id"]) for container in self.listed_containers(labels))
        return [container for container in containers if container is not None]

    def inspect(self, name: str) -> Container | None:
        raw = self.get(f"/containers/{quote(name)}/json")
        return None if raw is None else container_of(raw)

    def create(self, name: str, definition: Mapping[str, Any]) -> None:
        status, data = self.request(
            "POST", "/containers/create?" + urlencode({"name": name}), definition
        )
        _expect(status, data, f"creating the container {name}")

    def start(self, name: str) -> None:
        status, data = self.request("POST", f"/containers/{quote(name)}/start")
        _expect(status, data, f"starting the container {name}", also=(304,))

    def stop(self, name: str, timeout: int) -> None:
        """SIGTERM, and SIGKILL after `timeout` seconds."""
        status, data = self.request(
            "POST", f"/containers/{quote(name)}/stop?t={timeout}", timeout=timeout + 60
        )
        _expect(status, data, f"stopping the container {name}", also=(304, 404))

    def pause(self, name: str) -> None:
        """Its processes are frozen, and continue after `unpause` as if no time had passed."""
        status, data = self.request("POST", f"/containers/{quote(name)}/pause")
        _expect(status, data, f"pausing the container {name}")

    def unpause(self, name: str) -> None:
        status, data = self.request("POST", f"/containers/{quote(name)}/unpause")
        _expect(status, data, f"unpausing the container {name}")

    def remove(self, name: str) -> None:
        """Removes the container, running or not. It is no error if it is already gone."""
        status, data = self.request("DELETE", f"/containers/{quote(name)}?force=1&v=1")
        # 409: a removal that an interrupted run began is still under way
        _expect(status, data, f"removing the container {name}", also=(404, 409))

    def execute(self, name: str, command: Sequence[str], timeout: float) -> tuple[int, str]:
        """Runs a command in the container; its exit code and output."""
        status, data = self.request(
            "POST",
            f"/containers/{quote(name)}/exec",
            {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True},
        )
        if status in (404, 409):  # gone, or not running (any more)
            return 125, _message(data)
        _expect(status, data, f"running {command[0]} in {name}")
        identity = json.loads(data)["Id"]
        status, output = self.request(
            "POST", f"/exec/{identity}/start", {"Detach": False, "Tty": False}, timeout=timeout
        )
        if status != 200:
            return 126, _message(output)
        done = self.get(f"/exec/{identity}/json") or {}
        code = done.get("ExitCode")
        return (125 if code is None else int(code)), "".join(frames(output))

    def logs(self, name: str, lines: int) -> str:
        """The last lines of the container's output, both streams in order."""
        status, data = self.request(
            "GET", f"/containers/{quote(name)}/logs?stdout=1&stderr=1&tail={lines}"
        )
        return "".join(frames(data)) if status == 200 else ""

    # -- networks ----------------------------------------------------------------------------------

    def networks(self) -> list[dict[str, Any]]:
        networks: list[dict[str, Any]] = self.get("/networks")
        return networks

    def network(self, name: str) -> dict[str, Any] | None:
        """The network with exactly this name, with the containers on it."""
        listed = self.get("/networks?" + urlencode({"filters": json.dumps({"name": [name]})}))
        for network in listed:
            if network["Name"] == name:
                inspected: dict[str, Any] | None = self.get(f"/networks/{network['Id']}")
                return inspected
        return None

    def create_network(self, definition: Mapping[str, Any]) -> None:
        status, data = self.request("POST", "/networks/create", definition)
        _expect(status, data, f"creating the docker network {definition['Name']}")

    def remove_network(self, name: str) -> None:
        status, data = self.request("DELETE", f"/networks/{quote(name)}")
        _expect(status, data, f"removing the docker network {name}", also=(404,))

    # -- images ------------------------------------------------------------------------------------

    def images(self) -> list[dict[str, Any]]:
        images: list[dict[str, Any]] = self.get("/images/json")
        return images

    def others(self, labels: Mapping[str, str], images: set[str]) -> list[str]:
        """Containers, volumes and images that are not ours, as 'the container web'."""
        ours = {container["Id"] for container in self.listed_containers(labels)}
        others = [
            f"the container {container['Names'][0].lstrip('/')}"
            for container in self.listed_containers({})
            if container["Id"] not in ours
        ]
        volumes = self.get("/volumes").get("Volumes") or ()
        others += [f"the volume {volume['Name']}" for volume in volumes]
        for image in self.images():
            # Older versions of docker name an image without a name <none>:<none>.
            names = [name for name in image.get("RepoTags") or () if name != "<none>:<none>"]
            names = names or [image["Id"]]
            others += [f"the image {name}" for name in names if name not in images]
        return others

    def sharing(self, labels: Mapping[str, str], folder: Path) -> list[str]:
        place = folder.resolve()
        return sorted(
            container["Names"][0].lstrip("/")
            for container in self.listed_containers({})
            if container["State"] == "running"
            and not labels.items() <= (container.get("Labels") or {}).items()
            and any(
                mount.get("RW") and Path(mount.get("Source") or "/").resolve().is_relative_to(place)
                for mount in container.get("Mounts") or ()
            )
        )

    def image(self, reference: str) -> dict[str, Any] | None:
        inspected: dict[str, Any] | None = self.get(f"/images/{quote(reference, safe='/:@')}/json")
        return inspected

    def used_images(self) -> set[str]:
        return {container["ImageID"] for container in self.listed_containers({})}

    def load(self, archive: Path) -> str:
        """Loads an image archive; returns docker's output. Raises HostError if it is refused."""
        with archive.open("rb") as stream:
            status, data = self.request(
                "POST",
                "/images/load?quiet=1",
                stream,
                timeout=600,
                length=archive.stat().st_size,
            )
        _expect(status, data, f"loading the image archive {archive}")
        lines = [json.loads(line) for line in data.splitlines() if line.strip()]
        for line in lines:
            if "error" in line:
                raise HostError(
                    f"docker cannot load the image archive {archive}: {line['error']}: "
                    "make it again"
                )
        return "".join(line.get("stream", "") for line in lines).strip()

    def tag(self, image: str, reference: str) -> None:
        name, _, tag = reference.rpartition(":")
        status, data = self.request(
            "POST",
            f"/images/{quote(image, safe=':')}/tag?" + urlencode({"repo": name, "tag": tag}),
        )
        _expect(status, data, f"naming the image {reference}")

    def remove_image(self, reference: str) -> bool:
        """False if it stays because something else uses it (409)."""
        status, data = self.request("DELETE", f"/images/{quote(reference, safe='/:@')}")
        _expect(status, data, f"removing the image {reference}", also=(404, 409))
        return status == 200


def _message(data: bytes) -> str:
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return data.decode("utf-8", "replace").strip()


def _expect(status: int, data: bytes, what: str, also: tuple[int, ...] = ()) -> None:
    if not 200 <= status < 300 and status not in also:
        raise HostError(f"docker refused {what}: {_message(data)} ({status})")


def frames(data: bytes) -> Iterator[str]:
    """The texts in docker's multiplexed stream: 4 bytes stream, 4 bytes length, payload."""
    position = 0
    while position + 8 <= len(data):
        (length,) = struct.unpack(">I", data[position + 4 : position + 8])
        yield data[position + 8 : position + 8 + length].decode("utf-8", "replace")
        position += 8 + length


def container_of(raw: Mapping[str, Any]) -> Container:
    """A Container from the API's description of one."""
    state = raw["State"]
    networks = raw.get("NetworkSettings", {}).get("Networks") or {}
    # A stopped container has no address, only the one that it requests at its start.
    addresses = [
        network.get("IPAddress") or (network.get("IPAMConfig") or {}).get("IPv4Address")
        for network in networks.values()
    ]
    return Container(
        id=raw["Id"],
        name=raw["Name"].lstrip("/"),
        image=raw["Image"],
        labels=raw["Config"].get("Labels") or {},
        status=state["Status"],
        health=(state.get("Health") or {}).get("Status", "none"),
        address=next(filter(None, addresses), None),
        exit_code=state.get("ExitCode", 0),
        out_of_memory=state.get("OOMKilled", False),
        restarts=raw.get("RestartCount", 0),
        error=state.get("Error", ""),
    )


def subnets(network: Mapping[str, Any]) -> list[str]:
    return [
        block["Subnet"]
        for block in (network.get("IPAM") or {}).get("Config") or ()
        if "Subnet" in block
    ]


def answers(socket: Path) -> bool:
    """Whether docker answers at its socket."""
    if not exists(socket):
        return False
    try:
        docker = DockerEngine(socket)
        status, _ = docker.request("GET", "/_ping", timeout=_PATIENCE)
    except HostError:
        return False
    return status == 200
