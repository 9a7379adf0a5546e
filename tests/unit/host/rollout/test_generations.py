"""Generations: the promises for a change, and for a change that fails or is killed."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.host.world import SUBNET, Killed, Machine, host_of, spec
from wharfinger.host.commands import run
from wharfinger.host.system.context import Host
from wharfinger.host.system.errors import HostError
from wharfinger.host.system.service import last_words
from wharfinger.host.system.state import RETIRED, SERVING

Ensure = Callable[..., dict[str, Any]]


@pytest.fixture
def host(tmp_path: Path, machine: Machine) -> Host:
    host = host_of(tmp_path, machine)
    run("prepare", {}, host=host)
    run("network", {"name": "wharfinger", "subnet": SUBNET}, host=host)
    return host


@pytest.fixture
def ensure(tmp_path: Path, host: Host) -> Ensure:
    def call(check: bool = False, request: dict[str, Any] | None = None, **more: Any) -> Any:
        return run(
            "ensure", {"spec": spec(tmp_path, **more), **(request or {})}, host=host, check=check
        )

    return call


def with_site(host: Host) -> None:
    run("site", {"content": "server {}\n"}, host=host)


def names(machine: Machine) -> list[str]:
    return sorted(machine.containers)


def test_the_first_generation_takes_slot_a_and_has_no_previous_one(ensure: Ensure) -> None:
    answer = ensure()
    assert answer["changed"]
    assert (answer["generation"], answer["slot"], answer["address"], answer["previous"]) == (
        1,
        "a",
        "10.98.0.2",
        None,
    )
    assert "registry: generation 1 serves" in answer["actions"]


def test_the_same_specification_again_changes_nothing(ensure: Ensure, machine: Machine) -> None:
    ensure()
    steps = machine.steps
    assert ensure() == {
        "changed": False,
        "actions": [],
        "generation": 1,
        "slot": "a",
        "address": "10.98.0.2",
        "previous": None,
    }
    assert machine.steps == steps


def test_a_changed_specification_takes_the_other_slot_and_the_old_container_goes(
    ensure: Ensure, host: Host, machine: Machine
) -> None:
    ensure()
    with_site(host)
    answer = ensure(environment={"A": "b"})
    assert (answer["generation"], answer["slot"], answer["previous"]) == (2, "b", 1)
    assert names(machine) == ["wharfinger-registry-2"]
    assert machine.serving_addresses() == ["10.98.0.3"]
    assert machine.interruptions == []


def test_other_startup_inputs_make_a_new_generation_of_the_same_container(
    ensure: Ensure, host: Host
) -> None:
    bundle = host.paths.registry / "token_signing.pem"
    bundle.write_text("one key")
    ensure(live=["signing"])
    assert ensure(live=["signing"])["generation"] == 1
    bundle.write_text("two keys")
    assert ensure(live=["signing"])["generation"] == 2


def test_a_dry_run_takes_startup_inputs_into_account(ensure: Ensure, host: Host) -> None:
    bundle = host.paths.registry / "token_signing.pem"
    bundle.write_text("one key")
    ensure(live=["signing"])
    assert ensure(check=True, live=["signing"])["actions"] == []
    bundle.write_text("two keys")
    assert ensure(check=True, live=["signing"])["actions"] == [
        "registry: generation 2 serves instead of 1"
    ]


def test_a_startup_input_that_is_missing_for_a_moment_changes_nothing(
    ensure: Ensure, host: Host
) -> None:
    bundle = host.paths.registry / "token_signing.pem"
    bundle.write_text("one key")
    ensure(live=["signing"])
    bundle.unlink()
    assert run("follow", {"kind": "registry"}, host=host)["changed"] is False


def test_a_dry_run_says_what_would_happen_and_does_nothing(
    ensure: Ensure, machine: Machine
) -> None:
    steps = machine.steps
    assert ensure(check=True)["actions"] == ["registry: generation 1 serves"]
    ensure()
    assert ensure(check=True)["actions"] == []
    assert ensure(check=True, environment={"A": "b"})["actions"] == [
        "registry: generation 2 serves instead of 1"
    ]
    assert names(machine) == ["wharfinger-registry-1"]
    assert machine.steps > steps


def test_only_the_last_retired_generation_keeps_its_directory(ensure: Ensure, host: Host) -> None:
    for number in range(4):
        ensure(environment={"N": str(number)})
    folder = host.paths.generations / "registry"
    assert sorted(path.name for path in folder.iterdir()) == ["3", "4"]
    record = host.store.load().kind("registry")
    assert [(generation.number, generation.phase) for generation in record.generations] == [
        (3, RETIRED),
        (4, SERVING),
    ]


def test_the_secret_is_written_into_the_file_and_nowhere_else(ensure: Ensure, host: Host) -> None:
    answer = ensure()
    secret = host.paths.http_secret.read_text().strip()
    folder = host.paths.generations / "registry" / "1"
    assert (folder / "files" / "config.yml").read_text() == f"secret: {secret}\n"
    assert secret not in (folder / "spec.json").read_text()
    assert secret not in json.dumps(answer)
    assert (folder / "spec.json").stat().st_mode & 0o777 == 0o600
    assert (folder / "files" / "config.yml").stat().st_mode & 0o777 == 0o640


def test_the_container_is_confined(ensure: Ensure, machine: Machine) -> None:
    ensure()
    definition = machine.definitions["wharfinger-registry-1"]
    settings = definition["HostConfig"]
    assert settings["ReadonlyRootfs"] is True
    assert settings["CapDrop"] == ["ALL"]
    assert settings["SecurityOpt"] == ["no-new-privileges"]
    assert settings["RestartPolicy"] == {"Name": "unless-stopped"}
    assert settings["Memory"] == settings["MemorySwap"] == 64 * 1024**2
    assert settings["PidsLimit"] == 64
    assert settings["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-size": "10m", "max-file": "3"},
    }
    assert "PortBindings" not in settings
    assert definition["User"] == "1:1"
    assert definition["Entrypoint"] is None
    assert definition["Healthcheck"]["Test"] == ["CMD", "/registry", "healthcheck"]
    assert [mount["ReadOnly"] for mount in settings["Mounts"]] == [False, True]


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        (
            "crashes",
            "it ended with exit code 3. The end of its log:\nconfiguration: line 3: no such key",
        ),
        (
            "needs memory",
            "it needed more memory than it may have (raise its memory limit). The end of its log:\n"
            "configuration: line 3: no such key",
        ),
        (
            "silent",
            "it was not healthy within 60 s (no answer at 10.98.0.3:5000: [Errno 111] Connection "
            "refused). The end of its log:\nconfiguration: line 3: no such key",
        ),
        (
            "sick",
            "it was not healthy within 60 s (its health check says 1: storage driver: unhealthy). "
            "The end of its log:\nconfiguration: line 3: no such key",
        ),
    ],
)
def test_a_generation_that_does_not_become_healthy_is_removed_and_the_old_one_serves(
    ensure: Ensure, host: Host, machine: Machine, manner: str, reason: str
) -> None:
    ensure()
    with_site(host)
    machine.behaviour["sha256:new"] = manner
    with pytest.raises(HostError) as caught:
        ensure(image="sha256:new")
    assert str(caught.value) == (
        "registry: the new generation 2 was removed again and generation 1 keeps serving: " + reason
    )
    assert names(machine) == ["wharfinger-registry-1"]
    assert not (host.paths.generations / "registry" / "2").exists()
    assert machine.serving_addresses() == ["10.98.0.2"]
    assert machine.interruptions == []
    assert ensure()["changed"] is False


def test_the_first_generation_that_fails_leaves_nothing(ensure: Ensure, machine: Machine) -> None:
    machine.behaviour["sha256:new"] = "crashes"
    with pytest.raises(HostError, match="generation 1 was removed again and nothing serves yet"):
        ensure(image="sha256:new")
    assert names(machine) == []


def test_a_configuration_that_nginx_refuses_at_the_switch_changes_nothing(
    ensure: Ensure, host: Host, machine: Machine
) -> None:
    ensure()
    with_site(host)
    machine.nginx_refuses = "bind() to 0.0.0.0:443 failed"
    with pytest.raises(HostError) as caught:
        ensure(environment={"A": "b"})
    assert str(caught.value) == (
        "registry: the new generation 2 was removed again and generation 1 keeps serving: nginx "
        "refuses its new configuration and keeps the present one: bind() to 0.0.0.0:443 failed"
    )
    assert names(machine) == ["wharfinger-registry-1"]
    assert "10.98.0.2" in host.paths.upstreams.read_text()


def test_an_nginx_that_reloads_too_late_reloads_again_after_the_undo(
    ensure: Ensure, host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure()
    with_site(host)
    reload, calls = host.nginx.reload, []

    def late(*, gently: bool = True) -> None:
        reload(gently=gently)
        calls.append(machine.loaded)
        if len(calls) == 1:
            raise HostError("nginx goes on with the old one")

    monkeypatch.setattr(host.nginx, "reload", late)
    with pytest.raises(HostError, match="generation 1 keeps serving: nginx goes on with the old"):
        ensure(environment={"A": "b"})
    assert ["10.98.0.3" in calls[0], "10.98.0.2" in calls[1]] == [True, True]
    assert "10.98.0.2" in machine.loaded
    # Whatever nginx did then, the next run reloads it once more.
    assert "nginx: reloaded" in ensure()["actions"]


def test_a_mount_that_is_missing_stops_before_anything_is_started(
    ensure: Ensure, machine: Machine, tmp_path: Path
) -> None:
    gone = str(tmp_path / "gone")
    with pytest.raises(HostError) as caught:
        ensure(mounts=[{"source": gone, "target": "/data"}])
    assert str(caught.value) == (
        f"registry: {gone} is not there, so nothing was started: if it is on a file system of its "
        "own, mount it (`mount -a`)"
    )
    assert names(machine) == []


def test_a_stopped_container_is_started_again(ensure: Ensure, host: Host, machine: Machine) -> None:
    ensure()
    host.engine.stop("wharfinger-registry-1", 0)
    answer = ensure()
    assert answer["actions"] == ["registry: generation 1 was stopped and is started again"]
    assert answer["generation"] == 1


def test_an_unhealthy_or_vanished_container_is_replaced(
    ensure: Ensure, host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure()
    with_site(host)
    machine.containers.clear()
    assert ensure()["generation"] == 2
    machine.change("wharfinger-registry-2", health="unhealthy")
    # docker says so for a while after a pause.
    assert ensure()["changed"] is False
    answers = host.engine.execute
    monkeypatch.setattr(
        host.engine,
        "execute",
        lambda name, *rest: (1, "sick") if name.endswith("-2") else answers(name, *rest),
    )
    answer = ensure()
    assert answer["generation"] == 3
    assert "registry: generation 2 no longer works and is replaced" in answer["actions"]
    assert names(machine) == ["wharfinger-registry-3"]


def test_the_old_generation_stays_until_its_last_request_is_answered(
    ensure: Ensure, host: Host, machine: Machine
) -> None:
    ensure()
    with_site(host)
    machine.connections["10.98.0.2"] = 50
    before = machine.seconds
    ensure(environment={"A": "b"})
    assert machine.connections["10.98.0.2"] == 0
    assert 4.9 < machine.seconds - before < 10


@pytest.mark.parametrize("jumps", [0, 3600, -3600])
def test_draining_ends_with_its_timeout_and_says_so_even_if_the_clock_jumps(
    ensure: Ensure, host: Host, machine: Machine, jumps: float
) -> None:
    ensure()
    with_site(host)
    machine.old_workers = [[1, 0]]  # the worker that never ends
    machine.jumps = jumps
    before = machine.seconds
    answer = ensure(environment={"A": "b"}, request={"drain_timeout": 30})
    assert 30 <= machine.seconds - before < 31
    assert (
        "registry: generation 1 still had requests after 30 s and was stopped anyway"
        in answer["actions"]
    )


def test_revoking_does_not_wait_for_requests(ensure: Ensure, host: Host, machine: Machine) -> None:
    ensure()
    with_site(host)
    machine.connections["10.98.0.2"] = 50
    before = machine.seconds
    ensure(environment={"A": "b"}, request={"revoke": True})
    assert machine.seconds == before
    assert names(machine) == ["wharfinger-registry-2"]


def test_containers_with_our_labels_that_no_record_names_are_removed_and_others_stay(
    ensure: Ensure, host: Host, machine: Machine
) -> None:
    ensure()
    ours = machine.containers["wharfinger-registry-1"]
    for name, labels in (
        ("wharfinger-registry-77", ours.labels),
        ("another", {"wharfinger.stack": "another", "wharfinger.kind": "registry"}),
        ("database", {}),
    ):
        machine.containers[name] = type(ours)(**{**vars(ours), "name": name, "labels": labels})
    answer = ensure()
    assert answer["actions"] == [
        "registry: the leftover container wharfinger-registry-77 was removed"
    ]
    assert names(machine) == ["another", "database", "wharfinger-registry-1"]


def test_without_network_the_message_says_what_to_run(tmp_path: Path, machine: Machine) -> None:
    host = host_of(tmp_path, machine)
    run("prepare", {}, host=host)
    with pytest.raises(HostError) as caught:
        run("ensure", {"spec": spec(tmp_path)}, host=host)
    assert str(caught.value) == (
        "registry: the docker network is not there yet: run the whole site.yml first"
    )


def test_the_log_of_a_replaced_token_server_is_kept(host: Host, ensure: Ensure) -> None:
    for image in ("sha256:old", "sha256:new", "sha256:newer"):
        ensure(kind="token_server", image=image)
        ensure(kind="registry", image=image)
    kept = host.paths.token_server_log
    # All containers of the fake engine log the same.
    assert kept.read_text() == "configuration: line 3: no such key\n" * 2
    assert kept.stat().st_mode & 0o777 == 0o640


def test_a_log_that_cannot_be_kept_does_not_stop_the_switch(host: Host, ensure: Ensure) -> None:
    ensure(kind="token_server", image="sha256:old")
    host.paths.log.mkdir()
    host.paths.token_server_log.symlink_to("/dev/full")
    answer = ensure(kind="token_server", image="sha256:new")
    assert answer["generation"] == 2


def test_withdrawing_leaves_neither_container_nor_upstream(
    ensure: Ensure, host: Host, machine: Machine
) -> None:
    ensure()
    ensure(kind="token_server")
    with_site(host)
    answer = run("withdraw", {"kind": "token_server"}, host=host)
    assert "token_server: generation 1 was withdrawn" in answer["actions"]
    assert names(machine) == ["wharfinger-registry-1"]
    assert "wharfinger_token_server" not in host.paths.upstreams.read_text()
    assert run("withdraw", {"kind": "token_server"}, host=host)["changed"] is False


# -- the token server's live configuration ---------------------------------------------------------


def answering(host: Host, *bodies: dict[str, Any]) -> None:
    """Makes /healthz answer these bodies in turn, and then always the last one."""
    plain, left = host.probe, list(bodies)

    def probe(address: str, port: int, path: str, timeout: float) -> tuple[int, bytes]:
        if path != "/healthz":
            return plain(address, port, path, timeout)
        body = left.pop(0) if len(left) > 1 else left[0]
        return 200, json.dumps(body).encode()

    host.probe = probe


def test_ensure_waits_until_the_configuration_is_in_force(
    ensure: Ensure, host: Host, machine: Machine
) -> None:
    before = machine.seconds
    answering(host, *[{"configuration": "old", "rejected": None}] * 5, {"configuration": "new"})
    ensure(kind="token_server", request={"configuration": "new"})
    assert machine.seconds > before


def test_a_refused_configuration_fails_with_the_servers_own_words(
    ensure: Ensure, host: Host
) -> None:
    refusal = {"configuration": "new", "message": "auth_config.yml:7: acl: unknown key 'acount'"}
    answering(host, {"configuration": "old", "rejected": refusal})
    with pytest.raises(HostError) as caught:
        ensure(kind="token_server", request={"configuration": "new"})
    assert str(caught.value) == (
        "token_server: the new configuration is refused and the previous one stays in force: "
        "auth_config.yml:7: acl: unknown key 'acount'"
    )


def test_a_configuration_that_never_comes_into_force_is_an_error(
    ensure: Ensure, host: Host
) -> None:
    answering(host, {"configuration": "old", "rejected": None})
    with pytest.raises(HostError, match=r"the configuration new is not in force after 7 s"):
        ensure(kind="token_server", request={"configuration": "new", "wait": 7})


# -- killed anywhere -------------------------------------------------------------------------------


def _history(host: Host, machine: Machine, folder: Path, upto: int) -> None:
    """A deployment with both containers, before the change that will be killed."""
    for kind in ("registry", "token_server"):
        run("ensure", {"spec": spec(folder, kind=kind)}, host=host)
    run("site", {"content": "server {}\n"}, host=host)
    machine.steps = 0
    machine.kill_at = upto


def _change(host: Host, folder: Path, kind: str) -> dict[str, Any]:
    changed = spec(folder, kind=kind, environment={"A": "b"})
    return run("ensure", {"spec": changed}, host=host)


def _steps_of_a_change(folder: Path, kind: str) -> int:
    machine = Machine()
    host = host_of(folder, machine)
    run("prepare", {}, host=host)
    run("network", {"name": "wharfinger", "subnet": SUBNET}, host=host)
    _history(host, machine, folder, 0)
    _change(host, folder, kind)
    return machine.steps


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", ["registry", "token_server"])
def test_killed_around_any_step_service_goes_on_and_the_next_run_converges(
    tmp_path: Path, kind: str, after: bool
) -> None:
    (tmp_path / "count").mkdir()
    steps = _steps_of_a_change(tmp_path / "count", kind)
    assert steps >= 10, "a change of generation has at least this many persisted steps"
    for number in range(1, steps + 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        machine = Machine(after=after)
        host = host_of(folder, machine)
        run("prepare", {}, host=host)
        run("network", {"name": "wharfinger", "subnet": SUBNET}, host=host)
        _history(host, machine, folder, number)
        with pytest.raises(Killed):
            _change(host, folder, kind)
        machine.kill_at = 0
        _change(host_of(folder, machine), folder, kind)
        assert machine.interruptions == [], f"killed at step {number}"
        _nothing_left_over(host, machine, kind, f"killed at step {number}")
        assert _change(host, folder, kind)["changed"] is False, f"killed at step {number}"


@pytest.mark.parametrize("manner", ["crashes", "sick"])
def test_killed_after_the_switch_began_and_the_new_one_dies_the_old_one_serves_again(
    tmp_path: Path, manner: str
) -> None:
    (tmp_path / "count").mkdir()
    for number in range(1, _steps_of_a_change(tmp_path / "count", "registry") + 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        machine = Machine()
        host = host_of(folder, machine)
        run("prepare", {}, host=host)
        run("network", {"name": "wharfinger", "subnet": SUBNET}, host=host)
        _history(host, machine, folder, number)
        changed = spec(folder, image="sha256:new")
        with pytest.raises(Killed):
            run("ensure", {"spec": changed}, host=host)
        machine.kill_at = 0
        machine.behaviour["sha256:new"] = manner
        for container in list(machine.containers.values()):
            if container.image == "sha256:new" and manner == "crashes":
                machine.change(container.name, status="exited")
        switched = host.store.load().kind("registry").serving
        assert switched is not None
        if switched.number == 1:
            # The same bad change once more: it fails, but nginx leads to generation 1 again.
            with pytest.raises(HostError):
                run("ensure", {"spec": changed}, host=host)
            assert "10.98.0.2" in machine.serving_addresses(), f"killed at step {number}"
        # The operator goes back to the previous image.
        run("ensure", {"spec": spec(folder)}, host=host)
        _nothing_left_over(host, machine, "registry", f"killed at step {number}")
        good = machine.containers[f"wharfinger-registry-{_serving_number(host)}"]
        assert good.image == "sha256:good", f"killed at step {number}"


def _serving_number(host: Host) -> int:
    serving = host.store.load().kind("registry").serving
    assert serving is not None
    return serving.number


def test_a_second_kill_while_repairing_is_repaired_too(tmp_path: Path) -> None:
    for first in (5, 7, 9):
        for second in range(1, 6):
            folder = tmp_path / f"{first}-{second}"
            folder.mkdir()
            machine = Machine()
            host = host_of(folder, machine)
            run("prepare", {}, host=host)
            run("network", {"name": "wharfinger", "subnet": SUBNET}, host=host)
            _history(host, machine, folder, first)
            with pytest.raises(Killed):
                _change(host, folder, "registry")
            machine.kill_at = machine.steps + second
            with pytest.raises(Killed):
                for _ in range(9):
                    _change(host, folder, "registry")
                    _change_back(host, folder)
            machine.kill_at = 0
            _change(host, folder, "registry")
            assert machine.interruptions == []
            _nothing_left_over(host, machine, "registry", f"killed at {first} and {second}")


def _change_back(host: Host, folder: Path) -> None:
    run("ensure", {"spec": spec(folder)}, host=host)


def _nothing_left_over(host: Host, machine: Machine, kind: str, when: str) -> None:
    record = host.store.load().kind(kind)
    serving = record.serving
    assert serving is not None, when
    containers = [name for name in machine.containers if f"-{kind}-" in name]
    assert containers == [f"wharfinger-{kind}-{serving.number}"], when
    assert serving.address in machine.serving_addresses(), when
    assert host.paths.upstreams.read_text() == machine.loaded, when
    assert {generation.phase for generation in record.generations} <= {SERVING, RETIRED}, when
    folders = sorted(path.name for path in (host.paths.generations / kind).iterdir())
    assert folders == sorted(str(generation.number) for generation in record.generations), when


def test_the_reason_of_a_crash_is_shown_and_not_its_stack() -> None:
    stack = [f"goroutine {number}" for number in range(40)]
    lines = ["starting", "panic: no such driver: s4", "", *stack]
    assert last_words(lines) == "starting\npanic: no such driver: s4"
    assert last_words([str(number) for number in range(20)]) == "\n".join(map(str, range(8, 20)))


def _two(host: Host, folder: Path, machine: Machine) -> None:
    """Generation 1 serves under nginx, and requests to it are under way."""
    machine.images["sha256:good"] = {"Id": "sha256:good", "RepoTags": []}
    run("ensure", {"spec": spec(folder)}, host=host)
    run("site", {"content": "server {}\n"}, host=host)
    machine.connections["10.98.0.2"] = 10_000


def test_a_new_generation_that_ends_while_the_old_one_is_drained_is_left_again(
    host: Host, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _two(host, tmp_path, machine)
    sleep = host.clock.sleep

    def killed(seconds: float) -> None:
        sleep(seconds)
        if "wharfinger-registry-2" in machine.containers:
            machine.change("wharfinger-registry-2", status="exited", exit_code=137)

    with monkeypatch.context() as patch, pytest.raises(HostError) as caught:
        patch.setattr(host.clock, "sleep", killed)
        run("ensure", {"spec": spec(tmp_path, image="sha256:new")}, host=host)
    assert str(caught.value).startswith(
        "registry: the new generation 2 ended while 1 answered its last requests, and 1 serves "
        "again: it ended with exit code 137."
    )
    # A dead upstream costs more requests than a sudden reload.
    assert machine.gently[-2:] == [True, False]
    assert machine.serving_addresses() == ["10.98.0.2"]
    assert list(machine.containers) == ["wharfinger-registry-1"]
    machine.connections.clear()
    assert run("ensure", {"spec": spec(tmp_path)}, host=host)["generation"] == 1


def test_a_container_that_docker_has_just_restarted_is_not_replaced(
    host: Host, machine: Machine, tmp_path: Path
) -> None:
    run("ensure", {"spec": spec(tmp_path)}, host=host)
    machine.change("wharfinger-registry-1", health="starting", restarts=1)
    assert run("ensure", {"spec": spec(tmp_path)}, host=host)["actions"] == []
    assert list(machine.containers) == ["wharfinger-registry-1"]


@pytest.mark.parametrize(
    ("ends_again", "reason"),
    [
        (1.0, "it ended with exit code 3. The end of its log:\nconfiguration: line 3"),
        (
            600.0,
            "it ended, and docker started it again. The end of its log:\nconfiguration: line 3",
        ),
    ],
)
def test_the_reason_of_the_end_is_known_even_if_docker_restarts_before_the_first_poll(
    host: Host,
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends_again: float,
    reason: str,
) -> None:
    machine.images["sha256:bad"] = {"Id": "sha256:bad", "RepoTags": []}
    machine.behaviour["sha256:bad"] = "crashes"
    start, sleep, name = host.engine.start, host.clock.sleep, "wharfinger-registry-1"

    def started(container: str) -> None:
        start(container)
        # A slow machine: docker has restarted the container by now.
        machine.change(name, status="running", exit_code=0, restarts=1)

    def slept(seconds: float) -> None:
        sleep(seconds)
        if host.clock.monotonic() - began >= ends_again:
            machine.change(name, status="restarting", exit_code=3, restarts=2)

    began = host.clock.monotonic()
    monkeypatch.setattr(host.engine, "start", started)
    monkeypatch.setattr(host.clock, "sleep", slept)
    with pytest.raises(HostError, match=f"nothing serves yet: {reason}"):
        run("ensure", {"spec": spec(tmp_path, image="sha256:bad")}, host=host)
    assert machine.containers == {}


def test_an_engine_that_fails_while_a_repair_drains_costs_no_container(
    host: Host, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _two(host, tmp_path, machine)
    machine.connections.clear()
    steps = machine.steps
    run("ensure", {"spec": spec(tmp_path, image="sha256:new")}, host=host)
    changes = machine.steps - steps
    for number in range(1, changes + 1):
        image = f"sha256:{number}"
        machine.steps, machine.kill_at = 0, number
        with pytest.raises(Killed):
            run("ensure", {"spec": spec(tmp_path, image=image)}, host=host)
        machine.kill_at = 0

        def refuses(name: str, timeout: int) -> None:
            raise HostError("docker does not answer")

        with monkeypatch.context() as patched:
            patched.setattr(host.engine, "stop", refuses)
            try:
                run("ensure", {"spec": spec(tmp_path, image=image)}, host=host)
            except HostError as problem:
                assert "docker does not answer" in str(problem)
        assert machine.interruptions == [], f"killed at step {number}"
        run("ensure", {"spec": spec(tmp_path, image=image)}, host=host)
        assert len(machine.containers) == 1, f"killed at step {number}"
        assert machine.interruptions == [], f"killed at step {number}"


def test_a_server_that_reads_users_only_at_its_start_takes_them_over_in_a_new_generation(
    host: Host, machine: Machine, tmp_path: Path
) -> None:
    """docker_auth cannot say which users it has read, so nothing waits for that."""
    users = host.paths.token_server / "auth_config.yml"
    users.write_text("users: {}\n")
    specification = spec(tmp_path, kind="token_server", live=["configuration"])
    run("ensure", {"spec": specification}, host=host)
    request = {"kind": "token_server", "configuration": "0" * 64}
    assert run("follow", request, host=host)["generation"] == 1
    users.write_text("users: {leaver: {}}\n")
    seconds = machine.seconds
    assert run("follow", request, host=host)["generation"] == 2
    assert machine.seconds - seconds < 5
    assert names(machine) == ["wharfinger-token_server-2"]


def test_users_change_during_long_work_of_another_process(host: Host, ensure: Ensure) -> None:
    ensure(kind="token_server")
    answering(host, {"configuration": "old"}, {"configuration": "new", "rejected": None})
    request = {"kind": "token_server", "configuration": "new", "lock_timeout": 0}
    with host.paths.lock.open("r+") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert run("follow", request, host=host)["changed"] is False
        # A new generation waits for the lock: the other process may be starting one.
        users = spec(host.paths.var.parent, live=["configuration"])
    run("ensure", {"spec": users | {"kind": "token_server"}}, host=host)
    with host.paths.lock.open("r+") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(HostError, match="another wharfinger-host is at work"):
            run("follow", request, host=host)


def test_a_registry_that_checks_passwords_ignores_signing_keys(host: Host, tmp_path: Path) -> None:
    run("ensure", {"spec": spec(tmp_path, live=[])}, host=host)
    (host.paths.registry / "token_signing.pem").write_text("left over")
    assert run("ensure", {"spec": spec(tmp_path, live=[])}, host=host)["changed"] is False
    assert run("follow", {"kind": "registry"}, host=host)["changed"] is False


def test_taking_over_users_and_rolling_back_need_something_that_serves(host: Host) -> None:
    with pytest.raises(HostError) as caught:
        run("follow", {"kind": "token_server"}, host=host)
    assert str(caught.value) == ("token_server: nothing serves yet: run the whole site.yml first")
    with pytest.raises(HostError) as caught:
        run("rollback", {}, host=host)
    assert str(caught.value) == (
        "there is nothing to roll back to: no generation precedes the ones that serve"
    )
