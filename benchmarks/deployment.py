"""How long deployments take: by hand against site.yml, again, one new user, with 1,000 users.

Everything on test hosts of this machine, over SSH, in one run; controller and hosts share its
cores. Prints seconds and ratios. `--quick` leaves the 1,000 users out.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bcrypt
import yaml

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from wharfinger import access, docker_auth

NAME = "registry.wharfinger.test"
HOSTS = ("by-hand", "site")
RULES = [
    {"who": "admin", "may": "all", "on": "all"},
    {"who": "everyone", "may": ["pull"], "on": "**"},
]


class Bench:
    """Two fresh hosts, an inventory for one of them, and a stopwatch."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.inventory = directory / "inventory"
        self.settings = {
            "molecule_ephemeral_directory": str(directory),
            "molecule_instance_config": str(directory / "instances.yml"),
            "molecule_yml": {
                "scenario": {"name": "benchmark"},
                "platforms": [{"name": name, "image": "debian13"} for name in HOSTS],
            },
        }

    def hosts(self, playbook: str) -> None:
        """Creates or destroys the hosts, as Molecule does."""
        quiet(
            "ansible-playbook",
            "-i",
            "localhost,",
            "-c",
            "local",
            "-e",
            f"ansible_python_interpreter={sys.executable}",
            str(PROJECT / "molecule/shared" / playbook),
            "-e",
            json.dumps(self.settings),
        )

    def address(self, host: str) -> str:
        """A host's address, once it has been created."""
        known = yaml.safe_load((self.directory / "instances.yml").read_text())
        return next(str(instance["address"]) for instance in known if instance["instance"] == host)

    def ssh(self, host: str, command: str) -> None:
        """Runs a command as root on a host."""
        quiet("ssh", *self._options(), f"operator@{self.address(host)}", f"sudo {command}")

    def copy(self, host: str, *files: Path) -> None:
        """Copies files to the operator's home on a host."""
        quiet("scp", "-q", *self._options(), *map(str, files), f"operator@{self.address(host)}:")

    def _options(self) -> list[str]:
        return [
            *("-i", str(self.directory / "test_run"), "-o", "StrictHostKeyChecking=no"),
            *("-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"),
        ]

    def write_inventory(self, users: dict[str, Any]) -> None:
        """The inventory of the host `site`, with these users."""
        variables = self.inventory / "group_vars" / "registry"
        variables.mkdir(parents=True, exist_ok=True)
        host = {
            "ansible_host": self.address("site"),
            "ansible_user": "operator",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_private_key_file": str(self.directory / "test_run"),
            "ansible_ssh_common_args": " ".join(self._options()[2:]),
        }
        dump(self.inventory / "hosts.yml", {"registry": {"hosts": {"site": host}}})
        settings = {
            "registry_hostname": NAME,
            "registry_hosts_entry": True,
            "images_source": "build",
            "registry_users": users,
            "registry_access": RULES,
        }
        dump(variables / "all.yml", settings)

    def play(self, playbook: str) -> float:
        """Seconds that one run of a playbook takes."""
        return timed("ansible-playbook", "-i", str(self.inventory), str(PROJECT / playbook))


def dump(path: Path, value: object) -> None:
    path.write_text(yaml.safe_dump(value), encoding="utf-8")


def quiet(*command: str) -> str:
    """Runs a command; shows its output only if it fails."""
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def timed(*command: str) -> float:
    """Seconds that a command takes."""
    start = time.monotonic()
    quiet(*command)
    return time.monotonic() - start


def by_hand(bench: Bench, images: dict[str, Any]) -> float:
    """Seconds for the plain script, including the images' way to the host, as for site.yml."""
    password = secrets.token_urlsafe(16)
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(10)).decode()
    policy = access.read_policy({"admin": {}}, {}, [RULES[0]])
    configuration = docker_auth.auth_config(
        policy,
        {"admin": hashed, "wharfinger-verification": hashed},
        issuer=NAME,
        certificate_path="/config/signing.pem",
        key_path="/config/signing.pem",
        expiration=300,
        addr=":5002",
        real_ip_header="X-Real-IP",
    )
    dump(bench.directory / "auth_config.yml", configuration)
    (bench.directory / "password").write_text(password, encoding="utf-8")
    for kind in ("registry", "token_server"):
        shutil.copyfile(images[kind]["path"], bench.directory / f"{kind}.tar")
    files = [
        bench.directory / name
        for name in ("auth_config.yml", "password", "registry.tar", "token_server.tar")
    ]
    start = time.monotonic()
    bench.copy("by-hand", *files, PROJECT / "benchmarks/by_hand.sh")
    bench.ssh("by-hand", f"sh ./by_hand.sh {NAME} /home/operator")
    return time.monotonic() - start


def several(bench: Bench, playbook: str, times: int = 3) -> float:
    """The median of several runs, in seconds."""
    return statistics.median(bench.play(playbook) for _ in range(times))


def new_users(bench: Bench, users: dict[str, Any], times: int = 3) -> float:
    """The median of users.yml with one more user each time, in seconds."""
    seconds = []
    for number in range(times):
        users[f"newcomer{len(users)}x{number}"] = {}
        bench.write_inventory(users)
        seconds.append(bench.play("playbooks/users.yml"))
    return statistics.median(seconds)


def line(what: str, seconds: float, than: float | None = None, aim: float | None = None) -> None:
    """One line of the result."""
    ratio = f"{seconds / than:6.2f} x" if than else ""
    print(f"{what:58} {seconds:7.1f} s {ratio:>9} {f'(aim {aim})' if aim else ''}", flush=True)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the 1,000 users")
    quick = parser.parse_args().quick
    images = json.loads(quiet(sys.executable, "images/build.py", "build"))
    quiet(sys.executable, "molecule/shared/images.py", "debian13")
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory))
        bench.hosts("create.yml")
        try:
            measure(bench, images, quick)
        finally:
            bench.hosts("destroy.yml")


def measure(bench: Bench, images: dict[str, Any], quick: bool) -> None:
    """Takes the measurements in order and prints each at once."""
    hand = by_hand(bench, images)
    line("a fresh host by hand", hand)
    users: dict[str, Any] = {"admin": {}, "readonly": {}, "someuser": {}}
    bench.write_inventory(users)
    line("a fresh host by site.yml", bench.play("site.yml"), hand, 2.5)
    again = several(bench, "site.yml")
    line("site.yml again, nothing changes (aim 15 s)", again)
    seconds = new_users(bench, users)
    line("users.yml, one new user (aim 6 s)", seconds)
    if quick:
        return
    hashed = bcrypt.hashpw(secrets.token_bytes(16), bcrypt.gensalt(10)).decode()
    users.update({f"user{number}": {"password_hash": hashed} for number in range(1000)})
    bench.write_inventory(users)
    bench.play("site.yml")
    line("site.yml again, with 1,000 hashed users more", several(bench, "site.yml"), again, 1.3)
    line("users.yml, one new user beside 1,000 hashed ones", new_users(bench, users), seconds, 1.3)


if __name__ == "__main__":
    main()
