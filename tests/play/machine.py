"""The only test host, created and removed as Molecule does it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from ipaddress import IPv4Interface
from pathlib import Path

import yaml

from support.hosts import prefix

from .controller import BIN, PROJECT

NAME = "registry.play.test"
INSTANCE = "host"
SCENARIO = "play"

# Everything that a deployment could change: content, owners, modes, packages, traces of processes.
# Docker's own directory is on another file system, so docker lists what is in it.
SNAPSHOT = r"""
cd /
find etc var/lib usr/local usr/bin usr/sbin opt srv root home -xdev \
    \( -path var/lib/systemd -o -path var/lib/sudo \) -prune \
    -o -type f -printf '%p %m %U %G %s %T@ %C@\n' -o -printf '%p %y %m %U %G %l\n'
find etc var/lib usr/local opt srv root home -xdev \
    \( -path var/lib/systemd -o -path var/lib/sudo \) -prune -o -type f -exec sha256sum {} +
dpkg-query -W
ip route
if [ -S /run/docker.sock ] && [ -x /usr/bin/docker ]; then
    docker ps -a --no-trunc --format '{{.ID}} {{.Names}} {{.State}}'
    docker network ls --no-trunc --format '{{.ID}} {{.Name}}'
    docker image ls --no-trunc --format '{{.ID}} {{.Repository}} {{.Tag}}'
fi
"""


class Machine:
    """A host that is reached as operators reach theirs: by SSH, as a user with sudo."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # Known once the host is created.
        self.address = ""

    @property
    def subnet(self) -> str:
        """The host's network."""
        return str(IPv4Interface(f"{self.address}/24").network)

    @property
    def variables(self) -> dict[str, str]:
        """How Ansible reaches the host."""
        return {
            "ansible_host": self.address,
            "ansible_user": "operator",
            "ansible_ssh_private_key_file": str(self.directory / "test_run"),
            "ansible_ssh_common_args": " ".join(self._options()),
        }

    @staticmethod
    def _options() -> list[str]:
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        return [word for option in options for word in ("-o", option)]

    def create(self) -> None:
        """Creates a fresh Debian 13, after removing what an earlier run left."""
        subprocess.run(
            [sys.executable, PROJECT / "molecule/shared/images.py", "debian13"], check=True
        )
        self.destroy()
        self._create()
        self.run("systemctl is-system-running --wait || true")

    def destroy(self) -> None:
        """Removes everything of the host."""
        for command in (
            ["rm", "--force", "--volumes", f"{prefix(SCENARIO)}-{INSTANCE}"],
            ["network", "rm", prefix(SCENARIO)],
        ):
            subprocess.run(["docker", *command], capture_output=True, check=False)

    def _create(self) -> None:
        platform = {"name": INSTANCE, "image": "debian13"}
        settings = {
            "molecule_ephemeral_directory": str(self.directory),
            "molecule_instance_config": str(self.directory / "instances.yml"),
            "molecule_yml": {"scenario": {"name": SCENARIO}, "platforms": [platform]},
            "ansible_python_interpreter": sys.executable,
        }
        command = [str(BIN / "ansible-playbook"), "-i", "localhost,", "-c", "local"]
        command += [str(PROJECT / "molecule/shared/create.yml"), "-e", json.dumps(settings)]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        [known] = yaml.safe_load((self.directory / "instances.yml").read_text())
        self.address = known["address"]

    def run(self, script: str, *, given: str = "", user: str = "root") -> str:
        """What a shell script prints on the host. The script must succeed."""
        target = f"operator@{self.address}"
        words = ["ssh", *self._options(), "-i", str(self.directory / "test_run"), target]
        remote = shlex.join(["sudo", "-u", user, "sh", "-euc", script])
        done = subprocess.run(
            [*words, remote],
            input=given,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        assert done.returncode == 0, (script, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout

    def snapshot(self) -> list[str]:
        """One line for each thing that a deployment could change."""
        return sorted(self.run(SNAPSHOT).splitlines())


def differences(before: list[str], after: list[str]) -> list[str]:
    """The lines that are in only one of the snapshots."""
    gone, new = set(before) - set(after), set(after) - set(before)
    return [f"- {line}" for line in sorted(gone)] + [f"+ {line}" for line in sorted(new)]
