"""Drills by the real restic and a real registry: what they prove, find and leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from support.storage_tree import Tree
from wharfinger.host.backup import backup as backups
from wharfinger.host.backup import drill as drills
from wharfinger.host.backup import recovery
from wharfinger.host.backup.drill_leftovers import clean_up, container_name
from wharfinger.host.contents import reports
from wharfinger.host.system.context import Host
from wharfinger.host.system.errors import HostError
from wharfinger.host.system.lock import is_held, locked
from wharfinger.host.system.state import SERVING, Generation

from .stack import HOSTNAME, PROJECT, Stack

# Runs a drill in a process of its own, which a test can kill.
DRILL = """
import sys
from pathlib import Path
from tests.engine.stack import host_at
from wharfinger.host.backup.drill import drill
drill(host_at(Path(sys.argv[1])), {}, False)
"""


@pytest.fixture
def host(stack: Stack, tmp_path: Path) -> Host:
    """A host with backups in a directory, and a registry on record: its image is what counts."""
    host = stack.host
    host.registry_id = 64500
    spec = stack.registry_spec()
    directory = host.paths.generations / "registry" / "1"
    directory.mkdir(parents=True)
    (directory / "spec.json").write_text(json.dumps(spec))
    state = host.store.load()
    state.kind("registry").generations.append(
        Generation(1, "a", "192.0.2.2", 5000, "", spec["image"], SERVING, 0.0)
    )
    host.store.save(state)
    (host.paths.backup / "repository").write_text(str(tmp_path / "repository"))
    (host.paths.backup / "password").write_text("the right one")
    configure(host)
    return host


def configure(host: Host, **more: Any) -> None:
    settings = {
        "hostname": HOSTNAME,
        "storage_path": str(storage_of(host)),
        "keep": {"last": 2},
        "rate": 0,
        "free_minimum": 0,
        "version": "0.1.0",
        "drill_size": 1 << 30,
    }
    (host.paths.backup / "settings.json").write_text(json.dumps(settings | more))


def storage_of(host: Host) -> Path:
    return host.paths.etc.parent / "storage"


def filled(host: Host) -> Tree:
    """Twelve images, an index of two, and one that is an index of layers, as build caches are."""
    tree = Tree(storage_of(host))
    for number in range(12):
        tree.image(f"team/app{number % 3}", f"image {number}", tag=f"v{number}", age=number * 100)
    members = [tree.image("team/index", name) for name in ("amd64", "arm64")]
    tree.index("team/index", members, tag="latest", age=7)
    tree.cache("team/cache", [b"one layer", b"another layer"], tag="main", age=50)
    return tree


def backed_up(host: Host) -> str:
    backups.repository(host, {}, False)
    return str(backups.backup(host, {}, False)["snapshot"])[:8]


def report(host: Host) -> dict[str, Any]:
    newest = reports.last_report(host, "drill")
    assert newest is not None
    return newest


def nothing_is_left(host: Host) -> bool:
    return (
        not (storage_of(host) / ".wharfinger-drill").exists()
        and not host.paths.drill_sockets.exists()
        and host.engine.inspect(container_name(host)) is None
    )


def flipped(pack: Path) -> None:
    """One byte in the middle of a pack is another one."""
    pack.chmod(0o600)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)


def largest_pack(host: Host) -> Path:
    packs = (host.paths.etc.parent / "repository").glob("data/*/*")
    return max(packs, key=lambda path: path.stat().st_size)


def test_a_whole_backup_passes_with_numbers_and_leaves_nothing(host: Host) -> None:
    filled(host)
    snapshot = backed_up(host)
    answer = drills.drill(host, {}, False)
    assert answer["actions"] == [
        f"snapshot {snapshot}: 14 of 14 tags restored and compared, part 1 of 12 of the repository "
        "read"
    ]
    # Each image has a config and a layer; the cache has a description and two layers.
    assert (answer["manifests"], answer["blobs"]) == (12 + 3 + 1, 14 * 2 + 3)
    assert answer["bytes"] > 0
    assert nothing_is_left(host)
    # The next one reads the next part.
    assert drills.drill(host, {}, False)["turn"] == 2
    facts = recovery.look(host)
    assert facts is not None
    assert facts["snapshot"] == snapshot
    assert facts["restore_speed"] > 0


def test_an_index_without_some_platforms_passes_with_what_is_there(host: Host) -> None:
    Tree(storage_of(host)).sparse("base/app", tag="13")
    snapshot = backed_up(host)
    answer = drills.drill(host, {}, False)
    assert answer["actions"] == [
        f"snapshot {snapshot}: 1 of 1 tags restored and compared, part 1 of 12 of the repository "
        "read"
    ]
    assert (answer["manifests"], answer["blobs"]) == (2, 2)


def test_a_sample_is_no_larger_than_it_may_be(host: Host) -> None:
    tree = filled(host)
    tree.image("team/large", "large", tag="v1", age=-5, layers=[os.urandom(3_000_000)])
    backed_up(host)
    configure(host, drill_size=1 << 20)
    answer = drills.drill(host, {}, False)
    assert answer["sample"] == 14
    assert answer["bytes"] < 1 << 20
    configure(host, drill_size=100)
    with pytest.raises(HostError) as refused:
        drills.drill(host, {}, False)
    assert str(refused.value).startswith(
        "drill: none of 15 images fits into 0 MiB, which is backup_drill_size, or half of what is "
        "free above storage_free_minimum; the smallest has 0 MiB: raise backup_drill_size, or make "
        f"room at {storage_of(host)}"
    )
    assert nothing_is_left(host)


def test_without_room_nothing_is_restored(host: Host) -> None:
    filled(host)
    backed_up(host)
    configure(host, free_minimum=1 << 60)
    with pytest.raises(HostError, match=r"has no room to restore a sample: \d+ MiB are free, and "):
        drills.drill(host, {}, False)
    assert not report(host)["ok"]
    assert nothing_is_left(host)


def test_without_a_backup_a_drill_fails(host: Host) -> None:
    filled(host)
    backups.repository(host, {}, False)
    with pytest.raises(HostError) as refused:
        drills.drill(host, {}, False)
    assert str(refused.value) == (
        f"drill: the repository has no backup of {HOSTNAME} yet: run playbooks/backup.yml"
    )


def test_an_empty_registry_passes(host: Host) -> None:
    (storage_of(host) / "docker").mkdir(exist_ok=True)
    backed_up(host)
    assert drills.drill(host, {}, False)["sample"] == 0


def test_a_flipped_byte_is_named_and_the_next_backup_saves_it_again(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drills, "TURNS", 1)
    tree = filled(host)
    layer = os.urandom(200_000)
    tree.image("team/large", "large", tag="v1", layers=[layer])
    digest = tree.blob(layer)
    snapshot = backed_up(host)
    pack = largest_pack(host)
    flipped(pack)
    with pytest.raises(HostError) as failed:
        drills.drill(host, {}, False)
    lines = str(failed.value).splitlines()
    assert lines[0] == f"drill: snapshot {snapshot} could not be restored whole:"
    assert any(line.startswith(f"{digest} of team/large:v1: ") for line in lines)
    assert f"{digest} of team/large: it is damaged" in lines
    assert not any("team/app0" in line for line in lines)
    assert any(pack.name in line for line in lines)
    assert report(host)["problem"] == str(failed.value)
    assert reports.problems(host) == [str(failed.value)]
    assert nothing_is_left(host)
    # docs/backup.md, When a drill fails
    pack.unlink()
    environment = os.environ | {
        "RESTIC_REPOSITORY_FILE": str(host.paths.backup / "repository"),
        "RESTIC_PASSWORD_FILE": str(host.paths.backup / "password"),
    }
    subprocess.run(["restic", "rebuild-index"], env=environment, check=True, capture_output=True)
    # restic 0.14 counts each file that it saves again as an error.
    with pytest.raises(HostError, match="restic backup: "):
        backups.backup(host, {}, False)
    backed_up(host)
    assert drills.drill(host, {}, False)["ok"]


def test_a_damaged_list_is_named(host: Host) -> None:
    filled(host)
    snapshot = backed_up(host)
    for pack in (host.paths.etc.parent / "repository").glob("data/*/*"):
        flipped(pack)
    with pytest.raises(HostError):
        drills.drill(host, {}, False)
    assert snapshot in str(report(host)["problem"]) or "restic" in str(report(host)["problem"])
    assert nothing_is_left(host)


@pytest.mark.parametrize("moment", ["restored", "served", "checked"])
def test_a_drill_that_was_killed_is_cleaned_up_by_the_timer(
    host: Host, tmp_path: Path, moment: str
) -> None:
    filled(host)
    backed_up(host)
    begun = {
        "restored": lambda: (storage_of(host) / ".wharfinger-drill/restored").exists(),
        "served": host.paths.drill_socket.exists,
        "checked": lambda: any((tmp_path / "repository/locks").iterdir()),
    }[moment]
    environment = os.environ | {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests/library'}"}
    command = [sys.executable, "-c", DRILL, str(tmp_path)]
    with subprocess.Popen(command, start_new_session=True, env=environment, cwd=PROJECT) as process:
        deadline = time.monotonic() + 120
        while not begun() and time.monotonic() < deadline:
            time.sleep(0.01)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.killpg(process.pid, signal.SIGKILL)
    # restic does not count a lock as left over while its process is there, if only as a zombie.
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert begun()
    assert not is_held(host.paths.drill_lock)
    assert clean_up(host) == ["drill: what a drill that was cut off had left was removed"]
    assert nothing_is_left(host)
    assert clean_up(host) == []
    backed_up(host)
    assert drills.drill(host, {}, False)["ok"] is not False


def test_a_drill_under_way_is_left_alone(host: Host) -> None:
    (storage_of(host) / ".wharfinger-drill").mkdir()
    with locked(host.paths.drill_lock, "drill", 0):
        assert clean_up(host) == []
    assert (storage_of(host) / ".wharfinger-drill").exists()
