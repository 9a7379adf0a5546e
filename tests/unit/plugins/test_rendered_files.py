"""Files that a role writes: complete after a power loss, readable by those who need them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from wharfinger.host.setup.rendered_files import bring

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What reaches the disk, and each rename, in order."""
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
    result = bring([wanted], [], lambda *_: False, check=False)
    assert result == ([str(path)], differences)
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
    # The action accepts only files that have a row in the table of files.
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


def test_a_file_of_the_controller_is_found_from_the_inventory(tmp_path: Path) -> None:
    # The file may also be encrypted with ansible-vault, and no run shows a key.
    (tmp_path / "word").write_text("secret\n")
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"localhost": None}}}))
    key = tmp_path / "server.key"
    vault = VaultLib([("default", VaultSecret(b"secret"))])
    key.write_bytes(vault.encrypt("a key\n"))
    path = "/etc/wharfinger/certificates/tls.key"
    arguments = {"files": [{"path": path, "source": "server.key"}]}
    command = [str(Path(sys.executable).with_name("ansible")), "--check", "--diff", "-vvv"]
    command += ["--connection=local", "--inventory", str(tmp_path / "hosts.yml")]
    command += ["--vault-password-file", str(tmp_path / "word")]
    command += ["--module-name=rendered_files", f"--args={json.dumps(arguments)}"]
    command += [f"--extra-vars=ansible_python_interpreter={sys.executable}", "localhost"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert hashlib.sha256(b"a key\n").hexdigest() in done.stdout
    assert "a key" not in done.stdout + done.stderr
