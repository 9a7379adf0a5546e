"""Filters are loaded before tasks need them: the real ansible-playbook, the project's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.debug: {msg: "{{ 'a' | noted }}"}
    - ansible.builtin.debug: {msg: "{{ 'b' | noted }}"}
"""
FILTER = """
import os

with open(os.environ["NOTED"], "a") as file:
    file.write("loaded\\n")


class FilterModule:
    def filters(self):
        return {"noted": str.upper}
"""


def test_two_tasks_load_a_filter_once(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "filters").mkdir()
    (tmp_path / "filters/noted.py").write_text(FILTER)
    noted = tmp_path / "noted"
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", "-c", "local"]
    ran = subprocess.run(
        [*command, tmp_path / "play.yml"],
        cwd=PROJECT,
        env=os.environ | {"ANSIBLE_FILTER_PLUGINS": f"{tmp_path}/filters", "NOTED": str(noted)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "B" in ran.stdout
    assert noted.read_text().count("loaded") == 1
