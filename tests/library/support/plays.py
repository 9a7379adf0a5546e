"""Playbooks run on a scenario's hosts by its tests, as an operator would."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from support import hosts

PROJECT = Path(__file__).resolve().parents[3]
#: What every run has said.
OUTPUTS: list[str] = []


def play(playbook: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a playbook (by its path in the project, without .yml), and keeps what it says."""
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
    """What the run has said, without the line breaks and indentation that it was given."""
    return " ".join((ran.stdout + ran.stderr).split())


def changed(ran: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Host → how many tasks have changed something, by the recap."""
    counts = re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+)", ran.stdout, re.MULTILINE)
    return {host: int(count) for host, count in counts}
