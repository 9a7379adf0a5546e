"""What is loaded before the first task: the real ansible-playbook, with the project's settings."""

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
    - ansible.builtin.debug: {msg: "{{ 1000 | frozen }}"}
"""
FILTER = """
import gc
import os

with open(os.environ["NOTED"], "a") as file:
    file.write("loaded\\n")


class FilterModule:
    def filters(self):
        return {"noted": str.upper, "frozen": self.frozen}

    def frozen(self, number):
        return f"more than {number}" if gc.get_freeze_count() > number else "fewer"
"""


def test_filters_are_loaded_once_and_modules_are_not_collected(tmp_path: Path) -> None:
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
    assert "more than 1000" in ran.stdout
