"""Files that a role writes: whole after a power loss, open to whom they are for."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import wharfinger.host
import wharfinger.host.system.files

PROJECT = Path(__file__).resolve().parents[3]


def load(path: str, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, PROJECT / "plugins" / path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module as it is on a host, where module_utils are one package."""
    utils = "ansible.module_utils."
    unlogged = load("module_utils/unlogged_module.py", f"{utils}unlogged_module")
    monkeypatch.setitem(sys.modules, f"{utils}unlogged_module", unlogged)
    monkeypatch.setitem(sys.modules, f"{utils}wharfinger_host", wharfinger.host)
    monkeypatch.setitem(
        sys.modules, f"{utils}wharfinger_host.system.files", wharfinger.host.system.files
    )
    return load("modules/rendered_files.py", "rendered_files")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What reaches the disk, and each rename, in their order."""
    events: list[str] = []
    replace = Path.replace

    def fsync(descriptor: int) -> None:
        events.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")

    def renamed(path: Path, target: Path) -> Path:
        events.append(f"rename {path.name} {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", renamed)
    return events


def test_a_file_and_its_name_are_on_the_disk_before_it_counts_as_written(
    plugin: Any, events: list[str], tmp_path: Path
) -> None:
    module = SimpleNamespace(
        check_mode=False, set_fs_attributes_if_different=lambda *_arguments: False
    )
    path = tmp_path / "server" / "auth_config.yml"
    wanted = {"path": str(path), "content": "users: {}\n", "mode": "0640", "group": os.getgid()}
    assert plugin.write(module, wanted) is True
    assert events == [
        "sync .auth_config.yml.new",
        "rename .auth_config.yml.new auth_config.yml",
        "sync server",
    ]
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("users: {}\n", 0o640)
    assert plugin.write(module, wanted) is False
    assert len(events) == 3


def test_the_directories_that_it_makes_are_open_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "nginx" / "file"
    files = [{"path": str(path), "content": "text\n", "mode": "0644"}]
    command = [str(Path(sys.executable).with_name("ansible")), "--connection=local"]
    command += ["--module-name=rendered_files", f"--args={json.dumps({'files': files})}"]
    command += [f"--extra-vars=ansible_python_interpreter={sys.executable}", "localhost"]
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, check=False, umask=0o077
    )
    assert done.returncode == 0, done.stdout + done.stderr
    modes = [file.stat().st_mode & 0o777 for file in (path, path.parent, path.parent.parent)]
    assert modes == [0o644, 0o755, 0o755]
