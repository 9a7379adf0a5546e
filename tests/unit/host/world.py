"""A host in memory: an engine, an nginx and a clock that can be killed at any step.

Every call that changes something is a step. `kill_at=N` ends the program (Killed, which nothing
catches) around step N: before it takes effect, or after, by turns, as a power loss would.
After each step the promise is checked: once something serves, nginx leads to a healthy container.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wharfinger.host.commands import run
from wharfinger.host.rollout.proxy import METRICS_PORT
from wharfinger.host.system.clock import Reading
from wharfinger.host.system.context import Clock, Host, Traffic
from wharfinger.host.system.engine import Container
from wharfinger.host.system.errors import HostError
from wharfinger.host.system.paths import Paths
from wharfinger.host.system.runner import Result
from wharfinger.host.system.state import State, Store

SUBNET = "10.98.0.0/28"


class Killed(BaseException):
    """SIGKILL: no handler of the program sees it."""


@dataclass
class Machine:
    """What survives a kill: containers, nginx as it runs, and which images behave how."""

    kill_at: int = 0
    after: bool = False
    steps: int = 0
    seconds: float = 1_000_000.0
    # how far the wall clock jumps at each `sleep`
    jumps: float = 0
    jumped: float = 0
    boot: str = "first"
    # whether a time server sets the clock
    synchronised: bool = False
    containers: dict[str, Container] = field(default_factory=dict)
    definitions: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    networks: dict[str, dict[str, Any]] = field(default_factory=dict)
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    # by other people's containers
    used_images: set[str] = field(default_factory=set)
    others: list[str] = field(default_factory=list)
    sharing: list[str] = field(default_factory=list)
    behaviour: dict[str, str] = field(default_factory=dict)
    loaded: str = ""
    nginx_refuses: str | None = None
    nginx_running: bool = False
    generation_of_workers: int = 1
    old_workers: list[list[int]] = field(default_factory=list)
    connections: dict[str, int] = field(default_factory=dict)
    # the registry's metrics: handler → requests under way; None: it has no metrics
    in_flight: dict[str, int] | None = None
    unfreezable: bool = False
    # the first word of every step, in order
    done: list[str] = field(default_factory=list)
    gently: list[bool] = field(default_factory=list)
    served_once: bool = False
    interruptions: list[str] = field(default_factory=list)
    # what the collecting container does to the storage, and its exit code
    collect: Callable[[], None] = lambda: None
    collection_code: int = 0

    def step(self, what: str) -> _Step:
        self.steps += 1
        self.done.append(what.split()[0])
        return _Step(self, what, self.steps == self.kill_at)

    def change(self, name: str, **values: Any) -> None:
        """Changes values of a container; this is not a step."""
        self.containers[name] = replace(self.containers[name], **values)

    def serving_addresses(self) -> list[str]:
        return re.findall(r"server ([0-9.]+):(?!5001 )", self.loaded)

    def check_promise(self, what: str) -> None:
        healthy = {
            container.address
            for container in self.containers.values()
            if container.running and self.behaviour.get(container.image, "good") == "good"
        }
        addresses = self.serving_addresses()
        if addresses and all(address in healthy for address in addresses):
            self.served_once = True
        elif self.served_once:
            self.interruptions.append(
                f"after {what}: nginx leads to {addresses}, healthy {healthy}"
            )


@dataclass
class _Step:
    machine: Machine
    what: str
    fatal: bool

    def __enter__(self) -> None:
        if self.fatal and not self.machine.after:
            raise Killed(f"before {self.what}")

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.machine.check_promise(self.what)
            if self.fatal:
                raise Killed(f"after {self.what}")


class FakeClock(Clock):
    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def now(self) -> float:
        return self.machine.seconds + self.machine.jumped

    def monotonic(self) -> float:
        return self.machine.seconds

    def reading(self) -> Reading:
        machine = self.machine
        return Reading(machine.boot, self.now(), self.monotonic(), machine.synchronised)

    def sleep(self, seconds: float) -> None:
        self.machine.seconds += seconds
        self.machine.jumped += self.machine.jumps


class FakeStore(Store):
    def __init__(self, path: Path, machine: Machine) -> None:
        super().__init__(path)
        self.machine = machine

    def save(self, state: State) -> None:
        with self.machine.step("saving the state"):
            super().save(state)


class FakeEngine:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def containers(self, labels: Mapping[str, str]) -> list[Container]:
        return [
            container
            for container in self.machine.containers.values()
            if labels.items() <= container.labels.items()
        ]

    def inspect(self, name: str) -> Container | None:
        return self.machine.containers.get(name)

    def create(self, name: str, definition: Mapping[str, Any]) -> None:
        with self.machine.step(f"creating {name}"):
            if name in self.machine.containers:
                raise HostError(f"docker refused creating {name}: the name is in use (409)")
            network = definition["HostConfig"]["NetworkMode"]
            endpoints = definition.get("NetworkingConfig", {}).get("EndpointsConfig", {})
            endpoint = endpoints.get(network)
            address = endpoint["IPAMConfig"]["IPv4Address"] if endpoint else None
            if address is not None and any(
                container.address == address for container in self.machine.containers.values()
            ):
                raise HostError(f"docker refused creating {name}: {address} is in use (403)")
            self.machine.definitions[name] = definition
            self.machine.containers[name] = Container(
                id=name,
                name=name,
                image=definition["Image"],
                labels=definition["Labels"],
                status="created",
                health="none",
                address=address,
                exit_code=0,
                out_of_memory=False,
                restarts=0,
                error="",
            )

    def start(self, name: str) -> None:
        with self.machine.step(f"starting {name}"):
            manner = self.machine.behaviour.get(self.machine.containers[name].image, "good")
            if self.machine.containers[name].labels.get("wharfinger.kind") == "collection":
                # It does its work and exits.
                self.machine.collect()
                self.machine.change(name, status="exited", exit_code=self.machine.collection_code)
            elif manner == "crashes":
                self.machine.change(name, status="restarting", exit_code=3, restarts=1)
            elif manner == "needs memory":
                self.machine.change(name, status="exited", exit_code=137, out_of_memory=True)
            else:
                self.machine.change(name, status="running", health="starting")

    def stop(self, name: str, timeout: int) -> None:
        with self.machine.step(f"stopping {name}"):
            if name in self.machine.containers:
                self.machine.change(name, status="exited", health="none")

    def pause(self, name: str) -> None:
        with self.machine.step(f"pausing {name}"):
            if self.machine.unfreezable:
                raise HostError("docker refused pausing: cgroups: freezer is not there (500)")
            assert self.machine.containers[name].running
            self.machine.change(name, status="paused")

    def unpause(self, name: str) -> None:
        with self.machine.step(f"unpausing {name}"):
            assert self.machine.containers[name].paused
            self.machine.change(name, status="running")

    def remove(self, name: str) -> None:
        with self.machine.step(f"removing {name}"):
            self.machine.containers.pop(name, None)

    def execute(self, name: str, command: Sequence[str], timeout: float) -> tuple[int, str]:
        manner = self.machine.behaviour.get(self.machine.containers[name].image, "good")
        return (1, "storage driver: unhealthy") if manner == "sick" else (0, "")

    def logs(self, name: str, lines: int) -> str:
        return "configuration: line 3: no such key\n"

    def network(self, name: str) -> dict[str, Any] | None:
        return self.machine.networks.get(name)

    def create_network(self, definition: Mapping[str, Any]) -> None:
        with self.machine.step("creating the network"):
            self.machine.networks[definition["Name"]] = {**definition, "Containers": {}}

    def remove_network(self, name: str) -> None:
        with self.machine.step("removing the network"):
            self.machine.networks.pop(name, None)

    def others(self, labels: Mapping[str, str], images: set[str]) -> list[str]:
        return list(self.machine.others)

    def sharing(self, labels: Mapping[str, str], folder: Path) -> list[str]:
        return list(self.machine.sharing)

    def image(self, reference: str) -> dict[str, Any] | None:
        for image in self.machine.images.values():
            names = [image["Id"], *image["RepoTags"], *image.get("RepoDigests", [])]
            if reference in names:
                return image
        return None

    def load(self, archive: Path) -> str:
        identity = archive.read_text()
        self.machine.images[identity] = {"Id": identity, "RepoTags": []}
        return f"Loaded image ID: {identity}"

    def tag(self, image: str, reference: str) -> None:
        self.machine.images[image]["RepoTags"].append(reference)

    def remove_image(self, reference: str) -> bool:
        image = self.image(reference)
        if image is None:
            return False
        tags = image["RepoTags"]
        if len(tags) > 1:
            if reference in tags:
                tags.remove(reference)
                return True
            return False
        if image["Id"] in self.used_images():
            return False
        with self.machine.step(f"removing the image {reference}"):
            del self.machine.images[image["Id"]]
        return True

    def used_images(self) -> set[str]:
        containers = self.machine.containers.values()
        return {container.image for container in containers} | self.machine.used_images


class FakeNginx:
    def __init__(self, machine: Machine, paths: Paths) -> None:
        self.machine = machine
        self.paths = paths

    def installed(self) -> bool:
        return True

    def test(self) -> str | None:
        site = self.paths.site.read_text() if self.paths.site.exists() else ""
        if "broken" in site:
            return 'unknown directive "broken"'
        return self.machine.nginx_refuses

    def running(self) -> bool:
        return self.machine.nginx_running

    def workers(self) -> list[list[int]]:
        if not self.machine.nginx_running:
            return []
        return [*self.machine.old_workers, [self.machine.generation_of_workers, 0]]

    def _read(self) -> None:
        path = self.paths.upstreams
        self.machine.loaded = path.read_text() if path.exists() else ""

    def reload(self, *, gently: bool = True) -> None:
        self.machine.gently.append(gently)
        with self.machine.step("reloading nginx"):
            self.machine.generation_of_workers += 1
            self._read()

    def start(self) -> list[str]:
        with self.machine.step("starting nginx"):
            self.machine.nginx_running = True
            self._read()
        return ["nginx: started"]

    def reopen(self, files: Sequence[Path]) -> None:
        """The new files belong to the workers' user."""


class FakeTraffic(Traffic):
    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def each(self, address: str, port: int) -> frozenset[int]:
        return frozenset(range(min(self.machine.connections.get(address, 0), 5)))

    def connections(self, address: str, port: int) -> int:
        left = self.machine.connections.get(address, 0)
        # one request ends at each poll
        self.machine.connections[address] = max(0, left - 1)
        return left

    def alive(self, workers: list[list[int]]) -> list[list[int]]:
        return [worker for worker in workers if worker in self.machine.old_workers]


class FakeRunner:
    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.environments: list[dict[str, str]] = []
        self.answers: dict[str, Result] = {}
        # program → its file
        self.programs: dict[str, str] = {}
        # What a program says that runs as another user, by its request.
        self.as_user: Callable[[str], Result] = lambda request: Result(1, "", "")

    def run(
        self,
        arguments: Sequence[str],
        *,
        timeout: float = 30,
        environment: Mapping[str, str] | None = None,
    ) -> Result:
        self.calls.append(list(arguments))
        self.environments.append(dict(environment or {}))
        return self.answer_to(arguments)

    def answer_to(self, arguments: Sequence[str]) -> Result:
        command = " ".join(arguments)
        for start, answer in self.answers.items():
            if command.startswith(start):
                return answer
        return Result(127, "", f"{arguments[0]} is not installed")

    def run_as(
        self, user_id: int, arguments: Sequence[str], *, request: str, timeout: float
    ) -> Result:
        self.calls.append(list(arguments))
        return self.as_user(request)

    def which(self, program: str) -> str | None:
        return self.programs.get(program)


def counted(in_flight: Mapping[str, int]) -> str:
    """The registry's metrics of requests under way."""
    name = "registry_http_in_flight_requests"
    handlers = ("base", "blob", "blob_upload", "blob_upload_chunk", "catalog", "manifest", "tags")
    lines = [f"# HELP {name} The in-flight HTTP requests", f"# TYPE {name} gauge"]
    lines += [f'{name}{{handler="{handler}"}} {in_flight.get(handler, 0)}' for handler in handlers]
    return "\n".join([*lines, 'registry_http_requests_total{handler="manifest"} 7', ""])


def host_of(folder: Path, machine: Machine) -> Host:
    """A Host on this machine with files below `folder`, owned by the user who runs the test."""
    paths = Paths(
        etc=folder / "etc",
        var=folder / "var",
        program=folder / "lib" / "wharfinger-host.pyz",
        command=folder / "sbin" / "wharfinger-host",
        nginx=folder / "nginx",
        nginx_log=folder / "log",
        log=folder / "log-of-ours",
        interfaces=folder / "interfaces",
        metrics=folder / "run" / "host.prom",
        alert=folder / "run" / "alert.json",
        sent_alerts=folder / "run" / "told.json",
        confirmation=folder / "run" / "asked.json",
        drill_sockets=folder / "run" / "drill",
        docker_socket=folder / "docker.sock",
        docker_log=folder / "docker.log",
        docker_settings=folder / "docker" / "daemon.json",
        docker_units=folder / "docker.service.d",
        docker_defaults=folder / "docker.default",
        systemd=folder / "systemd",
        apt_locks=(folder / "apt.lock",),
        apt_lists=folder / "lists",
        units=folder / "units",
        cron=folder / "cron.d",
        os_release=folder / "os-release",
    )
    (paths.nginx / "conf.d").mkdir(parents=True, exist_ok=True)

    def probe(
        address: str,
        port: int,
        path: str,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        for container in machine.containers.values():
            if container.address == address and container.running:
                if port == METRICS_PORT and machine.in_flight is not None:
                    return 200, counted(machine.in_flight).encode()
                if machine.behaviour.get(container.image) == "silent":
                    raise ConnectionRefusedError(111, "Connection refused")
                return 401, b""
        raise OSError(113, "No route to host")

    return Host(
        paths=paths,
        runner=FakeRunner(),
        engine=FakeEngine(machine),
        nginx=FakeNginx(machine, paths),
        traffic=FakeTraffic(machine),
        store=FakeStore(paths.state, machine),
        clock=FakeClock(machine),
        probe=probe,
        registry_id=os.getgid(),
        token_server_id=os.getgid(),
        root_id=os.getuid(),
    )


def spec(folder: Path, kind: str = "registry", image: str = "sha256:good", **more: Any) -> Any:
    """A specification with an existing mount."""
    (folder / "data").mkdir(exist_ok=True)
    return {
        "kind": kind,
        "image": image,
        "user": "1:1",
        "command": ["serve"],
        "environment": {},
        "files": {"config.yml": "secret: @@http_secret@@\n"},
        "files_target": "/etc/distribution",
        "algorithms": ["RS256", "ES256"],
        "files_group": os.getgid(),
        "mounts": [{"source": str(folder / "data"), "target": "/data", "read_only": False}],
        "tmpfs": {"/tmp": "size=16m"},
        "memory": "64m",
        "pids": 64,
        "health": {"command": ["/registry", "healthcheck"], "interval": 30},
        "port": 5000,
        "probe": {"path": "/v2/", "status": [200, 401]},
        "stop_timeout": 5,
        **more,
    }


def deployed(folder: Path, machine: Machine, **more: Any) -> Host:
    """A host with a registry behind nginx; its specification has `more`."""
    host = host_of(folder, machine)
    run("prepare", {}, host=host)
    run("network", {"name": "wharfinger", "subnet": SUBNET}, host=host)
    run("ensure", {"spec": spec(folder, **more)}, host=host)
    run("site", {"content": "server {}\n"}, host=host)
    return host
