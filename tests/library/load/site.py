"""The host of a scenario whose clients must notice nothing, and what tests do to it (zero_gap,
upgrade)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testinfra.host import Host

from support import hosts
from support.containers import serving
from support.registry import Registry
from support.waiting import enough

from . import Account, Load, Target
from .clients import Holder
from .plays import PROJECT, Operator, Played

NAME = "debian13"
# The only files that may exist there while nothing is under way.
CERTIFICATES = {"ca.crt", "ca.key", "settings.json", "signing.crt", "signing.key", "tls.crt"}
CERTIFICATES |= {"tls.key", "tls.pem", "tls_before.pem", "trusted.crt"}


def new_load(ca_file: Path, timeout: float = 60, pace: float = 1.0, name: str = NAME) -> Load:
    """Clients of the host `name` that trust only this authority. They wait `timeout` seconds for
    the next byte; `pace` multiplies their usual pause between two rounds."""
    admin = hosts.account("admin")
    return Load(
        Target(f"{name}.wharfinger.test", hosts.variables(name)["ansible_host"]),
        Account(admin.name, admin.password),
        ca_file,
        timeout,
        pace,
    )


class Site:
    """The host under test, and what tests do to it."""

    def __init__(self, folder: Path, name: str = NAME, scenario: str = "zero_gap") -> None:
        self.folder = folder
        self.name = name
        self.machine: Host = hosts.host(name)
        # A process left by a killed run knows its container by this identity, so it does not
        # restart or kill the container that has the same name in the next run.
        self.container = inspected(f"{hosts.prefix(scenario)}-{name}", "{{.Id}}")
        self.operator = Operator(hosts.inventory_file().parent, name)
        self.operator.settings |= {"registry_settings": {"log": {"level": "info"}}}
        self.load: Load | None = None
        self.holders: list[Holder] = []

    def kept_authority(self, name: str) -> Path:
        """A copy of today's authority's certificate."""
        return Path(shutil.copy(hosts.authority(self.name), self.folder / f"{name}.crt"))

    def registry(self) -> Registry:
        """The registry by raw requests, for a client that trusts today's authority."""
        return hosts.registry(self.name)

    @contextmanager
    def during(self, change: str) -> Iterator[None]:
        """Runs the change; a client has taken a token just before. No operation may fail."""
        assert self.load is not None
        self.holders.append(self.load.hold_token(change))
        self.load.phase(change)
        yield
        self.served(change)

    def served(self, change: str) -> None:
        """Clients worked during the change, or just after a short one, and nothing failed."""
        assert self.load is not None
        load = self.load
        enough(lambda: len(load.operations(change)))
        assert [(operation.kind, operation.error) for operation in self.load.failures(change)] == []

    def change(self, change: str, playbook: str, **more: Any) -> Played:
        """Runs a playbook under load; it must succeed without a failed operation."""
        with self.during(change):
            return self.operator.play(playbook, **more)

    # -- what is on the host -----------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """state.json."""
        return hosts.state(self.name)

    def serving(self, kind: str) -> dict[str, Any]:
        """The container that serves, as docker inspect shows it; there is one of each kind."""
        (name,) = self.machine.check_output(
            "docker ps --quiet --filter label=wharfinger.kind=%s", kind
        ).split()
        said = self.machine.check_output("docker inspect %s", name)
        container: dict[str, Any] = json.loads(said)[0]
        return container

    def status(self) -> dict[str, Any]:
        """What `wharfinger-host status --json` says."""
        # Its exit code only says whether there are problems.
        said = self.machine.run("wharfinger-host status --json")
        assert said.stdout, said.stderr
        status: dict[str, Any] = json.loads(said.stdout)
        return status

    def script(self, text: str, *arguments: str) -> str:
        """Runs a Python program on the host as root; returns its output."""
        return hosts.script(self.name, text, *arguments)

    def tidy(self, *, rotating: bool = False) -> None:
        """Checks that nothing is under way and that nothing left anything behind. `rotating`: the
        previous signing key may still be trusted."""
        state = self.state()
        allowed = CERTIFICATES | ({"signing_previous.crt"} if rotating else set())
        assert rotating or state["rotation"] is None
        known = {}
        for kind, record in state["kinds"].items():
            phases = [generation["phase"] for generation in record["generations"]]
            assert phases.count("serving") == 1 and set(phases) <= {"serving", "retired"}, phases
            known[kind] = {str(generation["number"]) for generation in record["generations"]}
            folders = self.machine.check_output("ls /var/lib/wharfinger/generations/%s", kind)
            assert set(folders.split()) == known[kind]
        containers = self.machine.check_output("docker ps --all --format '{{.Names}}'").split()
        names = set(serving(state).values())
        assert set(containers) == names
        network = json.loads(self.machine.check_output("docker network inspect wharfinger"))[0]
        assert {container["Name"] for container in network["Containers"].values()} == names
        files = self.machine.check_output("ls /etc/wharfinger/certificates").split()
        assert set(files) - allowed == set()
        assert self.status()["problems"] == []


def inspected(container: str, template: str) -> str:
    """What docker on this machine says about a test host."""
    command = ["docker", "inspect", "--format", template, container]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def client_command() -> list[str]:
    """The command that runs another command on the client machine as root."""
    client = hosts.variables("client")
    return [
        "ssh",
        *client["ansible_ssh_common_args"].split(),
        # A connection of its own: it lasts as long as the load and ends with it.
        *("-o", "ControlPath=none", "-i", client["ansible_private_key_file"]),
        f"{client['ansible_user']}@{client['ansible_host']}",
        "sudo",
    ]


def edit_users() -> None:
    """Edits the inventory as an operator would: adds a user, changes one and removes one."""
    script = PROJECT / "molecule" / "shared" / "users.py"
    command = [sys.executable, str(script), str(hosts.ephemeral() / "users.json"), "change"]
    subprocess.run(command, check=True)
    hosts.inventory.cache_clear()
