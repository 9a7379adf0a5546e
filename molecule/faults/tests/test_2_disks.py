"""Disks that are full, cannot be written, or lose their power, under load."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from faults import Bench, full
from support import hosts
from support.registry import digest

DATA = "/var/lib/wharfinger/registry"
STATE = "/var/lib/wharfinger/state.json"
NO_RESTART = "by itself as soon as {}, nothing is restarted"


@pytest.fixture
def started(bench: Bench) -> Iterator[None]:
    """The test does not restart any process of the service."""
    before = processes(bench)
    yield
    assert processes(bench) == before


def processes(bench: Bench) -> list[str]:
    """The ids of the processes that serve."""
    numbers = [str(bench.inspected(kind)["State"]["Pid"]) for kind in ("registry", "token_server")]
    return [*numbers, bench.run("cat /run/nginx.pid")]


def refused(bench: Bench, since: float, words: str) -> None:
    """Waits until pushes are refused with these words, and checks that pulls go on."""
    deadline = time.monotonic() + 120
    while not any(words in seen.error for seen in bench.pushes.since(since)):
        said = [seen.error for seen in bench.pushes.since(since)]
        assert time.monotonic() < deadline, f"no push was refused with {words!r}: {said}"
        time.sleep(0.1)
    refused_at = time.time()
    while not bench.pulls.is_well(refused_at):
        said = [seen.error for seen in bench.pulls.since(since)]
        assert time.monotonic() < deadline + 60, f"pulls do not go on: {said}"
        time.sleep(0.1)
    assert [seen.error for seen in bench.pulls.since(since) if not seen.ok] == []


@pytest.mark.usefixtures("started")
def test_the_disk_of_the_data_is_full(bench: Bench) -> None:
    returns = NO_RESTART.format("there is room")
    with bench.fault("the data's disk is full", returns=returns) as at, full(bench, "/srv/data"):
        refused(bench, at, "no space left on device")
        said = bench.fails("wharfinger-host status")
        assert f"are free at {DATA}, where the registry's data lie: make room" in said
    assert DATA + ", where" not in bench.machine.run("wharfinger-host status").stdout


@pytest.mark.usefixtures("started")
def test_the_disk_of_the_data_cannot_be_written(bench: Bench) -> None:
    returns = NO_RESTART.format("it can be written again (mount -o remount,rw)")
    # The remount fails while a file is open for writing, and the slow uploads nearly always have
    # one open. So only the two watching clients go on during this fault.
    bench.load.stop()
    with bench.fault("the data's disk is read-only", returns=returns) as at:
        bench.run("timeout 60 sh -c 'until mount -o remount,ro /srv/data 2>/dev/null; do :; done'")
        try:
            refused(bench, at, "read-only file system")
            said = bench.fails("wharfinger-host status")
            assert f"{DATA}, where the registry's data lie, is mounted read-only" in said
        finally:
            bench.run("mount -o remount,rw /srv/data")
    bench.load.start()


@pytest.mark.usefixtures("started")
def test_the_hosts_own_disk_is_full(bench: Bench) -> None:
    """State, generations and nginx's logs are on this disk; the data are not."""
    returns = "never gone: only the host program waits for room"
    with bench.fault("the host's disk is full (state, logs)", returns=returns) as at:
        before = bench.run(f"sha256sum {STATE}")
        with full(bench, "/srv/host"):
            for command in ("renew", "rotate", "certificates"):
                bench.machine.run(f"wharfinger-host {command}")
            # A rotation writes keys and state at once: it is refused, and nothing needs undoing.
            said = bench.fails('echo \'{"what": "signing"}\' | wharfinger-host rotate --request -')
            assert "No space left on device" in said
            json.loads(bench.run(f"cat {STATE}"))
            time.sleep(3)
        assert bench.run(f"sha256sum {STATE}") == before
        assert [operation for operation in bench.pulls.since(at) if not operation.ok] == []
        assert [operation for operation in bench.pushes.since(at) if not operation.ok] == []


def test_the_power_is_cut_the_moment_a_push_is_acknowledged(bench: Bench) -> None:
    """Examines what is on the disk at that moment, without what is only in memory."""
    registry, admin = hosts.registry("debian13"), hosts.account("admin")
    layer = b"acknowledged" * 100_000
    answer = registry.push(admin, "load/power", "latest", layer)
    # The stopped registry cannot sync the disk while it is copied. Another program has just written
    # a file without syncing it.
    process = bench.inspected("registry")["State"]["Pid"]
    bench.run(
        f"kill -STOP {process}; echo careless >/srv/data/careless;"
        f" cp --sparse=always /srv/data.img /srv/cut.img; kill -CONT {process}"
    )
    assert answer.status == 201
    name = answer.headers["docker-content-digest"].removeprefix("sha256:")
    try:
        bench.run("mkdir -p /srv/cut; mount -o loop /srv/cut.img /srv/cut")
        root = "/srv/cut/registry/docker/registry/v2"
        tagged = bench.run(
            f"cat {root}/repositories/load/power/_manifests/tags/latest/current/link"
        )
        assert tagged == f"sha256:{name}"
        for hexadecimal in (name, digest(layer).removeprefix("sha256:")):
            data = f"{root}/blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data"
            assert bench.run(f"sha256sum <{data}").split()[0] == hexadecimal
        # If this file were on the copied disk too, the test would prove nothing.
        assert bench.machine.run("test -s /srv/cut/careless").rc == 1
    finally:
        bench.run("umount /srv/cut; rm /srv/cut.img /srv/data/careless")
