"""Read-only maintenance: nothing is written, reads go on, and writes come back after a kill."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.host.world import SUBNET, FakeEngine, Killed, Machine, deployed, host_of, spec
from wharfinger.host.commands import run
from wharfinger.host.contents.collector import collector_definition
from wharfinger.host.contents.maintenance import Maintenance, read_only
from wharfinger.host.rollout.generations import Generations
from wharfinger.host.system import files
from wharfinger.host.system.context import Host
from wharfinger.host.system.errors import HostError
from wharfinger.host.system.state import OPENING, SERVING

# The registry that serves before maintenance, and its address.
NAME = "wharfinger-registry-1"
WRITER = "10.98.0.2"


@pytest.fixture
def host(tmp_path: Path, machine: Machine) -> Host:
    return deployed(tmp_path, machine)


def closed(machine: Machine) -> str | None:
    """The status with which the running nginx answers writes; None if it accepts them."""
    for status in ("503", "429"):
        if f"DELETE)$ {status};" in machine.loaded:
            return status
    return None


def writers(machine: Machine) -> list[str]:
    """The running registries that could write."""
    return [
        name
        for name, container in machine.containers.items()
        if container.running
        and container.labels.get("wharfinger.kind") == "registry"
        and any(
            not mount["ReadOnly"] for mount in machine.definitions[name]["HostConfig"]["Mounts"]
        )
    ]


def begin(
    host: Host, work: Callable[[Maintenance], None] | None = None, **more: Any
) -> Maintenance:
    """Maintenance in which `work` is done."""
    settings = {"seconds": 3600, "drain_timeout": 600, "expected": 0, **more}
    with read_only(host, host.store.load(), "collect", **settings) as opened:
        if work is not None:
            work(opened)
    return opened


# More steps than anything here takes.
_MANY = 60


def kills(
    tmp_path: Path,
    after: bool,
    act: Callable[[Host], object],
    *,
    before: Callable[[Machine, Host], None] = lambda machine, host: None,
) -> Iterator[tuple[int, Path, Machine, Host]]:
    """Kills `act` at its first step, at its second and so on, until it is not killed. Yields the
    step and a host of its own as it is then; `before` was done on it first."""
    for step in range(1, _MANY):
        folder = tmp_path / f"{step}"
        folder.mkdir()
        machine = Machine()
        host = deployed(folder, machine)
        before(machine, host)
        machine.kill_at, machine.after = machine.steps + step, after
        try:
            act(host)
        except Killed:
            machine.kill_at = 0
        else:
            return
        yield step, folder, machine, host


def test_during_maintenance_writes_are_refused_and_no_process_can_write(
    host: Host, machine: Machine
) -> None:
    seen = []

    def work(opened: Maintenance) -> None:
        serving = host.store.load().kind("registry").serving
        assert serving is not None
        name = f"wharfinger-registry-{serving.number}"
        seen.append((closed(machine), writers(machine), machine.definitions[name]["Env"]))

    begin(host, work)
    assert seen == [("503", [], ['REGISTRY_STORAGE_MAINTENANCE_READONLY={"enabled": true}'])]


def test_after_maintenance_a_new_process_accepts_writes(host: Host, machine: Machine) -> None:
    opened = begin(host)
    assert closed(machine) is None
    assert writers(machine) == ["wharfinger-registry-3"]
    assert list(machine.containers) == ["wharfinger-registry-3"]
    state = host.store.load()
    assert state.window is None
    assert [generation.phase for generation in state.kind("registry").generations] == [SERVING]
    assert opened.seconds < 40
    assert machine.interruptions == []


def test_a_rollback_never_goes_back_to_a_read_only_generation(
    host: Host, machine: Machine, tmp_path: Path
) -> None:
    machine.images["good"] = {"Id": "sha256:good", "RepoTags": []}
    run("ensure", {"spec": spec(tmp_path, command=["serve", "other"])}, host=host)
    begin(host)
    previous = host.store.load().kind("registry").previous
    assert previous is not None and (previous.number, previous.readonly) == (1, False)
    assert run("rollback", {}, host=host)["back"] == {"registry": 1}


def test_writes_are_answered_429_at_once_if_the_last_maintenance_was_long(
    host: Host, machine: Machine
) -> None:
    seen: list[str | None] = []
    begin(host, lambda _: seen.append(closed(machine)), expected=41)
    assert seen == ["429"]


def test_the_answer_becomes_readable_once_docker_no_longer_retries(
    host: Host, machine: Machine
) -> None:
    seen: list[str | None] = []

    def work(opened: Maintenance) -> None:
        opened.on_poll()
        seen.append(closed(machine))
        host.clock.sleep(60)
        opened.on_poll()
        seen.append(closed(machine))

    begun = host.clock.now()
    opened = begin(host, work)
    assert seen == ["503", "429"]
    assert "UTC" in machine.loaded or closed(machine) is None
    assert 60 <= opened.seconds <= host.clock.now() - begun


@pytest.mark.parametrize("jumps", [3600, -3600])
def test_maintenance_lasts_as_long_as_it_may_even_if_the_clock_jumps(
    host: Host, machine: Machine, jumps: float
) -> None:
    def work(opened: Maintenance) -> None:
        machine.jumps = jumps
        began = machine.seconds
        with pytest.raises(HostError, match="stopped after registry_gc_max_minutes"):
            while True:
                opened.check_deadline()
                host.clock.sleep(1)
        lasted.append(machine.seconds - began)

    lasted: list[float] = []
    opened = begin(host, work, seconds=300)
    assert 280 < lasted[0] <= 300
    assert 280 < opened.seconds < 320


def test_a_registry_that_does_not_say_what_it_does_has_20_seconds_for_an_upload(
    host: Host, machine: Machine
) -> None:
    machine.connections[WRITER] = 10**9  # it never ends
    begun = host.clock.now()
    opened = begin(host)
    assert 20 <= host.clock.now() - begun < 25
    assert any("still had requests after 20 s" in action for action in opened.actions)


def uploading(machine: Machine) -> None:
    """A client sends a layer, without end."""
    machine.connections[WRITER] = 10**9
    machine.in_flight = {"blob_upload_chunk": 2, "base": 1}


def test_a_slow_upload_waits_in_a_paused_process_and_goes_on(host: Host, machine: Machine) -> None:
    uploading(machine)
    seen: list[Any] = []

    def work(opened: Maintenance) -> None:
        seen.append((closed(machine), writers(machine), machine.containers[NAME].status))
        host.clock.sleep(7)

    begun = host.clock.now()
    opened = begin(host, work)
    assert seen == [("503", [], "paused")]
    assert list(machine.containers) == writers(machine) == [NAME]
    assert closed(machine) is None and host.store.load().window is None
    assert machine.interruptions == []
    # The limit for requests that end by themselves, and the work.
    assert 12 <= host.clock.now() - begun < 14
    assert 12 <= opened.seconds < 14
    assert "registry: generation 1 is paused" in opened.actions
    assert "registry: generation 1 serves again instead of 2" in opened.actions


def test_a_registry_that_does_nothing_is_paused_at_once(host: Host, machine: Machine) -> None:
    machine.in_flight = {}
    seen = []
    begun = host.clock.now()
    begin(host, lambda _: seen.append(machine.containers[NAME].status))
    assert seen == ["paused"] and host.clock.now() - begun < 1


def test_writes_are_refused_from_the_moment_of_the_switch(host: Host, machine: Machine) -> None:
    first, seen = host.engine.create, []

    def create(name: str, definition: Any) -> None:
        first(name, definition)
        host.clock.sleep(30)  # a machine that is slow to start a container
        seen.append(closed(machine))

    machine.in_flight = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host.engine, "create", create)
        opened = begin(host)
    assert seen == [None]
    assert opened.seconds < 5


@pytest.mark.parametrize("handler", ["manifest", "blob_upload", "blob", "tags"])
def test_while_anything_else_is_answered_nothing_is_paused(
    host: Host, machine: Machine, handler: str
) -> None:
    """The manifest's PUT, say, which may be about to link what the collection takes."""
    machine.connections[WRITER] = 10**9
    machine.in_flight = {"blob_upload_chunk": 1, handler: 1}
    begin(host)
    assert "pausing" not in machine.done
    machine.in_flight = None
    assert writers(machine) == ["wharfinger-registry-3"]


def test_a_request_that_comes_with_the_pause_goes_on_first(
    host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploading(machine)
    machine.connections[WRITER] = 2
    monkeypatch.setattr(host.traffic, "connections", lambda *_: 1)
    pause, tried = host.engine.pause, []

    def pausing(name: str) -> None:
        pause(name)
        tried.append(host.clock.now())
        machine.connections[WRITER] = 3  # the third came in between

    monkeypatch.setattr(host.engine, "pause", pausing)
    seen = []
    begin(host, lambda _: seen.append(machine.containers[NAME].status))
    assert seen == ["paused"]
    first, second = tried
    assert second - first >= 1


def test_an_upload_that_is_just_being_put_in_its_place_goes_on_first(
    host: Host, machine: Machine
) -> None:
    uploading(machine)
    answers = iter([False, True])
    begin(host, uploads_at_rest=lambda: next(answers))
    assert next(answers, None) is None
    assert machine.done.count("pausing") == 2
    assert writers(machine) == [NAME]


def test_if_nothing_can_be_paused_uploads_have_20_seconds(host: Host, machine: Machine) -> None:
    uploading(machine)
    machine.unfreezable = True
    begun = host.clock.now()
    begin(host)
    assert host.clock.now() - begun < 25
    assert machine.done.count("pausing") == 1
    assert writers(machine) == ["wharfinger-registry-3"]


def test_a_paused_generation_goes_on_only_when_nothing_works_on_the_storage(
    host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docker does not answer at the end of maintenance, so the collection may still be at work."""
    uploading(machine)
    monkeypatch.setattr("wharfinger.host.contents.maintenance._RESTARTED", 1)

    def work(opened: Maintenance) -> None:
        raise Killed

    with pytest.raises(Killed):
        begin(host, work)

    def silent(name: str) -> None:
        raise HostError("docker does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(host.engine, "remove", silent)
        with pytest.raises(HostError, match="docker does not answer"):
            run("reopen", {}, host=host)
        request = {"kind": "registry", "configuration": None}
        with pytest.raises(HostError, match="docker does not answer"):
            run("follow", request, host=host)
    state = host.store.load()
    record = Generations(host, state, "registry")
    with pytest.raises(HostError) as refused:
        record.repair()
    assert str(refused.value) == (
        "registry: generation 1 stays paused until the work of collect is over: "
        f"`{host.paths.command} reopen` ends it"
    )
    assert machine.containers[NAME].paused
    run("reopen", {}, host=host)
    assert writers(machine) == [NAME] and closed(machine) is None


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("command", ["reopen", "ensure"])
def test_killed_beside_a_slow_upload_the_next_command_lets_it_go_on(
    tmp_path: Path, command: str, after: bool
) -> None:
    step = 0
    for step, folder, machine, host in kills(
        tmp_path, after, begin, before=lambda machine, _: uploading(machine)
    ):
        begun = host.clock.now()
        request = {"spec": spec(folder)} if command == "ensure" else {}
        run(command, request, host=host)
        where = f"step {step} of {command}"
        if command == "reopen":
            assert host.clock.now() - begun < 25, where
            assert writers(machine) == [NAME], where
        assert [container for container in machine.containers.values() if container.paused] == [], (
            where
        )
        assert closed(machine) is None, where
        assert len(writers(machine)) == 1, where
        assert machine.interruptions == [], where
        assert host.store.load().window is None, where
    assert 10 < step < _MANY - 1


def test_a_slow_download_by_an_old_worker_is_not_waited_for(host: Host, machine: Machine) -> None:
    machine.old_workers = [[99, 1]]  # it never ends
    begun = host.clock.now()
    begin(host)
    assert host.clock.now() - begun < 30


def test_connections_that_old_workers_keep_are_waited_for(host: Host, machine: Machine) -> None:
    run("site", {"content": "server {\n    keepalive_min_timeout 30s;\n}\n"}, host=host)
    machine.old_workers = [[99, 1]]
    waited: list[float] = []
    begun = host.clock.now()
    begin(host, lambda _: waited.append(host.clock.now() - begun))
    assert 30 < waited[0] < 40


def test_writes_are_accepted_again_after_work_that_fails(host: Host, machine: Machine) -> None:
    def work(opened: Maintenance) -> None:
        raise HostError("collect: out of luck")

    with pytest.raises(HostError, match="out of luck"):
        begin(host, work)
    assert closed(machine) is None
    assert len(writers(machine)) == 1
    assert host.store.load().window is None


@pytest.mark.parametrize("problem", [KeyError("a bug"), KeyboardInterrupt()], ids=["bug", "Ctrl-C"])
def test_writes_are_accepted_again_whatever_ends_the_work(
    host: Host, machine: Machine, problem: BaseException
) -> None:
    def work(opened: Maintenance) -> None:
        raise problem

    with pytest.raises(type(problem)):
        begin(host, work)
    assert closed(machine) is None
    assert len(writers(machine)) == 1
    assert host.store.load().window is None


@pytest.mark.parametrize("seconds", [30, 3600], ids=["restarted", "down"])
def test_a_docker_that_is_restarted_is_waited_for(
    host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    remove = host.engine.remove

    def work(opened: Maintenance) -> None:
        back = host.clock.now() + seconds

        def absent(name: str) -> None:
            if host.clock.now() < back:
                raise HostError("docker does not answer")
            remove(name)

        monkeypatch.setattr(host.engine, "remove", absent)
        raise HostError("docker does not answer")

    with pytest.raises(HostError, match="docker does not answer"):
        begin(host, work)
    assert (closed(machine), len(writers(machine))) == ((None, 1) if seconds < 60 else ("503", 0))


@pytest.mark.parametrize("dies", [True, False], ids=["killed", "failed"])
def test_interrupted_while_an_upload_is_waited_for_it_goes_on(
    host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    machine.connections["10.98.0.2"] = 10**9  # it never ends

    def tick(opened: Maintenance) -> None:
        monkeypatch.undo()
        raise Killed if dies else HostError("nginx has no more room for it")

    monkeypatch.setattr(Maintenance, "on_poll", tick)
    begun = host.clock.now()
    with pytest.raises(Killed if dies else HostError):
        begin(host)
    if dies:
        assert closed(machine) == "503"
        done = run("reopen", {}, host=host)["actions"]
        assert "registry: generation 1 serves again instead of 2" in done
    assert host.clock.now() - begun < 30
    assert closed(machine) is None
    assert list(machine.containers) == writers(machine) == ["wharfinger-registry-1"]
    assert host.store.load().window is None


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_while_it_reopens_the_next_run_does_it(tmp_path: Path, after: bool) -> None:
    def before(machine: Machine, host: Host) -> None:
        machine.connections[WRITER] = 10**9
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Maintenance, "on_poll", _dies)
            with pytest.raises(Killed):
                begin(host)

    def reopen(host: Host) -> None:
        run("reopen", {}, host=host)

    step = 0
    for step, _, machine, host in kills(tmp_path, after, reopen, before=before):
        reopen(host)
        assert closed(machine) is None, f"step {step}"
        assert len(writers(machine)) == len(machine.containers) == 1, f"step {step}"
        assert machine.interruptions == [], f"step {step}"
        assert host.store.load().window is None, f"step {step}"
    assert 5 < step < _MANY - 1


def _dies(opened: Maintenance) -> None:
    raise Killed


def test_on_a_full_disk_no_write_is_refused(
    host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    steps = machine.steps
    with pytest.raises(HostError) as refused:
        begin(host)
    assert str(refused.value) == (
        f"collect: nothing was done: {host.paths.reports}: No space left on device. It needs 4 MiB "
        "there, and docker needs some more: free this space first"
    )
    assert machine.steps == steps and list(host.paths.reports.iterdir()) == []


def test_a_disk_that_fills_up_does_not_keep_writes_refused(
    host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All freed space is taken at once, so each file needs another piece of the reserve."""
    reserve = host.paths.reports / "reserve"
    write = files._write
    left = [0]

    def full(*arguments: Any) -> None:
        if reserve.exists():
            if reserve.stat().st_size >= left[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left[0] = reserve.stat().st_size
        write(*arguments)

    def work(opened: Maintenance) -> None:
        assert reserve.stat().st_blocks * 512 >= 4 << 20
        left[0] = 2 << 20
        monkeypatch.setattr(files, "_write", full)
        opened.step("working still")

    with pytest.raises(OSError, match="No space left"):
        begin(host, work)
    assert closed(machine) is None and len(writers(machine)) == 1
    assert host.store.load().window is None


def test_if_nothing_serves_maintenance_leaves_nothing_behind(
    tmp_path: Path, machine: Machine
) -> None:
    host = host_of(tmp_path, machine)
    run("prepare", {}, host=host)
    with pytest.raises(HostError) as refused:
        begin(host)
    assert str(refused.value) == "registry: nothing serves yet: run the whole site.yml first"
    assert host.store.load().window is None


def test_a_failing_read_only_registry_leaves_the_present_one(host: Host, machine: Machine) -> None:
    machine.behaviour["sha256:good"] = "crashes"
    with pytest.raises(HostError, match="was removed again and generation 1 keeps serving"):
        begin(host)
    assert closed(machine) is None
    assert writers(machine) == ["wharfinger-registry-1"]
    assert host.store.load().window is None


def test_if_no_writable_registry_starts_reads_go_on_and_writes_stay_refused(
    host: Host, machine: Machine, tmp_path: Path
) -> None:
    def work(opened: Maintenance) -> None:
        machine.behaviour["sha256:good"] = "crashes"

    with pytest.raises(HostError, match="generation 2 keeps serving"):
        begin(host, work)
    assert closed(machine) == "503"
    state = host.store.load()
    assert state.window is not None and state.window.step == OPENING
    with pytest.raises(HostError, match="generation 2 keeps serving"):
        run("retention", {}, host=host)
    # Another image is the way out, and no command insists on the broken one first, not even what a
    # deployment runs before that.
    answer = run("site", {"content": "server { }\n"}, host=host)
    assert answer["actions"][0].startswith("the registry takes no writes yet: registry: the new")
    assert closed(machine) == "503"
    run("ensure", {"spec": spec(tmp_path, image="sha256:better")}, host=host)
    assert closed(machine) is None
    assert host.store.load().window is None
    assert len(writers(machine)) == 1


def test_the_collection_is_gone_before_anything_can_write_whatever_the_record_says(
    host: Host, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(opened: Maintenance) -> None:
        serving = opened.state.kind("registry").serving
        assert serving is not None
        specification = opened.generations(closing=False).records.specification(serving.number)
        assert specification is not None
        name = "wharfinger-collection"
        host.engine.create(name, collector_definition(specification, host.labels, "/files"))
        host.paths.state.unlink()
        raise Killed

    with pytest.raises(Killed):
        begin(host, work)
    first, seen = host.engine.create, []

    def create(name: str, definition: Any) -> None:
        seen.append("wharfinger-collection" in machine.containers)
        first(name, definition)

    monkeypatch.setattr(host.engine, "create", create)
    run("network", {"name": "wharfinger", "subnet": SUBNET}, host=host)
    run("ensure", {"spec": spec(tmp_path)}, host=host)
    assert seen == [False]
    assert len(writers(machine)) == 1 and closed(machine) is None


def test_reopen_without_maintenance_does_nothing(host: Host, machine: Machine) -> None:
    steps = machine.steps
    assert run("reopen", {}, host=host) == {"changed": False, "actions": []}
    assert machine.steps == steps


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("command", ["reopen", "ensure"])
def test_killed_at_any_step_the_next_command_makes_the_registry_writable(
    tmp_path: Path, command: str, after: bool
) -> None:
    def work(opened: Maintenance) -> None:
        host, name = opened.host, "wharfinger-collection"
        host.engine.remove(name)
        serving = opened.state.kind("registry").serving
        assert serving is not None
        generations = opened.generations(closing=False)
        specification = generations.records.specification(serving.number)
        assert specification is not None
        host.engine.create(name, collector_definition(specification, host.labels, "/files"))
        host.engine.start(name)
        assert isinstance(host.engine, FakeEngine)
        assert writers(host.engine.machine) == []
        host.engine.remove(name)

    step = 0
    for step, folder, machine, host in kills(tmp_path, after, lambda host: begin(host, work)):
        if "wharfinger-collection" in machine.containers:
            assert writers(machine) == [], f"step {step}"
        run(command, {"spec": spec(folder)} if command == "ensure" else {}, host=host)
        if command == "ensure" and host.store.load().window is not None:
            pytest.fail(f"step {step}: the maintenance is still on record")
        assert closed(machine) is None, f"step {step}"
        assert len(writers(machine)) == 1, f"step {step}"
        assert "wharfinger-collection" not in machine.containers, f"step {step}"
        assert machine.interruptions == [], f"step {step}"
        assert host.store.load().window is None, f"step {step}"
    assert 15 < step < _MANY - 1
