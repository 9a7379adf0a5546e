"""The jobs as a controller starts them, and their end when the toolkit is removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.storage_tree import NOW, Tree
from tests.unit.host.world import FakeRunner, Machine, host_of
from wharfinger.host.commands import run
from wharfinger.host.observation.watching import succeeded
from wharfinger.host.system.context import Host
from wharfinger.host.system.errors import HostError
from wharfinger.host.system.runner import Result


@pytest.fixture
def host(tmp_path: Path) -> Host:
    # By this clock, the images of the tree were pushed in the past.
    host = host_of(tmp_path, Machine(seconds=NOW))
    host.paths.timers.mkdir(parents=True)
    return host


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """The settings of an inventory that keeps one of two tags."""
    tree = Tree(tmp_path / "storage")
    tree.image("team/app", "old", tag="v1", age=100)
    tree.image("team/app", "new", tag="v2", age=10)
    rule = {"number": 1, "on": ["^team/[^/]+$"], "newest": 1, "newer_than": None, "matching": None}
    return {"storage_path": str(tree.path), "retention": [rule], "untagged_keep": None}


def test_a_dry_run_uses_the_inventory_that_was_not_applied_yet(
    host: Host, settings: dict[str, Any]
) -> None:
    request = {"job": "retention", "settings": settings}
    answer = run("contents", request, check=True, host=host)
    assert {row["tag"]: row["keep"] for row in answer["rows"]} == {"v1": False, "v2": True}
    assert answer["removed"] == 1
    settings["retention"] = []
    assert run("contents", request, check=True, host=host)["removed"] == 0
    assert not host.paths.contents_settings.exists()


def test_a_real_run_uses_the_hosts_own_settings(host: Host, settings: dict[str, Any]) -> None:
    for command, request in (
        ("contents", {"job": "retention", "settings": settings}),
        ("retention", {"settings": settings}),
    ):
        with pytest.raises(HostError) as refused:
            run(command, request, host=host)
        assert str(refused.value) == (
            f"{host.paths.contents_settings} is not there: run the whole site.yml once, "
            "which writes it"
        )


def test_every_timer_ends_when_the_toolkit_is_removed(host: Host) -> None:
    links = host.paths.timer.parent
    for name in ("wharfinger-renew", "wharfinger-contents@collect", "apt-daily"):
        (links / f"{name}.timer").symlink_to(links / "gone")
    runner = host.runner
    assert isinstance(runner, FakeRunner)
    runner.answers["systemctl disable"] = Result(0, "", "")
    host.paths.reports.mkdir(parents=True)
    succeeded(host, "renew")
    run("remove", {}, host=host)
    assert [call for call in runner.calls if call[0] == "systemctl"] == [
        ["systemctl", "disable", "--now", "wharfinger-contents@collect.timer"],
        ["systemctl", "disable", "--now", "wharfinger-renew.timer"],
    ]
    assert not host.paths.reports.exists()
    assert not (host.paths.var / "succeeded").exists()


def test_a_timer_that_cannot_be_ended_is_named(host: Host) -> None:
    (host.paths.timer.parent / "wharfinger-contents@collect.timer").symlink_to("gone")
    runner = host.runner
    assert isinstance(runner, FakeRunner)
    runner.answers["systemctl disable"] = Result(1, "", "no")
    with pytest.raises(HostError) as refused:
        run("remove", {}, host=host)
    assert str(refused.value) == (
        "the timer wharfinger-contents@collect cannot be ended (`systemctl disable --now "
        "wharfinger-contents@collect.timer` said: no): look at `systemctl status "
        "wharfinger-contents@collect.timer`"
    )
