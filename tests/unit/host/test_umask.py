"""The host program sets the same modes with any umask."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.storage_tree import DAY, NOW, Tree
from tests.unit.host.world import SUBNET, FakeRunner, Machine, host_of, spec
from wharfinger.host.commands import run
from wharfinger.host.observation import metrics
from wharfinger.host.system.files import write_atomically
from wharfinger.host.system.runner import SystemRunner

NAME = "registry.example.com"


@pytest.fixture(autouse=True)
def own_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(autouse=True)
def real_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


def life(folder: Path, umask: int) -> dict[str, str]:
    """Path → mode, on a deployed host that has run its jobs."""
    folder.mkdir()
    machine = Machine(seconds=NOW)
    tree = Tree(folder / "storage")
    tree.path.mkdir()
    mount = {"source": str(tree.path), "target": "/data", "read_only": False}
    tree.image("team/app", "old", age=20 * DAY)
    host = host_of(folder, machine)
    settings = {"storage_path": str(tree.path), "gc_max_seconds": 600, "untagged_keep": DAY}
    program = base64.b64encode(b"program").decode()
    for command, request in (
        ("prepare", {"program": program, "mount_point": str(folder / "mounts/data/registry")}),
        ("certificates", {"settings": {"hostname": NAME, "names": [NAME]}}),
        ("network", {"name": "wharfinger", "subnet": SUBNET}),
        ("ensure", {"spec": spec(folder, mounts=[mount])}),
        ("site", {"content": "server {}\n"}),
        ("retention", {}),
        ("collect", {}),
    ):
        if command == "retention":
            write_atomically(host.paths.contents_settings, json.dumps(settings).encode(), 0o644)
        os.umask(umask)
        host.runner = SystemRunner() if command == "certificates" else FakeRunner()
        run(command, request, host=host)
    metrics.write(host)
    return {
        str(path.relative_to(folder)): f"{path.lstat().st_mode & 0o7777:o}"
        for path in sorted(folder.rglob("*"))
        if not path.is_relative_to(tree.path) and not path.is_symlink()
    }


@pytest.mark.parametrize("umask", [0o077, 0o027, 0o000], ids=oct)
def test_every_path_has_the_same_mode_with_any_umask(tmp_path: Path, umask: int) -> None:
    usual = life(tmp_path / "usual", 0o022)
    # The third: closed for the collection, and open again.
    assert usual["var/generations/registry/3/files"] == "750"
    assert usual["mounts/data"] == usual["mounts/data/registry"] == "755"
    assert life(tmp_path / "hardened", umask) == usual


def test_what_is_secret_is_root_s_alone_without_help_of_the_umask(tmp_path: Path) -> None:
    modes = life(tmp_path / "open", 0o000)
    secret = [path for path in modes if path.endswith((".key", "tls.pem", "_password", "_secret"))]
    assert len(secret) > 4
    assert {modes[path] for path in secret} == {"600"}
    assert modes["etc"] == modes["etc/certificates"] == modes["var/generations"] == "700"
