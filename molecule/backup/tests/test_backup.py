"""Backups while clients push, and a bare host that becomes the registry again."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from load import Account, Load, Target
from load.plays import Operator
from support import hosts
from support.amount import PACE
from support.registry import Registry, digest
from support.waiting import enough

FIRST, SECOND = "debian12", "debian13"
HOSTNAME = f"{FIRST}.wharfinger.test"
LAYER = b"a layer that must survive its host"


@pytest.fixture(scope="module")
def authority() -> Path:
    """The authority that clients trusted before anything happened."""
    return Path(hosts.authority(FIRST))


@pytest.fixture(scope="module")
def operator() -> Operator:
    return Operator(hosts.inventory_file().parent, FIRST)


def registry(name: str) -> Registry:
    """The registry on a host, for clients that know what they always knew."""
    address = hosts.variables(name)["ansible_host"]
    return Registry(HOSTNAME, address, str(hosts.authority(FIRST)))


def new_load(name: str, authority: Path) -> Load:
    """Clients of the registry on a host."""
    admin = hosts.account("admin")
    target = Target(HOSTNAME, hosts.variables(name)["ansible_host"])
    return Load(target, Account(admin.name, admin.password), authority, 60, PACE)


@pytest.fixture(scope="module")
def pushed() -> list[str]:
    """What clients had pushed, and were told so, before the last backup began."""
    return []


def test_the_password_is_beside_the_inventory_and_nowhere_else() -> None:
    file = hosts.inventory_file().parent / "credentials" / f"{HOSTNAME}-backup_password"
    assert file.stat().st_mode & 0o777 == 0o600
    machine = hosts.host(FIRST)
    kept = machine.file("/etc/wharfinger/backup/password")
    assert kept.content_string == file.read_text()
    assert (kept.user, kept.mode) == ("root", 0o600)
    assert machine.file("/etc/wharfinger/backup").mode == 0o700


def test_backups_while_clients_push(operator: Operator, authority: Path, pushed: list[str]) -> None:
    someuser = hosts.account("someuser")
    assert registry(FIRST).push(someuser, "someuser/app", "latest", LAYER).status == 201
    with new_load(FIRST, authority) as load:
        for number in range(3):
            phase = f"backup {number + 1}"
            load.phase(phase)
            pushed[:] = load.pushed()
            assert "manifests" in operator.play("playbooks/backup.yml").said
            enough(lambda phase=phase: len(load.operations(phase)))
            assert load.failures(phase) == []
    assert pushed
    machine = hosts.host(FIRST)
    rows = machine.check_output("wharfinger-host backups").splitlines()
    assert len(rows) == 3


def test_a_drill_proves_that_the_newest_backup_could_be_restored(operator: Operator) -> None:
    assert "tags restored, served and compared" in operator.play("playbooks/backup_drill.yml").said
    status = json.loads(hosts.host(FIRST).check_output("wharfinger-host status --json"))
    assert status["contents"]["drill"]["ok"]
    assert status["recovery"]["rpo_seconds"] >= 0
    assert status["recovery"]["rto_seconds"] > 0


def test_no_secret_is_in_the_arguments_of_restic() -> None:
    machine = hosts.host(FIRST)
    password = machine.file("/etc/wharfinger/backup/password").content_string.strip()
    machine.run("systemctl start --no-block wharfinger-contents@backup.service")
    seen = ""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and "restic" not in seen:
        seen = machine.check_output("ps -eo args | grep [r]estic || true")
    assert "restic" in seen
    assert password not in seen


def test_a_bare_host_becomes_this_registry(
    tmp_path_factory: pytest.TempPathFactory, authority: Path, pushed: list[str]
) -> None:
    first = hosts.host(FIRST)
    users = first.file("/var/lib/wharfinger/users.json").content_string
    signing = first.file("/etc/wharfinger/certificates/signing.crt").content_string
    for unit in ("nginx", "docker.socket", "docker", "cron"):
        first.run(f"systemctl stop {unit}")
    # The same inventory, in which the registry's host has another address.
    folder = tmp_path_factory.mktemp("inventory")
    for name in ("group_vars", "credentials"):
        (folder / name).symlink_to((hosts.inventory_file().parent / name).resolve())
    moved = {"registry": {"hosts": {FIRST: hosts.variables(SECOND)}}}
    (folder / "hosts.yml").write_text(json.dumps(moved))
    operator = Operator(folder, FIRST)
    restored = operator.play("playbooks/restore.yml")
    assert "snapshot" in restored.said
    second = hosts.host(SECOND)
    assert json.loads(second.file("/var/lib/wharfinger/users.json").content_string) == json.loads(
        users
    )
    # Tokens of the host that is gone are worth nothing: its signing key never comes back.
    assert second.file("/etc/wharfinger/certificates/signing.crt").content_string != signing
    layer = digest(LAYER)
    pulled = registry(SECOND).blob(hosts.account("someuser"), "someuser/app", layer)
    assert pulled.status == 200
    assert operator.play("site.yml").changed == 0
    assert new_load(SECOND, authority).lost(pushed) == []


def test_what_the_backup_held_is_what_the_registry_holds() -> None:
    second = hosts.host(SECOND)
    answer: dict[str, Any] = json.loads(
        second.check_output("wharfinger-host check_contents --json")
    )
    assert answer["damage"] == []
