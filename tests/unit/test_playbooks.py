"""What playbooks say before they reach any host: run by the real ansible-playbook."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]


def play(playbook: str, inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory)),
            *(f"playbooks/{playbook}", *arguments),
        ],
        cwd=PROJECT,
        env=os.environ | {"NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("groups", [{}, {"clients": {"hosts": {}}}], ids=["no group", "no host"])
def test_trust_without_clients_fails_and_says_where_to_write_them(
    tmp_path: Path, groups: dict[str, object]
) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"registry": {"hosts": {"one.test": None}}} | groups))
    ran = play("trust.yml", inventory, "-e", "client_trust_registry=one.test")
    assert ran.returncode == 2
    assert (
        "clients: no host is in this group, so nobody was made to trust the registry: write the "
        "machines that shall trust it into hosts.yml as the hosts of a group clients."
    ) in " ".join(ran.stdout.split())
    assert "one.test" not in ran.stdout


def test_trust_with_clients_goes_on_to_its_role(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"clients": {"hosts": {"client.test": None}}}))
    ran = play("trust.yml", inventory)
    assert ran.returncode == 2
    assert "client_trust_registry: '': write the registry's address" in ran.stdout
