"""Files that a role writes: whole after a power loss, open to whom they are for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wharfinger.host.setup.rendered_files import bring

PROJECT = Path(__file__).resolve().parents[3]


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
    events: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "server" / "auth_config.yml"
    wanted: dict[str, Any] = {
        "path": str(path),
        "content": "users: {}\n",
        "mode": "0640",
        "group": os.getgid(),
    }
    wanted["secret"] = True
    differences = [{"prepared": f"{path}: changed; its content is secret and not shown\n"}]
    told = bring([wanted], [], lambda *_: False, check=False)
    assert told == ([str(path)], differences)
    assert events == [
        "sync .auth_config.yml.new",
        "rename .auth_config.yml.new auth_config.yml",
        "sync server",
    ]
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("users: {}\n", 0o640)
    assert bring([wanted], [], lambda *_: False, check=False) == ([], [])
    assert len(events) == 3


def test_the_directories_that_it_makes_are_open_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "nginx" / "file"
    files = [{"path": str(path), "content": "text\n", "mode": "0644"}]
    command = [str(Path(sys.executable).with_name("ansible")), "--connection=local"]
    command += ["--module-name=rendered_files", f"--args={json.dumps({'files': files})}"]
    command += [f"--extra-vars=ansible_python_interpreter={sys.executable}", "localhost"]
    # The action takes no file without a row in the table of files.
    environment = os.environ | {"ANSIBLE_ACTION_PLUGINS": str(tmp_path)}
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        umask=0o077,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    modes = [file.stat().st_mode & 0o777 for file in (path, path.parent, path.parent.parent)]
    assert modes == [0o644, 0o755, 0o755]
