"""Retention, collection and scrub of a storage, with and without read-only maintenance."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from support.storage_tree import DAY, NOW, Tree
from tests.unit.host.world import Killed, Machine, deployed, spec
from wharfinger.host.commands import run
from wharfinger.host.contents import collection, reports, untagged
from wharfinger.host.contents.maintenance import container_name
from wharfinger.host.contents.storage import garbage, removal
from wharfinger.host.contents.storage.layout import Storage
from wharfinger.host.contents.storage.model import Removal
from wharfinger.host.system.context import Host
from wharfinger.host.system.errors import HostError
from wharfinger.host.system.files import write_atomically
from wharfinger.host.system.runner import Result


class World:
    """A deployed host with a storage."""

    def __init__(self, folder: Path) -> None:
        self.tree = Tree(folder / "storage")
        self.machine = Machine(seconds=NOW)
        self.tree.path.mkdir(exist_ok=True)
        mount = {"source": str(self.tree.path), "target": "/data", "read_only": False}
        self.spec = spec(folder, mounts=[mount])
        self.host: Host = deployed(folder, self.machine, mounts=[mount])
        self.settings(
            retention=[{"number": 1, "on": ["^team/[^/]+$"], "newest": 1}], untagged_keep=14 * DAY
        )

    def settings(self, **more: Any) -> None:
        settings = {"storage_path": str(self.tree.path), "gc_max_seconds": 600, **more}
        write_atomically(self.host.paths.contents_settings, json.dumps(settings).encode(), 0o644)

    def tags(self, repository: str) -> list[str]:
        return sorted(
            path.name
            for path in self.tree.tag_path(repository, "x").parent.glob("*")
            if (path / "current/link").exists()
        )

    def collects(self, *blobs: str) -> None:
        """The blobs that the registry's own collection will remove."""

        def collect() -> None:
            for digest in blobs:
                self.tree.blob_path(digest).unlink(missing_ok=True)

        self.machine.collect = collect

    @property
    def closings(self) -> int:
        """How many generations there were beyond the first: two for each maintenance."""
        return self.host.store.load().kind("registry").next - 2


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_retention_removes_what_no_rule_keeps_and_says_what_stays_and_why(world: World) -> None:
    world.tree.image("team/app", "old", tag="v1", age=100)
    world.tree.image("team/app", "new", tag="v2", age=10)
    world.tree.image("other/app", "old", tag="v1", age=100)
    answer = run("retention", {}, host=world.host)
    assert answer["changed"] and answer["removed"] == 1
    assert world.tags("team/app") == ["v2"]
    assert world.tags("other/app") == ["v1"]
    assert world.closings == 2
    report = reports.last_report(world.host, "retention")
    assert report is not None and report["ok"] and report["removed"] == 1
    assert run("retention", {}, host=world.host)["changed"] is False
    assert world.closings == 2  # nothing to remove, so no write was refused


def test_a_tag_that_is_moved_after_the_plan_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tree.image("team/app", "old", tag="v1", age=100)
    world.tree.image("team/app", "new", tag="v2", age=10)
    first = world.host.engine.create

    def create(name: str, definition: Any) -> None:
        # Somebody pushes v1 again while the maintenance begins.
        world.tree.image("team/app", "newest", tag="v1", age=1)
        first(name, definition)

    monkeypatch.setattr(world.host.engine, "create", create)
    run("retention", {}, host=world.host)
    assert world.tags("team/app") == ["v1"]  # the newest one by now


def test_collect_removes_untagged_revisions_and_reports_the_bytes(world: World) -> None:
    old = world.tree.image("team/app", "old", age=20 * DAY)
    young = world.tree.image("team/app", "young", age=DAY)
    world.tree.image("team/app", "now", tag="latest", age=DAY)
    layer = world.tree.blob(b"layer of old")
    world.collects(old, layer)
    size = world.tree.blob_path(old).stat().st_size + len(b"layer of old")
    would = run("collect", {}, host=world.host, check=True)
    assert (would["untagged"], world.closings) == (1, 0)
    answer = run("collect", {}, host=world.host)
    assert (answer["untagged"], answer["blobs"], answer["freed"]) == (1, 2, size)
    assert not world.tree.revision_path("team/app", old).exists()
    assert world.tree.revision_path("team/app", young).exists()
    assert container_name(world.host) not in world.machine.containers
    assert world.closings == 2
    command = world.machine.definitions[container_name(world.host)]["Cmd"]
    assert command == ["garbage-collect", "/etc/distribution/config.yml"]


def test_the_layers_of_a_push_that_goes_on_outlive_a_collection(world: World) -> None:
    layer = world.tree.layer("team/app", b"its first layer")
    folder = world.tree.root / "repositories/team/app/_uploads/one"
    folder.mkdir(parents=True)
    (folder / "data").write_bytes(b"the beginning of its second")
    os.utime(folder / "data", (NOW, NOW))
    assert run("collect", {}, host=world.host)["changed"] is False  # there is no other garbage
    world.collects(world.tree.blob(b"garbage"))
    collect, seen = world.machine.collect, []

    def collecting() -> None:
        seen.append(garbage(Storage(world.tree.path))[0])
        collect()

    world.machine.collect = collecting
    answer = run("collect", {}, host=world.host)
    assert seen == [1]
    assert (answer["blobs"], answer["freed"]) == (1, len(b"garbage"))
    assert world.tree.blob_path(layer).exists()


def test_with_nothing_to_collect_no_write_is_refused(world: World) -> None:
    world.tree.image("team/app", "now", tag="latest")
    answer = run("collect", {}, host=world.host)
    assert (answer["changed"], answer["freed"], world.closings) == (False, 0, 0)


@pytest.mark.parametrize("job", ["retention", "collect"])
def test_a_job_does_nothing_if_another_container_may_write(world: World, job: str) -> None:
    world.tree.image("team/app", "old", tag="v1", age=100)
    world.tree.image("team/app", "new", tag="v2", age=10)
    world.tree.blob(b"garbage")
    world.machine.sharing = ["old-registry"]
    with pytest.raises(HostError) as refused:
        run(job, {}, host=world.host)
    assert str(refused.value) == (
        f"nothing was done: the container old-registry may write into {world.tree.path} too, and "
        "nothing would prevent that meanwhile: stop it, or mount that folder read-only there"
    )
    assert (world.closings, world.tags("team/app")) == (0, ["v1", "v2"])


@pytest.mark.parametrize("job", ["retention", "collect"])
def test_a_registry_that_somebody_stopped_stays_so(world: World, job: str) -> None:
    world.tree.image("team/app", "old", tag="v1", age=100)
    world.tree.image("team/app", "new", tag="v2", age=10)
    world.tree.blob(b"garbage")
    world.host.engine.stop("wharfinger-registry-1", 5)
    with pytest.raises(HostError) as refused:
        run(job, {}, host=world.host)
    assert str(refused.value) == (
        "nothing was done: the container wharfinger-registry-1 does not run, and somebody may have "
        "stopped it to work on the data: start it with `docker start wharfinger-registry-1`, or "
        "run site.yml"
    )
    assert (world.closings, world.tags("team/app")) == (0, ["v1", "v2"])


def test_a_storage_that_is_not_the_registrys_is_left_alone(world: World, tmp_path: Path) -> None:
    other = Tree(tmp_path / "other")
    other.image("team/app", "old", tag="v1", age=100)
    other.image("team/app", "new", tag="v2", age=10)
    rule = {"number": 1, "on": ["^team/[^/]+$"], "newest": 1}
    world.settings(storage_path=str(other.path), retention=[rule])
    with pytest.raises(HostError) as refused:
        run("retention", {}, host=world.host)
    assert str(refused.value) == (
        "nothing was done: the registry that serves has its storage in "
        f"{world.tree.path}, not in {other.path} (storage_path): run the whole site.yml first"
    )
    assert other.tag_path("team/app", "v1").exists()


def test_an_empty_registry_has_nothing_to_collect(world: World) -> None:
    (world.tree.path / "docker").mkdir(parents=True)
    assert run("collect", {}, host=world.host)["changed"] is False


def test_a_collection_without_its_storage_says_so(world: World) -> None:
    with pytest.raises(HostError) as refused:
        run("collect", {}, host=world.host)
    assert str(refused.value) == (
        f"{world.tree.path}/docker is not there: if it is on a file system of its own, mount it "
        "(`mount -a`); if nothing was deployed yet, run site.yml"
    )


def test_a_truncated_manifest_is_reported_before_any_write_is_refused(world: World) -> None:
    digest = world.tree.image("team/app", "broken", tag="v1")
    world.tree.blob(b"garbage")
    path = world.tree.blob_path(digest)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(HostError) as refused:
        run("collect", {}, host=world.host)
    text = str(refused.value)
    assert text.startswith("nothing was collected: a collection would fail on this damage:\n")
    assert f"team/app@{digest}" in text
    assert world.closings == 0
    report = reports.last_report(world.host, "collect")
    assert report is not None and not report["ok"] and report["problem"] == text


UNREADABLE = b'{"schemaVersion": 2, "layers": 5, "layers": null}'


def test_a_manifest_that_the_registry_cannot_read_does_not_stop_the_collection(
    world: World,
) -> None:
    unread = world.tree.manifest("odd/app", UNREADABLE, 20 * DAY)
    kept = world.tree.layer("odd/app", b"perhaps of the unread one")
    old = world.tree.image("odd/app", "old", age=20 * DAY)
    world.collects(world.tree.blob(b"garbage"))
    collect, seen = world.machine.collect, []

    def collecting() -> None:
        seen.append(world.tree.revision_path("odd/app", unread).exists())
        seen.append(garbage(Storage(world.tree.path)))
        collect()

    world.machine.collect = collecting
    answer = run("collect", {}, host=world.host)
    # The collection did not see it, and a manifest named all blobs of its repository.
    assert seen == [False, (1, len(b"garbage"))]
    assert world.tree.revision_path("odd/app", unread).read_text() == unread
    assert world.tree.blob_path(kept).exists()
    assert world.tree.revision_path("odd/app", old).exists()
    assert (answer["blobs"], answer["freed"]) == (1, len(b"garbage"))
    assert [damage["kind"] for damage in answer["damage"]] == ["unread manifest"]
    assert not world.host.paths.aside.exists()
    report = reports.last_report(world.host, "collect")
    assert report is not None and report["ok"]


@pytest.mark.parametrize("command", ["reopen", "ensure"])
def test_files_that_a_killed_collection_put_aside_come_back(world: World, command: str) -> None:
    unread = world.tree.manifest("odd/app", UNREADABLE, 20 * DAY)
    world.tree.blob(b"garbage")

    def killed() -> None:
        assert not world.tree.revision_path("odd/app", unread).exists()
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        # A killed process does not clean up.
        module = sys.modules["wharfinger.host.contents.storage.garbage"]
        patch.setattr(module, "restore", lambda journal: None)
        patch.setattr(collection, "garbage_collect", lambda *_: killed())
        with pytest.raises(Killed):
            run("collect", {}, host=world.host)
    assert world.host.paths.aside.exists()
    request = {"spec": world.spec} if command == "ensure" else {}
    run(command, request, host=world.host)
    assert world.tree.revision_path("odd/app", unread).read_text() == unread
    assert not world.host.paths.aside.exists()


def test_a_damaged_journal_does_not_keep_writes_refused(world: World) -> None:
    world.tree.image("team/app", "now", tag="latest")
    world.tree.blob(b"garbage")
    world.host.paths.aside.write_text("{")
    with pytest.raises(HostError, match="is damaged: rename each file"):
        run("collect", {}, host=world.host)
    assert world.host.store.load().window is None
    assert "DELETE)$" not in world.machine.loaded


def test_a_collection_that_fails_is_reported_with_its_log(world: World) -> None:
    world.tree.blob(b"garbage")
    world.tree.image("team/app", "now", tag="latest")
    world.machine.collection_code = 1
    with pytest.raises(HostError) as refused:
        run("collect", {}, host=world.host)
    assert str(refused.value) == (
        "collect: the registry's garbage-collect ended with exit code 1. The end of its log:\n"
        "configuration: line 3: no such key"
    )
    assert world.host.store.load().window is None
    assert world.closings == 2


def test_a_collection_ends_when_its_time_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tree.blob(b"garbage")
    world.tree.image("team/app", "now", tag="latest")
    start = world.host.engine.start

    def never_ends(name: str) -> None:
        start(name)
        if name == container_name(world.host):
            world.machine.change(name, status="running")

    with monkeypatch.context() as patch, pytest.raises(HostError) as refused:
        patch.setattr(world.host.engine, "start", never_ends)
        run("collect", {}, host=world.host)
    assert str(refused.value) == (
        "collect: it was stopped after registry_gc_max_minutes. What it had removed by then is "
        "gone, and the next run continues. If this happens again, raise registry_gc_max_minutes"
    )
    assert container_name(world.host) not in world.machine.containers
    assert world.host.store.load().window is None
    assert 600 <= world.host.clock.now() - NOW < 700
    report = reports.last_report(world.host, "collect")
    assert report is not None and report["window_seconds"] >= 600
    # That is so long that the next run answers 429 from its beginning.
    seen: list[str] = []
    world.machine.collect = lambda: seen.append(world.machine.loaded)
    run("collect", {}, host=world.host)
    assert "DELETE)$ 429;" in seen[0]


def test_a_slow_disk_does_not_prolong_the_maintenance(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        world.tree.image(f"team/{name}", "old", tag="v1", age=100)
        world.tree.image(f"team/{name}", "new", tag="v2", age=10)
    removed = removal._remove_tags

    def slow(storage: Storage, repository: str, removals: Sequence[Removal]) -> list[str]:
        world.host.clock.sleep(400)
        return removed(storage, repository, removals)

    monkeypatch.setattr(removal, "_remove_tags", slow)
    with pytest.raises(HostError) as refused:
        run("retention", {}, host=world.host)
    assert str(refused.value) == (
        "retention: it was stopped after registry_gc_max_minutes. What it had removed by then is "
        "gone, and the next run continues. If this happens again, raise registry_gc_max_minutes"
    )
    assert [len(world.tags(f"team/{name}")) for name in "abc"] == [1, 1, 2]
    assert world.host.store.load().window is None
    assert world.host.clock.now() - NOW < 900
    assert "429" not in world.machine.loaded
    run("retention", {}, host=world.host)
    assert world.tags("team/c") == ["v2"]


def many(world: World, number: int, kept: int = 1) -> None:
    """`number` tags that the rule does not keep, and `kept` tags in a repository without a rule."""
    digest = world.tree.image("team/app", "old", age=DAY)
    for index in range(number):
        world.tree.tag("team/app", f"old{index}", digest, DAY + index)
    world.tree.image("team/app", "now", tag="latest")
    for index in range(kept):
        world.tree.tag("other/app", f"v{index}", digest, DAY)


def test_the_brake_stops_what_would_take_a_large_share_until_a_person_confirms_it(
    world: World,
) -> None:
    many(world, 60, kept=40)
    words = (
        "60 of 101 tags would go, more than 30 % (registry_brake_percent): team/app 60. See "
        "what would go with playbooks/retention.yml --check; if that is intended, run "
        "playbooks/retention.yml -e confirm_deletions=true"
    )
    dry = run("retention", {}, host=world.host, check=True)
    assert (dry["removed"], dry["held"], dry["doubt"]) == (60, words, "")
    with pytest.raises(HostError) as refused:
        run("retention", {}, host=world.host)
    assert str(refused.value) == (
        f"retention: nothing was removed, because so much would go: {words}"
    )
    assert reports.problems(world.host) == [str(refused.value)]
    assert (world.closings, len(world.tags("team/app"))) == (0, 61)
    # The confirmation is for one run only.
    request = {"confirm_deletions": True}
    assert run("retention", request, host=world.host, check=True)["held"] == ""
    assert run("retention", request, host=world.host)["removed"] == 60
    assert reports.problems(world.host) == []
    many(world, 60, kept=40)
    with pytest.raises(HostError, match="because so much would go"):
        run("retention", {}, host=world.host)


def test_the_brake_of_a_collection_counts_manifests(world: World) -> None:
    for number in range(50):
        world.tree.image("team/app", f"old {number}", age=20 * DAY)
    world.tree.image("team/app", "now", tag="latest")
    words = "50 of 51 manifests would go, more than 30 % (registry_brake_percent): team/app 50."
    assert run("collect", {}, host=world.host, check=True)["held"].startswith(words)
    with pytest.raises(HostError, match=r"garbage_collect\.yml -e confirm_deletions=true"):
        run("collect", {}, host=world.host)
    assert world.closings == 0
    assert run("collect", {"confirm_deletions": True}, host=world.host)["untagged"] == 50


def test_the_brake_also_stops_what_grew_while_the_maintenance_began(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(world, 10, kept=40)
    first = world.host.engine.create

    def create(name: str, definition: Any) -> None:
        many(world, 60, kept=40)
        first(name, definition)

    monkeypatch.setattr(world.host.engine, "create", create)
    with pytest.raises(HostError, match="60 of 101 tags would go"):
        run("retention", {}, host=world.host)
    assert len(world.tags("team/app")) == 61
    assert world.host.store.load().window is None


def test_usual_runs_are_the_measure_and_confirmed_ones_are_not(world: World) -> None:
    world.settings(
        retention=[{"number": 1, "on": ["^team/[^/]+$"], "newest": 1}], brake_percent=100
    )
    many(world, 3)
    run("retention", {}, host=world.host)
    many(world, 60)
    with pytest.raises(HostError, match="more than 10 times as many as any of the last runs"):
        run("retention", {}, host=world.host)
    run("retention", {"confirm_deletions": True}, host=world.host)
    report = reports.last_report(world.host, "retention")
    assert report is not None and report["history"] == [3]
    many(world, 60)
    with pytest.raises(HostError, match=r"any of the last runs \(3 at most\)"):
        run("retention", {}, host=world.host)


def test_a_clock_in_doubt_removes_nothing(world: World) -> None:
    rule = {"number": 1, "on": ["^team/[^/]+$"], "newer_than": 30 * DAY}
    world.settings(retention=[rule], untagged_keep=14 * DAY)
    for number in range(20):
        world.tree.image("team/app", f"v{number}", tag=f"v{number}", age=number)
    world.tree.image("team/app", "old", age=DAY)
    world.tree.blob(b"garbage")
    run("retention", {}, host=world.host)
    for jump in (31 * DAY, 366 * DAY, -40 * DAY):
        world.machine.jumped = jump
        for job in ("retention", "collect"):
            dry = run(job, {}, host=world.host, check=True)
            assert dry["doubt"].startswith("the clock is in doubt: it has jumped")
            with pytest.raises(HostError) as refused:
                run(job, {}, host=world.host)
            assert str(refused.value).startswith(
                f"{job}: nothing was removed: the clock is in doubt: it has jumped"
            )
    assert (world.closings, len(world.tags("team/app"))) == (0, 20)
    # The timer reports the clock itself, as long as it is in doubt.
    assert reports.problems(world.host) == []
    world.machine.jumped = 0
    assert run("retention", {}, host=world.host)["removed"] == 0


def test_an_image_pushed_while_the_clock_was_behind_is_not_old_afterwards(world: World) -> None:
    rule = {"number": 1, "on": ["^team/[^/]+$"], "newest": 1, "newer_than": 14 * DAY}
    world.settings(retention=[rule], untagged_keep=14 * DAY)
    for number in range(3):
        world.tree.image("team/app", f"v{number}", tag=f"v{number}", age=3 * DAY + number)
    run("retention", {}, host=world.host)
    world.machine.jumped = -40 * DAY
    world.machine.seconds += 900
    for job in ("retention", "collect"):
        with pytest.raises(HostError, match="it has jumped 40 days back"):
            run(job, {}, host=world.host)
    world.tree.image("team/app", "meanwhile", tag="meanwhile", age=40 * DAY - 500)
    untagged = world.tree.image("team/app", "untagged", age=40 * DAY - 500)
    world.machine.seconds += 900
    world.machine.jumped, world.machine.synchronised = 0, True
    assert run("retention", {}, host=world.host)["removed"] == 0
    run("collect", {}, host=world.host)
    assert world.tags("team/app") == ["meanwhile", "v0", "v1", "v2"]
    assert world.tree.revision_path("team/app", untagged).exists()
    # It ages from then on.
    world.machine.seconds += 15 * DAY
    run("retention", {}, host=world.host)
    assert world.tags("team/app") == ["meanwhile"]


def test_a_tag_removed_at_three_keeps_its_blobs_at_half_past(world: World) -> None:
    world.settings(retention=[{"number": 1, "on": [".*"], "newest": 1}], untagged_keep=14 * DAY)
    old = world.tree.image("team/app", "old", tag="v1", age=90 * DAY)
    world.tree.image("team/app", "new", tag="v2", age=80 * DAY)
    untagged.note_untagged(world.host)
    assert run("retention", {}, host=world.host)["removed"] == 1
    world.tree.changed("team/app", 0)
    world.machine.seconds = NOW + 1800
    untagged.note_untagged(world.host)
    assert run("collect", {}, host=world.host)["untagged"] == 0
    # Tags come every day.
    for day in range(1, 14):
        world.tree.tag("team/app", f"day{day}", old, -day * DAY)
        world.tree.changed("team/app", -day * DAY)
    assert world.tree.revision_path("team/app", old).exists()
    # A full disk is freed at once nevertheless.
    world.tree.tag_path("team/app", "v2")
    world.settings(retention=[], untagged_keep=3600)
    removed = world.tree.image("other/app", "other", age=2 * 3600)
    assert run("collect", {}, host=world.host)["untagged"] == 1
    assert not world.tree.revision_path("other/app", removed).exists()


def test_layers_that_wait_for_their_manifest_are_not_garbage(world: World) -> None:
    world.tree.image("team/app", "now", tag="latest")
    layer = world.tree.layer("team/app", b"of a push")
    assert run("collect", {}, host=world.host, check=True)["blobs"] == 0
    assert run("collect", {}, host=world.host)["changed"] is False
    orphan = world.tree.blob(b"nobody's")
    seen: list[int] = []

    def collect() -> None:
        seen.append(garbage(Storage(world.tree.path))[0])
        world.tree.blob_path(orphan).unlink()

    world.machine.collect = collect
    assert run("collect", {}, host=world.host)["blobs"] == 1
    assert seen == [1]
    assert world.tree.blob_path(layer).exists()
    assert len(list(Storage(world.tree.path).revisions("team/app"))) == 1


def test_the_timer_notes_what_has_no_tag(world: World) -> None:
    digest = world.tree.image("team/app", "old", age=90 * DAY)
    untagged.note_untagged(world.host)
    notes = json.loads(world.host.paths.untagged.read_bytes())
    assert notes["team/app"]["seen"] == {digest: [NOW, NOW - 90 * DAY]}
    assert world.host.paths.untagged.stat().st_mode & 0o777 == 0o600
    before = world.host.paths.untagged.stat().st_mtime_ns
    world.machine.seconds += 900
    untagged.note_untagged(world.host)
    assert world.host.paths.untagged.stat().st_mtime_ns == before
    # Nothing is there yet, or was deployed by an earlier version: nothing to note.
    (world.tree.path / "docker").rename(world.tree.path / "away")
    untagged.note_untagged(world.host)
    world.host.paths.contents_settings.unlink()
    untagged.note_untagged(world.host)


def test_a_week_off_and_a_clock_without_a_time_server_hinder_nothing(world: World) -> None:
    world.tree.image("team/app", "old", tag="v1", age=100)
    world.tree.image("team/app", "new", tag="v2", age=10)
    run("collect", {}, host=world.host)
    world.machine.seconds += 7 * DAY
    world.machine.boot = "second"
    assert run("retention", {}, host=world.host)["removed"] == 1
    assert reports.problems(world.host) == []


def test_a_confirmation_reaches_the_run_in_another_process(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(world, 60, kept=40)
    runner = world.host.runner

    def started(command: list[str], **_: Any) -> Result:
        if command[0] == "setsid":
            run("retention", {}, host=world.host)
        return Result(0, "", "")

    # No other process is started: the job runs here, as its unit would run it.
    monkeypatch.setattr(runner, "run", started)
    request = {"job": "retention", "confirm_deletions": True}
    assert run("contents", request, host=world.host)["removed"] == 60
    assert not world.host.paths.confirmation.exists()
    # No other run gets it, not even if the run was never started.
    many(world, 60, kept=40)
    monkeypatch.setattr(runner, "run", lambda *_, **__: Result(1, "", "no"))
    with pytest.raises(HostError):
        run("contents", request, host=world.host)
    with pytest.raises(HostError, match="because so much would go"):
        run("retention", {}, host=world.host)


@pytest.mark.parametrize(
    "left",
    [
        "",
        "[]",
        "{",
        '{"job": "collect", "boot": "first", "until": 9e9, "confirm_deletions": true}',
        '{"job": "retention", "boot": "before", "until": 9e9, "confirm_deletions": true}',
        '{"job": "retention", "boot": "first", "until": 5, "confirm_deletions": true}',
        '{"job": "retention", "boot": "first", "until": 9e9, "confirm_deletions": "false"}',
    ],
)
def test_a_confirmation_for_another_run_confirms_nothing(world: World, left: str) -> None:
    many(world, 60, kept=40)
    world.host.paths.confirmation.parent.mkdir(exist_ok=True)
    world.host.paths.confirmation.write_text(left)
    with pytest.raises(HostError, match="because so much would go"):
        run("retention", {}, host=world.host)


def test_a_job_that_never_began_its_work_is_reported_nevertheless(world: World) -> None:
    world.tree.image("team/app", "now", tag="latest")
    with world.host.paths.lock.open("r+") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(HostError) as refused:
            run("collect", {"lock_timeout": 0}, host=world.host)
    assert reports.problems(world.host) == [str(refused.value)]
    assert str(refused.value).startswith("another wharfinger-host is at work")
    run("collect", {}, host=world.host)
    assert reports.problems(world.host) == []


@pytest.mark.parametrize(
    "text",
    [
        *('{"ok": true}', "[]", "", "{", "null", "7", '"text"', '{"ok": false, "problem": null}'),
        '{"job": "collect", "at": 1, "seconds": 1, "ok": true, "problem": null}',
        '{"job": "collect", "at": 1e400, "seconds": 1, "ok": false, "problem": "x"}',
        '{"job": "retention", "at": 1, "seconds": 1, "ok": true, "problem": null, "removed": 0}',
        '{"job": "collect", "at": 1, "seconds": 1, "ok": true, "problem": "x"}',
        '{"job": "collect", "at": 1, "seconds": "x", "ok": false, "problem": "x"}',
    ],
)
def test_a_report_that_no_job_has_written_is_a_problem(world: World, text: str) -> None:
    world.tree.image("team/app", "now", tag="latest")
    path = world.host.paths.reports / "collect.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    (problem,) = reports.problems(world.host)
    assert problem == (
        f"{path} is not what collect writes, so how its last run ended is not known: run "
        f"`{world.host.paths.command} collect`, which writes it again, or remove the file"
    )
    report = reports.last_report(world.host, "collect")
    assert report is not None and report["ok"] is False and problem in reports.summary(report)
    run("collect", {}, host=world.host)
    assert reports.problems(world.host) == []


def test_damage_is_reported_with_the_tags_that_it_affects(world: World) -> None:
    digest = world.tree.image("team/app", "now", tag="latest")
    layer = world.tree.blob(b"layer of now")
    world.tree.blob_path(layer).write_bytes(b"layer of cow")
    with pytest.raises(HostError) as refused:
        run("check_contents", {}, host=world.host)
    text = str(refused.value)
    assert text.startswith("1 things in the registry") is False
    assert text.startswith("One thing in the registry's storage is damaged; nothing was changed")
    assert "team/app:latest" in text
    report = reports.last_report(world.host, "check_contents")
    assert report is not None and [damage["digest"] for damage in report["damage"]] == [layer]
    assert digest not in (damage["digest"] for damage in report["damage"])
    assert reports.problems(world.host) == [text]


def test_a_platform_that_is_not_mirrored_is_counted_and_no_damage(world: World) -> None:
    children = [world.tree.image("elsewhere", name) for name in ("amd64", "arm64")]
    world.tree.image("base/app", "amd64")
    platforms = ["linux/amd64", "linux/arm64"]
    world.tree.index("base/app", children, tag="v1", platforms=platforms)
    with pytest.raises(HostError, match="An index in base/app names"):
        run("check_contents", {}, host=world.host)
    settings = world.host.paths.mirror_settings
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(json.dumps({"mirrors": [{"to": "base/app", "platforms": ["linux/amd64"]}]}))
    answer = run("check_contents", {}, host=world.host)
    assert (answer["damage"], answer["not_mirrored"]) == ([], 1)
    assert reports.problems(world.host) == []
    settings.write_text("{")
    with pytest.raises(HostError) as refused:
        run("check_contents", {}, host=world.host)
    assert str(refused.value) == (
        f"{settings} cannot be read: run the whole site.yml, which writes it"
    )


def test_a_stale_list_of_referrers_is_reported_and_is_not_a_failure(world: World) -> None:
    """Anybody who may delete can make one, so that it must not keep the timer failing."""
    image = world.tree.image("team/app", "now", tag="latest")
    signature = world.tree.image("team/app", "signature", subject=image)
    world.tree.index("team/app", [signature], tag=image.replace(":", "-"))
    world.tree.revision_path("team/app", signature).unlink()
    answer = run("check_contents", {}, host=world.host)
    (stale,) = answer["stale"]
    assert stale["sentence"].endswith("Mend it: wharf repair HOST/team/app")
    assert reports.problems(world.host) == []
    report = reports.last_report(world.host, "check_contents")
    assert report is not None and report["ok"] and report["stale"] == answer["stale"]
    assert reports.summary(report).endswith(
        "nothing damaged; lists of referrers that name what was deleted: 1"
    )


def test_an_undamaged_storage_is_counted(world: World) -> None:
    world.tree.image("team/app", "now", tag="latest")
    answer = run("check_contents", {"rate": 0}, host=world.host)
    assert (answer["changed"], answer["blobs"], answer["damage"]) == (False, 3, [])
    assert reports.problems(world.host) == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("job", ["retention", "collect"])
def test_killed_at_any_step_the_next_run_does_the_rest(
    tmp_path: Path, job: str, after: bool
) -> None:
    kills = 0
    for step in range(1, 80):
        folder = tmp_path / str(step)
        folder.mkdir()
        world = World(folder)
        kept = world.tree.image("team/app", "now", tag="latest", age=DAY)
        old = world.tree.image("team/app", "old", tag="v1", age=20 * DAY)
        gone = world.tree.image("team/app", "gone", age=20 * DAY)
        garbage = world.tree.blob(b"layer of gone")
        world.collects(gone, garbage, world.tree.blob(b'{"name": "gone"}'))
        world.machine.kill_at, world.machine.after = world.machine.steps + step, after
        try:
            run(job, {}, host=world.host)
        except Killed:
            kills += 1
        else:
            break
        world.machine.kill_at = 0
        run(job, {}, host=world.host)
        assert run(job, {}, host=world.host)["changed"] is False, f"step {step}"
        assert world.tags("team/app") == (["latest"] if job == "retention" else ["latest", "v1"])
        if job == "collect":
            assert not world.tree.revision_path("team/app", gone).exists()
            assert not world.tree.blob_path(garbage).exists()
            assert world.tree.revision_path("team/app", old).exists()
        assert world.tree.blob_path(kept).exists()
        assert world.host.store.load().window is None
        assert container_name(world.host) not in world.machine.containers
        assert world.machine.interruptions == []
    assert 15 < kills < 79
