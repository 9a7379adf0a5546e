"""Hosts with a registry's storage on disk and a repository for backups, without a registry."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.storage_tree import Tree
from wharfinger.host.backup import backup as backups
from wharfinger.host.system.context import Host
from wharfinger.host.system.paths import Paths

HOSTNAME = "registry.example.com"
Machine = Callable[[str], Host]


def machine_in(folder: Path) -> Machine:
    """Makes hosts by their names, which share one repository in a directory."""

    def made(name: str) -> Host:
        top = folder / name
        host = Host.real(
            Paths(
                etc=top / "etc",
                var=top / "var",
                nginx=top / "nginx",
                nginx_pid=top / "nginx.pid",
                nginx_log=top / "log",
                log=top / "log",
                metrics=top / "host.prom",
            )
        )
        host.registry_id = os.getgid()
        host.paths.backup.mkdir(parents=True)
        host.paths.var.mkdir(parents=True)
        write(host, "repository", str(folder / "repository"))
        write(host, "password", "the right one")
        settings = {
            "hostname": HOSTNAME,
            "storage_path": str(top / "data"),
            "keep": {"last": 2},
            "rate": 0,
            "free_minimum": 0,
            "version": "0.1.0",
        }
        write(host, "settings.json", json.dumps(settings))
        return host

    return made


def write(host: Host, name: str, text: str) -> None:
    (host.paths.backup / name).write_text(text)


def tree_of(host: Host) -> Tree:
    return Tree(host.paths.etc.parent / "data")


def filled(host: Host) -> Tree:
    tree = tree_of(host)
    for number in range(12):
        tree.image(f"team/app{number % 3}", f"image {number}", tag=f"v{number}", age=number * 100)
    members = [tree.image("team/index", name) for name in ("amd64", "arm64")]
    tree.index("team/index", members, tag="latest", age=7)
    host.paths.secrets.mkdir(parents=True)
    host.paths.http_secret.write_text("secret")
    return tree


def files(tree: Tree) -> dict[str, tuple[bytes, float]]:
    return {
        str(path.relative_to(tree.root)): (
            path.read_bytes(),
            path.stat().st_mtime if path.name == "link" else 0.0,
        )
        for path in sorted(tree.root.rglob("*"))
        if path.is_file()
    }


def backed_up(host: Host) -> dict[str, Any]:
    backups.repository(host, {}, False)
    return backups.backup(host, {}, False)


def damaged(repository: Path) -> None:
    """One byte in the middle of the largest pack is flipped: in the largest blob of a small
    repository."""
    pack = max(repository.glob("data/*/*"), key=lambda path: path.stat().st_size)
    pack.chmod(0o600)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)
