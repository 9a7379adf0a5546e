#!/usr/bin/env python3
"""A picture of a host, to compare with a later one. Runs on the host as root, prints JSON.

The object maps everything that exists (a package, a file, a container, a process, …) to its
properties.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

PLACES = ("/etc", "/usr/local", "/opt", "/srv", "/root", "/home", "/var/www", "/var/lib/wharfinger")


def output(*command: str) -> list[str]:
    """The lines that a command prints; none if it is not installed or has nothing to show."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def file(path: Path) -> str:
    """Owner, mode and content of a file, directory or link."""
    status = path.lstat()
    about = f"{status.st_uid}:{status.st_gid} {stat.S_IMODE(status.st_mode):04o}"
    if stat.S_ISLNK(status.st_mode):
        return f"{about} -> {path.readlink()}"
    if stat.S_ISREG(status.st_mode):
        return f"{about} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return f"{about} {stat.S_IFMT(status.st_mode):o}"


def files() -> Iterator[tuple[str, str]]:
    """Everything below PLACES."""
    for place in PLACES:
        for folder, folders, names in os.walk(place):
            if ".ansible" in folders:
                folders.remove(".ansible")  # where Ansible itself works
            for name in folders + names:
                path = Path(folder, name)
                yield f"file {path}", file(path)


def docker() -> Iterator[tuple[str, str]]:
    """Containers with the time of their start, images, networks, volumes."""
    identities = output("docker", "ps", "--all", "--quiet", "--no-trunc")
    look = "--format={{.Name}} {{.State.Status}} {{.State.StartedAt}} {{.Image}}"
    for identity in identities:
        yield f"container {identity}", " ".join(output("docker", "inspect", look, identity))
    for kind, form in (
        ("image", "{{.ID}} {{.Repository}}:{{.Tag}}"),
        ("network", "{{.ID}} {{.Name}}"),
        ("volume", "{{.Name}}"),
    ):
        for line in output("docker", kind, "ls", "--no-trunc", f"--format={form}"):
            yield f"{kind} {line}", ""


def processes() -> Iterator[tuple[str, str]]:
    """The services that must not be restarted: process id and start time."""
    for path in map(Path, ("/run/nginx.pid", "/run/docker.pid")):
        if path.exists():
            number = path.read_text().strip()
            started = Path(f"/proc/{number}/stat").read_text().split()[21]
            yield f"process of {path}", f"{number} since {started}"


def packages() -> Iterator[tuple[str, str]]:
    """Every package with its version, and whether it was installed explicitly."""
    manual = set(output("apt-mark", "showmanual"))
    form = "${Package} ${Version} ${db:Status-Status}\n"
    for line in output("dpkg-query", "--show", f"--showformat={form}"):
        name, version, status = line.split()
        if status != "not-installed":
            yield f"package {name}", f"{version} {status} {'manual' if name in manual else 'auto'}"


if __name__ == "__main__":
    print(json.dumps({**dict(packages()), **dict(files()), **dict(docker()), **dict(processes())}))
