"""Mirrors on real hosts: update, lock, drift, mistakes, and an upstream that is gone.

The tests run in the order in which they are written.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from load.plays import Operator, Played
from support import hosts
from support.registry import Registry, digest

MIRROR = "playbooks/mirror.yml"
HOSTNAME = "mirror.wharfinger.test"


@pytest.fixture(scope="module")
def operator() -> Operator:
    return Operator(hosts.inventory_file().parent, "mirror")


@pytest.fixture(scope="module")
def upstream() -> Registry:
    return hosts.registry("upstream")


@pytest.fixture(scope="module")
def mirror() -> Registry:
    return hosts.registry("mirror")


def lock_file() -> Path:
    return hosts.inventory_file().parent / "mirror.lock"


def pushed(upstream: Registry, tag: str) -> str:
    """Pushes a new image; returns its digest."""
    answer = upstream.push(hosts.account("admin"), "team/debian", tag, os.urandom(4096))
    assert answer.status == 201
    return answer.headers["docker-content-digest"]


def pulled(mirror: Registry, reference: str) -> str | None:
    """The digest of what a user pulls; None if it is not there."""
    answer = mirror.pull(hosts.account("readonly"), "base/debian", reference)
    return digest(answer.body) if answer.status == 200 else None


def failed(operator: Operator, *options: str, **more: object) -> Played:
    """A run of the playbook that must fail."""
    done = operator.begin(MIRROR, *options, **more).wait()
    assert done.code != 0, done.output[-4000:]
    return done


def test_a_lock_that_names_nothing_is_said_and_nothing_is_copied(operator: Operator) -> None:
    done = operator.play("site.yml")
    assert (
        "registry_mirrors, mirror 1 (upstream.wharfinger.test/team/debian): mirror.lock has no tag "
        "of base/debian yet, so nothing is copied there: run ansible-playbook "
        "playbooks/mirror.yml -e update=true" in done.said
    )
    assert not lock_file().exists()


def test_a_repository_that_upstream_has_not_fails_and_writes_no_lock(operator: Operator) -> None:
    done = failed(operator, update=True)
    assert "mirror 1 (upstream.wharfinger.test/team/debian):" in done.said
    assert not lock_file().exists()


def test_an_update_locks_and_copies(operator: Operator, upstream: Registry, mirror: Registry) -> None:
    first = {tag: pushed(upstream, tag) for tag in ("13", "12.1", "12.2", "11")}
    dry = operator.play(MIRROR, "--check", update=True)
    assert f"new base/debian:13 is {first['13']}" in dry.said
    assert not lock_file().exists()
    done = operator.play(MIRROR, update=True)
    assert f"new base/debian:13 is {first['13']}" in done.said
    lines = [line for line in lock_file().read_text().splitlines() if not line.startswith("#")]
    assert [line.split()[0] for line in lines] == [
        f"base/debian:{tag}@{first[tag]}" for tag in ("12.1", "12.2", "13")
    ]
    assert {tag: pulled(mirror, tag) for tag in first} == first | {"11": None}


def test_the_second_run_changes_nothing(operator: Operator) -> None:
    before = lock_file().read_text()
    done = operator.play(MIRROR, update=True)
    assert "upstream has what mirror.lock says" in done.said
    assert done.changed == 0
    assert lock_file().read_text() == before


def test_status(operator: Operator) -> None:
    print(hosts.host("mirror").check_output("wharfinger-host mirrors"))
    print(hosts.host("mirror").run("wharfinger-host status").stdout)
    print(json.dumps({}))
