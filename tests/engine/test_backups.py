"""Backups by the real restic: what comes back, and what is said where it cannot."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from wharfinger.host.backup import backup as backups
from wharfinger.host.backup import catalog, links
from wharfinger.host.backup import restore as restores
from wharfinger.host.contents import reports
from wharfinger.host.system.errors import HostError
from wharfinger.host.system.lock import is_held, locked

from .registries_on_disk import HOSTNAME, Machine, backed_up, damaged, files, filled, tree_of, write


def test_what_was_backed_up_comes_back_as_it_was(machine: Machine) -> None:
    first, second = machine("first"), machine("second")
    tree = filled(first)
    answer = backed_up(first)
    assert (answer["tags"], answer["manifests"]) == (13, 15)
    restored = restores.restore(second, {}, False)
    assert restored["tags"] == 13
    assert files(tree_of(second)) == files(tree)
    assert second.paths.http_secret.read_text() == "secret"
    assert [path.name for path in tree_of(second).path.iterdir()] == ["docker"]


def test_an_index_without_some_platforms_comes_back_as_it_was(machine: Machine) -> None:
    first, second = machine("first"), machine("second")
    tree = filled(first)
    tree.sparse("base/app", tag="13")
    answer = backed_up(first)
    assert (answer["tags"], answer["manifests"]) == (14, 17)
    restores.restore(second, {}, False)
    assert files(tree_of(second)) == files(tree)


def test_the_second_backup_adds_next_to_nothing_and_older_ones_go(machine: Machine) -> None:
    host = machine("first")
    filled(host)
    sizes = [backed_up(host)["added"] for _ in range(3)]
    assert sizes[1] < sizes[0] / 10
    rows = catalog.backups(host, {}, False)["snapshots"]
    assert len(rows) == 2
    assert [row["hostname"] for row in rows] == [HOSTNAME] * 2
    report = reports.last_report(host, "backup")
    assert report is not None
    assert report["ok"]
    assert rows[-1]["id"] == report["snapshot"]


def test_what_is_in_a_backup_is_listed_by_repository(machine: Machine) -> None:
    host = machine("first")
    filled(host)
    snapshot = backed_up(host)["snapshot"]
    listed = catalog.in_words(catalog.backups(host, {}, False)).splitlines()
    assert [line.split()[0] for line in listed] == [snapshot, "what"]
    answer = catalog.backups(host, {"snapshot": "latest"}, False)
    assert [row["id"] for row in answer["snapshots"]] == [snapshot]
    repositories = answer["repositories"]
    assert sum(row["tags"] for row in repositories) == 13
    assert sum(row["manifests"] for row in repositories) == 15
    first = repositories[0]
    said = catalog.in_words(answer).splitlines()
    assert said[1].split() == ["repository", "tags", "manifests", "layers"]
    assert said[2].split() == [str(first[key]) for key in ("name", "tags", "manifests", "layers")]
    with pytest.raises(HostError, match="the repository has no such backup"):
        catalog.backups(host, {"snapshot": "0123abcd"}, False)


def test_a_snapshot_is_restored_by_its_id(machine: Machine) -> None:
    first, second = machine("first"), machine("second")
    tree = filled(first)
    older = backed_up(first)["snapshot"]
    before = files(tree)
    tree.image("team/app0", "a later one", tag="later")
    backed_up(first)
    restores.restore(second, {"snapshot": older}, False)
    assert files(tree_of(second)) == before


@pytest.mark.parametrize("wanted", ["0123abcd", "latest; rm", "../latest"])
def test_an_unknown_snapshot_is_named(machine: Machine, wanted: str) -> None:
    first, second = machine("first"), machine("second")
    filled(first)
    known = backed_up(first)["snapshot"]
    with pytest.raises(HostError) as refused:
        restores.restore(second, {"snapshot": wanted}, False)
    expected = {
        "0123abcd": "snapshot=0123abcd: the repository has no such backup of "
        f"{HOSTNAME}; the latest are: {known}"
    }
    said = f"snapshot={wanted}: write latest, or an id that `wharfinger-host backups` shows"
    assert str(refused.value) == expected.get(wanted, said)


def test_another_password_is_told_and_makes_no_second_repository(machine: Machine) -> None:
    first, second = machine("first"), machine("second")
    filled(first)
    backed_up(first)
    write(second, "password", "another one")
    for act in (backups.repository, backups.backup):
        with pytest.raises(HostError, match="was made with another password than this host has"):
            act(second, {}, False)
    with pytest.raises(HostError) as refused:
        request = {"absent": True, "password_file": "credentials/x-backup_password"}
        backups.repository(second, request, False)
    assert str(refused.value) == (
        "backup_repository: a repository is there already, and this controller does not have its "
        "password: bring credentials/x-backup_password from the controller that made it, or write "
        "its password as backup_password"
    )


def test_no_repository_is_told_and_none_is_made_by_a_backup(machine: Machine) -> None:
    host = machine("first")
    filled(host)
    with pytest.raises(HostError) as refused:
        backups.backup(host, {}, False)
    place = host.paths.etc.parent.parent / "repository"
    assert str(refused.value) == (
        f"backup_repository: there is no repository at {place} yet: run site.yml, which makes it"
    )
    assert not place.exists()
    request = {"absent": True, "password_file": "x"}
    assert backups.repository(host, request, False) == {"actions": []}


def test_a_damaged_blob_is_named_and_no_tag_leads_to_it(machine: Machine, tmp_path: Path) -> None:
    first, second = machine("first"), machine("second")
    tree = filled(first)
    layer = os.urandom(200_000)
    broken = tree.image("team/large", "large", tag="broken", layers=[layer])
    digest = "sha256:" + next(
        path.parent.name
        for path in tree.root.glob("blobs/sha256/*/*/data")
        if path.stat().st_size == len(layer)
    )
    backed_up(first)
    damaged(tmp_path / "repository")
    with pytest.raises(HostError) as refused:
        restores.restore(second, {}, False)
    lines = str(refused.value).splitlines()
    assert "missing or damaged in the repository" in lines[0]
    assert digest in lines
    assert "tags left out: team/large:broken" in lines
    restored = tree_of(second)
    assert not restored.blob_path(digest).exists()
    assert not restored.revision_path("team/large", broken).exists()
    assert restored.tag_path("team/app0", "v0").exists()


def test_a_restore_that_was_cut_off_goes_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = machine("first"), machine("second")
    tree = filled(first)
    snapshot = backed_up(first)["snapshot"]

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(links, "write_all", cut_off)
        with pytest.raises(KeyboardInterrupt):
            restores.restore(second, {}, False)
    assert not (tree_of(second).root / "repositories").exists()
    backed_up(first)
    with pytest.raises(HostError) as refused:
        restores.restore(second, {}, False)
    assert f"end it with -e snapshot={snapshot}" in str(refused.value)
    restores.restore(second, {"snapshot": snapshot}, False)
    assert files(tree_of(second)) == files(tree)


def test_nothing_that_is_there_is_overwritten(machine: Machine) -> None:
    first, second = machine("first"), machine("second")
    filled(first)
    backed_up(first)
    tree_of(second).image("app", "mine", tag="latest")
    with pytest.raises(HostError, match="holds repositories already: move them away first"):
        restores.restore(second, {}, False)


def restic_of(process: int) -> bool:
    """Whether this process has started a restic that runs."""
    found = subprocess.run(["pgrep", "--full", "--parent", str(process), "restic"])
    return found.returncode == 0


def test_a_backup_that_is_killed_leaves_no_snapshot_and_frees_its_locks(
    machine: Machine, tmp_path: Path
) -> None:
    host = machine("first")
    tree = filled(host)
    backups.repository(host, {}, False)
    tree.blob(os.urandom(40_000_000))
    # As slow as a line to another town.
    settings = json.loads((host.paths.backup / "settings.json").read_text())
    write(host, "settings.json", json.dumps(settings | {"rate": 1_000_000}))
    program = (
        "from pathlib import Path; from wharfinger.host.system.context import Host; "
        "from wharfinger.host.system.paths import Paths; "
        "from wharfinger.host.backup.backup import backup; "
        f"backup(Host.real(Paths(etc=Path({str(host.paths.etc)!r}), "
        f"var=Path({str(host.paths.var)!r}))), {{}}, False)"
    )
    command = [str(Path(".venv/bin/python").resolve()), "-c", program]
    with subprocess.Popen(command, start_new_session=True) as process:
        deadline = time.monotonic() + 180
        # It writes this file just before it starts the restic that uploads.
        while not ((host.paths.backup_work / "files").exists() and restic_of(process.pid)):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        assert is_held(host.paths.blobs_lock)
        process.kill()
        process.wait()
        # restic goes on, so what keeps a collection out does too.
        assert is_held(host.paths.blobs_lock)
        os.killpg(process.pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while is_held(host.paths.blobs_lock) and time.monotonic() < deadline:
            time.sleep(0.1)
    assert not is_held(host.paths.blobs_lock)
    assert catalog.backups(host, {}, False)["snapshots"] == []
    write(host, "settings.json", json.dumps(settings))
    assert backups.backup(host, {}, False)["tags"] == 13


def test_a_backup_makes_way_for_a_collection_where_the_disk_is_full(machine: Machine) -> None:
    host = machine("first")
    tree = filled(host)
    backups.repository(host, {}, False)
    tree.blob(os.urandom(40_000_000))
    settings = json.loads((host.paths.backup / "settings.json").read_text())
    # As slow as a line to another town; and no disk has so much room.
    slow = settings | {"rate": 1_000_000, "free_minimum": 1 << 60}
    write(host, "settings.json", json.dumps(slow))
    with locked(host.paths.collection_waits, "collect", 5), pytest.raises(HostError) as told:
        backups.backup(host, {}, False)
    assert re.fullmatch(
        r"backup: it made way for a garbage collection, since the storage has only \d+ MiB left "
        r"\(storage_free_minimum\): the next backup goes on",
        str(told.value),
    )
    # A collection can begin, and nothing half-made is left.
    assert not is_held(host.paths.blobs_lock)
    assert catalog.backups(host, {}, False)["snapshots"] == []
    # Where nobody waits, the same disk is no reason.
    write(host, "settings.json", json.dumps(settings | {"free_minimum": 1 << 60}))
    assert backups.backup(host, {}, False)["tags"] == 13
