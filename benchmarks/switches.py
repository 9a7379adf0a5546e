"""What clients notice of changes: failed operations, retries, latency; memory and time they take.

On a test host of this machine, over SSH, in one run, under a load of pooled clients
(tests/library/load); clients, controller and host share its cores. Latencies are those of manifests
by tag. They are compared with the steady state, and with a run of site.yml that changes nothing,
because Ansible itself keeps the cores busy. `--quick` leaves out what has to wait for tokens to
expire.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests/library")]

from load import Account, Load, Target
from load.images_before import write as write_images_before
from load.plays import Operator

NAME = "registry.wharfinger.test"
STEADY = "steady"
IDLE = "site.yml, nothing changes"
ROTATE = "playbooks/rotate_certificates.yml"

# One line for each sample of the containers: their memory in bytes, by name.
SAMPLE = r"""
import json, re, subprocess
units = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
command = ["docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}"]
while True:
    found = {}
    for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines():
        name, used = line.split()[:2]
        number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]+)", used).groups()
        found[name] = float(number) * units[unit]
    print(json.dumps(found), flush=True)
"""


class Bench:
    """A host, an inventory for it, and an operator."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.password = secrets.token_urlsafe(16)
        self.users: dict[str, Any] = {"admin": {"password": self.password}}
        self.operator = Operator(directory / "inventory", "site")
        self.seconds: dict[str, float] = {}
        self.changes: list[str] = []

    def hosts(self, playbook: str) -> None:
        """Creates or destroys the host, as Molecule does."""
        settings = {
            "ansible_python_interpreter": sys.executable,
            "molecule_ephemeral_directory": str(self.directory),
            "molecule_instance_config": str(self.directory / "instances.yml"),
            "molecule_yml": {
                "scenario": {"name": "switches"},
                "platforms": [{"name": "site", "image": "debian13"}],
            },
        }
        file = PROJECT / "molecule" / "shared" / playbook
        quiet(
            *("ansible-playbook", "-i", "localhost,", "-c", "local", str(file)),
            *("-e", json.dumps(settings)),
        )

    @property
    def address(self) -> str:
        """The host's address, once it has been created."""
        [known] = yaml.safe_load((self.directory / "instances.yml").read_text())
        return str(known["address"])

    def ssh(self) -> list[str]:
        """The command that runs another command on the host."""
        key = str(self.directory / "test_run")
        return ["ssh", "-i", key, *_OPTIONS, f"operator@{self.address}"]

    def write_inventory(self) -> None:
        """Writes the inventory with the current users."""
        variables = self.operator.inventory / "group_vars" / "registry"
        variables.mkdir(parents=True, exist_ok=True)
        host = {
            "ansible_host": self.address,
            "ansible_user": "operator",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_private_key_file": str(self.directory / "test_run"),
            "ansible_ssh_common_args": " ".join(_OPTIONS),
        }
        dump(self.operator.inventory / "hosts.yml", {"registry": {"hosts": {"site": host}}})
        settings = {
            "registry_hostname": NAME,
            "registry_hosts_entry": True,
            "registry_drain_timeout": "40s",
            "images_source": "build",
            "docker_auth_token_lifetime": 60,
            "registry_users": self.users,
            "registry_access": [{"who": "admin", "may": "all", "on": "all"}],
        }
        dump(variables / "all.yml", settings)

    def change(self, load: Load, name: str, playbook: str, **more: Any) -> None:
        """Makes one change under load."""
        load.phase(name)
        self.seconds[name] = self.operator.play(playbook, **more).seconds
        self.changes.append(name)


_OPTIONS = (
    *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
    *("-o", "LogLevel=ERROR"),
)


def dump(path: Path, value: object) -> None:
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    path.chmod(0o600)


def quiet(*command: str) -> None:
    """Runs a command; shows its output only if it fails."""
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")


@contextmanager
def memory(bench: Bench, load: Load) -> Iterator[list[tuple[str, dict[str, float]]]]:
    """Collects (phase, memory by container) until the end."""
    samples: list[tuple[str, dict[str, float]]] = []
    process = subprocess.Popen(
        [*bench.ssh(), "sudo", "python3", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(SAMPLE)
    process.stdin.close()
    lines = process.stdout

    def listen() -> None:
        for line in lines:
            samples.append((load.record.phases[-1][0], json.loads(line)))

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield samples
    finally:
        process.terminate()
        thread.join()


def changes(bench: Bench, load: Load, quick: bool) -> None:
    """Makes each kind of change once, each in its own phase."""
    settings = bench.operator.settings
    load.phase(STEADY)
    time.sleep(30)
    bench.change(load, IDLE, "site.yml")
    bench.users["newcomer"] = {}
    bench.write_inventory()
    bench.change(load, "a new user", "playbooks/users.yml")
    settings["registry_settings"] = {"log": {"level": "debug"}}
    bench.change(load, "a setting of the registry", "site.yml")
    settings["docker_auth_memory"] = "300m"
    bench.change(load, "a setting of the token server", "site.yml")
    settings["images_source"] = "archive"
    settings["images_archive"] = str(write_images_before(bench.directory))
    bench.change(load, "another build of the registry", "site.yml")
    bench.change(load, "back to the build before", "playbooks/rollback.yml")
    bench.change(load, "rotate tls", ROTATE, rotate="tls")
    bench.change(load, "rotate ca", ROTATE, rotate="ca")
    bench.change(load, "rotate signing, the new key", ROTATE, rotate="signing", rotate_wait=False)
    if not quick:
        load.phase("tokens of the old key run out")
        time.sleep(130)
        bench.change(load, "rotate signing, the old key", ROTATE)
    load.phase("the end")


def tell(bench: Bench, load: Load, samples: list[tuple[str, dict[str, float]]]) -> None:
    """Prints the table, one line for each change."""
    phases = {phase["name"]: phase for phase in load.report(STEADY)["phases"]}
    steady, idle = phases[STEADY], phases[IDLE]
    print(
        f"{'change':32} {'s':>6} {'requests':>8} {'failed':>6} {'retried':>7} {'p50 ms':>7}"
        f" {'p99 ms':>7} {'x steady':>8} {'x idle run':>10}"
    )
    for name in [STEADY, *bench.changes]:
        phase = phases[name]
        seconds = bench.seconds.get(name, phase["seconds"])
        to_idle = phase["p99_ms"] / idle["p99_ms"]
        print(
            f"{name:32} {seconds:6.1f} {phase['requests']:8} {phase['failed']:6}"
            f" {phase['retried']:7}"
            f" {phase['p50_ms']:7.1f} {phase['p99_ms']:7.1f}"
            f" {phase['p99_ms'] / steady['p99_ms']:8.2f} {to_idle:10.2f}"
        )
    signing = [bench.seconds[name] for name in bench.changes if name.startswith("rotate signing")]
    print(f"\na whole signing rotation without the wait: {sum(signing):.1f} s")
    total = load.report()
    print(
        f"all: {total['requests']} requests, {total['failed']} failed, {total['retried']} retried"
    )
    tell_memory(samples)
    for failure in total["failures"]:
        print(f"FAILED {failure['kind']} in {failure['phase']}: {failure['error'][:300]}")


def tell_memory(samples: list[tuple[str, dict[str, float]]]) -> None:
    """Prints all containers' memory while two generations of a kind live, against one of each."""
    usual = [sum(sizes.values()) for phase, sizes in samples if phase == STEADY and len(sizes) == 2]
    overlap: dict[str, float] = {}
    for _, sizes in samples:
        kinds = Counter(name.rsplit("-", 1)[0] for name in sizes)
        for kind, number in kinds.items():
            if number > 1:
                overlap[kind] = max(overlap.get(kind, 0), sum(sizes.values()))
    base = statistics.median(usual)
    print(f"memory of all containers, steady: {base / 2**20:.0f} MiB")
    for kind, most in sorted(overlap.items()):
        print(f"  most with two of {kind}: {most / 2**20:.0f} MiB, {most / base:.2f} x steady")


@contextmanager
def deployed() -> Iterator[tuple[Bench, Path]]:
    """A test host that site.yml has made a registry, and its authority's certificate. Removed
    afterwards."""
    quiet(sys.executable, "images/build.py", "build")
    quiet(sys.executable, "molecule/shared/images.py", "debian13")
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory))
        bench.hosts("create.yml")
        try:
            bench.write_inventory()
            bench.operator.play("site.yml")
            yield bench, bench.operator.inventory / "credentials" / f"{NAME}-ca.crt"
        finally:
            bench.hosts("destroy.yml")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without waiting for tokens to expire")
    quick = parser.parse_args().quick
    with deployed() as (bench, authority):
        load = Load(Target(NAME, bench.address), Account("admin", bench.password), authority)
        with load, memory(bench, load) as samples:
            changes(bench, load, quick)
        tell(bench, load, samples)


if __name__ == "__main__":
    main()
