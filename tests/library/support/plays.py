"""Playbooks that a scenario's tests run on its hosts, as an operator would."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from support import hosts

PROJECT = Path(__file__).resolve().parents[3]
#: The output of every run.
OUTPUTS: list[str] = []


def play(playbook: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a playbook (by its path in the project, without .yml), and keeps its output."""
    ran = subprocess.run(
        [
            *("ansible-playbook", "-i", str(hosts.inventory_file().parent), "--diff"),
            *(f"{playbook}.yml", *arguments),
        ],
        cwd=PROJECT,
        env=os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
    )
    OUTPUTS.append(ran.stdout + ran.stderr)
    return ran


def said(ran: subprocess.CompletedProcess[str]) -> str:
    """The output of a run, without the line breaks and indentation that Ansible added."""
    return " ".join((ran.stdout + ran.stderr).split())


def changed(ran: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Host → how many tasks changed something, according to the recap."""
    counts = re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+)", ran.stdout, re.MULTILINE)
    return {host: int(count) for host, count in counts}
