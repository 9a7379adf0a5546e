"""Backups while clients push and delete: frozen, killed, beside a change of users and a revocation.

The tests run in the order in which they are written; the same clients work through all of them.
"""

from __future__ import annotations

import json
import os
import random
import time
from typing import Any

import jwt
import pytest

from load import Load
from load.backups import PHASES, BackedUp
from load.site import edit_users
from support import hosts
from support.amount import FULL
from support.registry import Registry, digest
from support.waiting import enough

PLAYBOOK = "playbooks/backup.yml"
ROTATE = "playbooks/rotate_certificates.yml"
SCOPE = "repository:load/stable:pull"
REPOSITORIES = "/var/lib/wharfinger/registry/docker/registry/v2/repositories"
NEWEST = "due/app/_manifests/tags/3"
DELETED = "deleted/app"
VICTIMS = ("unit", "restic", "host program")
MIB = 1 << 20


@pytest.fixture(scope="module")
def registry(first: BackedUp) -> Registry:
    return hosts.registry(first.name)


@pytest.fixture(scope="module", autouse=True)
def content(first: BackedUp, registry: Registry, loaded: Load) -> None:
    """What the tests of both hosts examine. A backup of it lasts for seconds, by backup_rate."""
    admin = hosts.account("admin")
    for number in range(3):
        pushed = registry.push(admin, "team/large", str(number), os.urandom(8 * MIB))
        assert pushed.status == 201
    for number in range(2 * len(PHASES) + 4):
        assert registry.push(admin, DELETED, str(number), os.urandom(64)).status == 201
    for tag in ("1", "2", "3", "moved", "moved"):
        assert registry.push(admin, "due/app", tag, os.urandom(64)).status == 201
    # For a month nothing has needed the manifest that lost its tag.
    first.machine.check_output(
        f"find {REPOSITORIES}/due -exec touch --no-create --date='31 days ago' {{}} +"
    )
    # The newest tag, which the rule for these repositories keeps.
    first.machine.check_output(
        f"touch --no-create --date='30 days ago' {REPOSITORIES}/{NEWEST}/current/link"
    )


def served(loaded: Load, phase: str) -> None:
    """Clients worked during the phase, or just after a short one, and nothing failed."""
    enough(lambda: len(loaded.operations(phase)))
    assert [(operation.kind, operation.error) for operation in loaded.failures(phase)] == []


def stolen(first: BackedUp, registry: Registry) -> str:
    """A token that a thief of today's signing key makes for an hour."""
    key = first.machine.file("/etc/wharfinger/certificates/signing.key").content_string
    genuine = registry.token(hosts.account("admin"), SCOPE)
    claims: dict[str, Any] = jwt.decode(genuine, options={"verify_signature": False})
    header = jwt.get_unverified_header(genuine)
    return jwt.encode(claims | {"exp": int(time.time()) + 3600}, key, header["alg"], header)


def pulls(registry: Registry, token: str) -> int:
    """The status of a pull with a token."""
    headers = {"Authorization": f"Bearer {token}"}
    return registry.request("GET", "/v2/load/stable/tags/list", headers=headers).status


def test_the_password_is_beside_the_inventory_and_for_root_only(first: BackedUp) -> None:
    name = f"{first.name}.wharfinger.test-backup_password"
    file = hosts.inventory_file().parent / "credentials" / name
    assert file.stat().st_mode & 0o777 == 0o600
    kept = first.machine.file("/etc/wharfinger/backup/password")
    assert kept.content_string == file.read_text()
    assert (kept.user, kept.mode) == ("root", 0o600)
    assert first.machine.file("/etc/wharfinger/backup").mode == 0o700


def test_a_backup_under_load(first: BackedUp, loaded: Load) -> None:
    loaded.phase("first backup")
    assert "manifests" in first.operator.play(PLAYBOOK).said
    served(loaded, "first backup")
    assert first.report()["snapshot"] in first.snapshots()


def test_killed_backups_leave_no_snapshot(first: BackedUp, loaded: Load, kept: Any) -> None:
    loaded.phase("killed backups")
    lasts = float(first.report()["seconds"])
    # Each lasts as long as the first: it has to send this again.
    registry, admin = hosts.registry(first.name), hosts.account("admin")
    assert registry.push(admin, "team/large", "new", os.urandom(24 * MIB)).status == 201
    for number in range(20 if FULL else 4):
        victim = VICTIMS[number % len(VICTIMS)]
        before = first.snapshots()
        first.begin()
        moment = random.uniform(0, lasts)
        time.sleep(moment)
        first.kill(victim)
        first.ended()
        new = set(first.snapshots()) - set(before)
        kept.kills.append((victim, f"{moment:.1f}", ", ".join(new) or "none"))
        report = first.report()
        if report["ok"]:
            # There was nothing to kill yet, or nothing any more.
            assert new == {report["snapshot"]}
        else:
            # The kill, and not what an earlier one has left. One that had its snapshot was only
            # removing older ones.
            assert "SIGKILL" in report["problem"] or victim == "restic", report["problem"]
            assert len(new) <= 1
    served(loaded, "killed backups")


def test_a_removal_of_old_snapshots_that_is_killed_leaves_a_lock_for_the_next(
    first: BackedUp, loaded: Load
) -> None:
    loaded.phase("killed removal")
    first.begin()
    first.kill_removal()
    first.ended()
    assert len(first.locks()) == 1
    first.operator.play(PLAYBOOK)
    served(loaded, "killed removal")
    assert first.locks() == []


def test_what_clients_delete_during_a_backup_leaves_it_closed(
    first: BackedUp, registry: Registry, loaded: Load
) -> None:
    loaded.phase("deletions")
    admin = hosts.account("admin")
    tags = iter(range(2 * len(PHASES) + 4))

    def delete() -> None:
        """A tag goes, and the manifest of another one."""
        assert registry.delete(admin, DELETED, str(next(tags))).status == 202
        manifest = registry.pull(admin, DELETED, str(next(tags)))
        assert registry.delete(admin, DELETED, digest(manifest.body)).status == 202

    with first.stopping(DELETED):
        run = first.operator.begin(PLAYBOOK)
        for phase in PHASES:
            with first.stopped_before(phase):
                delete()
        with first.frozen():
            delete()
        done = run.wait()
    assert done.code == 0, done.output
    served(loaded, "deletions")
    assert first.open_ends() == []


def test_users_and_a_revocation_do_not_wait_for_a_backup(
    first: BackedUp, registry: Registry, loaded: Load, kept: Any
) -> None:
    admin = hosts.account("admin")
    loaded.phase("last backup")
    layer = b"a layer that must survive its host"
    pushed = registry.push(admin, "team/app", "latest", layer)
    kept.survivor = digest(layer)
    kept.pushed = [*loaded.pushed(), f"team/app@{pushed.headers['docker-content-digest']}"]
    kept.tokens["revoked"] = stolen(first, registry)
    assert pulls(registry, kept.tokens["revoked"]) == 200
    password = first.machine.file("/etc/wharfinger/backup/password").content_string.strip()
    run = first.operator.begin(PLAYBOOK)
    with first.frozen():
        for arguments in first.processes().values():
            assert password not in " ".join(arguments)
        edit_users()
        first.operator.play("playbooks/users.yml")
        assert registry.login(hosts.account("newcomer")) == 200
        # A revocation refuses the tokens of all clients, so the load ends before.
        served(loaded, "last backup")
        loaded.stop()
        first.operator.play(ROTATE, rotate="signing", revoke=True)
        assert pulls(registry, kept.tokens["revoked"]) == 401
        assert first.is_running()
    done = run.wait()
    assert done.code == 0, done.output
    kept.tokens["used"] = stolen(first, registry)
    assert pulls(registry, kept.tokens["used"]) == 200


def test_a_drill_proves_that_the_newest_backup_could_be_restored(first: BackedUp) -> None:
    said = first.operator.play("playbooks/backup_drill.yml").said
    assert "tags restored, served and compared" in said
    status = json.loads(first.machine.check_output("wharfinger-host status --json"))
    assert status["contents"]["drill"]["ok"]
    assert status["recovery"]["rpo_seconds"] >= 0
    assert status["recovery"]["rto_seconds"] > 0


def test_nothing_is_left_over(first: BackedUp) -> None:
    assert len(first.snapshots()) == 2
    assert first.open_ends() == []
    assert first.locks() == []
    # Nothing of the killed ones either: what no snapshot needs is removed with an older one.
    checked = first.restic("check")
    assert "no errors were found" in checked
    assert "additional files" not in checked
    work = first.machine.check_output("ls /var/lib/wharfinger/backup")
    kept = {"about.json", "cache", "drill.json", "files", "list.jsonl", "newest.json"}
    assert set(work.split()) == kept | {"repository.json"}
    assert first.machine.check_output("find /tmp -name 'restic-*'") == ""
    assert not any(arguments[:1] == ["restic"] for arguments in first.processes().values())


def test_no_request_failed_while_backing_up(loaded: Load) -> None:
    report = loaded.report("steady")
    assert report["requests"] > 200
    assert report["failed"] == 0, report["failures"]
