"""Starts and removes a scenario's test hosts: containers with systemd and SSH.

`python -m support.host_containers create PREFIX DIRECTORY INSTANCES` reads the platforms of
molecule.yml, as JSON, from standard input. A platform's keys: name, image (of
molecule/shared/images.py), groups; `systemd: false` for a host whose PID 1 is not a service
manager; `options` for further options of `docker run`. The hosts get a network in a free subnet,
and the addresses from .2 on in the order of the platforms. DIRECTORY gets the key by which they are
reached; INSTANCES is the file in which Molecule looks for their addresses.

`python -m support.host_containers destroy PREFIX` removes the hosts of the platforms in standard
input, and the network.

This is a program and not a playbook, which would pack a module and start processes for each task.
It uses only the standard library.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support import networks

# More rights than a container usually has, fewer than --privileged: systemd and a Docker work
# inside the container, and root still lacks SYS_RESOURCE, as on many small machines.
RIGHTS = (
    *("--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--security-opt=seccomp=unconfined"),
    *("--security-opt=apparmor=unconfined", "--security-opt=systempaths=unconfined"),
    *("--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw", "--volume=/var/lib/docker"),
    *("--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp:exec"),
)
SYSTEMD = ("--env=SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1", "--stop-signal=SIGRTMIN+3")
# Without systemd.
SSH_ONLY = ("sh", "-c", "ssh-keygen -A && mkdir -p /run/sshd && exec /usr/sbin/sshd -D")
PATIENCE = 300.0
# Docker 28 adds a line with the exit status.
NO_NETWORK = "(?i)not found|no such network|^exit status"


def docker(*words: str, expected: str = "$^") -> None:
    """Runs a docker command. If it fails, raises SystemExit with the lines of its error that the
    pattern `expected` does not match; if it matches all of them, nothing is wrong."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if not re.search(expected, line)]
    if done.returncode != 0 and lines:
        raise SystemExit("\n".join(lines))


def make_key(path: Path) -> None:
    """Makes the key of this run, unless it exists."""
    if not path.exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
        subprocess.run(command, check=True)


def start(prefix: str, platform: dict[str, Any], address: str, key: Path) -> None:
    """Starts one host."""
    name = platform["name"]
    systemd = platform.get("systemd", True)
    docker(
        *("run", "--detach", "--pull=never", f"--name={prefix}-{name}", f"--hostname={name}"),
        *(f"--network={prefix}", f"--ip={address}", f"--network-alias={name}.wharfinger.test"),
        *(f"--volume={key}.pub:/etc/ssh/test_run.pub:ro", *RIGHTS),
        *(SYSTEMD if systemd else ("--init",)),
        *platform.get("options", ()),
        f"wharfinger-test/{platform['image']}:latest",
        *(("/lib/systemd/systemd",) if systemd else SSH_ONLY),
    )


def answers(address: str) -> bool:
    """Whether the host's SSH server says its name."""
    try:
        with socket.create_connection((address, 22), 5) as connection:
            return b"OpenSSH" in connection.recv(100)
    except OSError:
        return False


def wait_for(address: str) -> None:
    """Waits until the host answers by SSH. Raises SystemExit when that takes too long."""
    end = time.monotonic() + PATIENCE
    while not answers(address):
        if time.monotonic() > end:
            raise SystemExit(f"{address}: SSH does not answer after {PATIENCE:.0f} s")
        time.sleep(0.2)


def create(
    prefix: str, platforms: Sequence[dict[str, Any]], directory: Path, instances: Path
) -> None:
    """Starts the hosts; those that a killed run has left behind are removed first."""
    key = directory / "test_run"
    make_key(key)
    subnet = ipaddress.ip_network(networks.create(prefix))
    remove_hosts(prefix, platforms)
    known = []
    for position, platform in enumerate(platforms, 2):
        address = str(subnet[position])
        start(prefix, platform, address, key)
        reached = {"address": address, "port": 22, "user": "operator", "identity_file": str(key)}
        known.append({"instance": platform["name"], **reached})
    instances.write_text(json.dumps(known))
    for host in known:
        wait_for(host["address"])


def remove_hosts(prefix: str, platforms: Sequence[dict[str, Any]]) -> None:
    """Removes the hosts with their volumes. Some of them may not exist."""
    names = [f"{prefix}-{platform['name']}" for platform in platforms]
    docker("rm", "--force", "--volumes", *names, expected="No such container")


def destroy(prefix: str, platforms: Sequence[dict[str, Any]]) -> None:
    """Removes the hosts and their network."""
    remove_hosts(prefix, platforms)
    docker("network", "rm", prefix, expected=NO_NETWORK)


def main(command: str, prefix: str, *files: str) -> None:
    """Runs a command."""
    platforms = json.load(sys.stdin)
    if command == "create":
        directory, instances = map(Path, files)
        create(prefix, platforms, directory, instances)
    else:
        destroy(prefix, platforms)


if __name__ == "__main__":
    main(*sys.argv[1:])
