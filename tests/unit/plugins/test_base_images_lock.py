"""The action that writes base images into mirror.lock, run by Ansible itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
IMAGE = {
    "to": "base/debian-slim",
    "tag": "13",
    "dated": "13-20261130",
    "digest": "sha256:" + "a" * 64,
    "source": "trixie@2026-11-30T14:13:00Z",
}


def ran(folder: Path, *options: str) -> str:
    """What Ansible says; it must succeed."""
    (folder / "hosts").write_text("localhost ansible_connection=local\n")
    command = [str(Path(sys.executable).with_name("ansible")), "localhost", "-i", str(folder)]
    command += ["-m", "base_images_lock", "-a", json.dumps({"images": [IMAGE]}), *options]
    environment = os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")}
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_lock_gets_both_tags_once_and_nothing_else_is_left(tmp_path: Path) -> None:
    assert "CHANGED" in ran(tmp_path, "--check")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hosts"]
    assert "CHANGED" in ran(tmp_path)
    lock = tmp_path / "mirror.lock"
    rows = [row.split() for row in lock.read_text().splitlines() if not row.startswith("#")]
    assert [(image, source) for image, _, source in rows] == [
        (f"{IMAGE['to']}:{tag}@{IMAGE['digest']}", IMAGE["source"]) for tag in ("13", "13-20261130")
    ]
    assert lock.stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hosts", "mirror.lock"]
    assert "SUCCESS" in ran(tmp_path)
