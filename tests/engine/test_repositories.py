"""Single repositories come back to a registry that serves: what its clients see meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
from typing import Any

import pytest

from wharfinger.host.backup import links
from wharfinger.host.commands import run
from wharfinger.host.system import restoring
from wharfinger.host.system.restoring import CLOSED, RESTORED, Restoring

from .registries_on_disk import HOSTNAME, write
from .stack import Stack
from .test_collection import REPOSITORY, Contents

OTHER = "wharfinger-verification/other"


@pytest.fixture
def contents(deployed: Stack) -> Contents:
    """A registry that can be backed up into a directory."""
    host = deployed.host
    host.paths.backup.mkdir(parents=True, exist_ok=True)
    write(host, "repository", str(deployed.folder / "repository"))
    write(host, "password", "the right one")
    settings = {
        "hostname": HOSTNAME,
        "storage_path": str(deployed.folder / "storage"),
        "keep": {},
        "rate": 0,
        "free_minimum": 0,
        "version": "0.1.0",
    }
    write(host, "settings.json", json.dumps(settings))
    return Contents(deployed)


def backed_up(contents: Contents) -> None:
    run("backup_repository", {}, host=contents.stack.host)
    run("backup", {}, host=contents.stack.host)


def restored(contents: Contents) -> list[str]:
    answer = run("restore_repositories", {"only": [REPOSITORY]}, host=contents.stack.host)
    return [str(action) for action in answer["actions"]]


def pushed(contents: Contents, repository: str) -> int:
    """The status of a push."""
    layer = os.urandom(1000)
    return contents.registry.push(contents.account, repository, "more", layer).status


def lose(contents: Contents, layer: bytes) -> None:
    """The repository is deleted with its blobs."""
    storage = contents.stack.folder / "storage/docker/registry/v2"
    shutil.rmtree(storage / "repositories" / REPOSITORY)
    shutil.rmtree(storage / "blobs/sha256")
    assert not contents.pulls("v1", layer)


def test_writes_are_refused_to_this_repository_alone_while_its_links_are_written(
    contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, garbage, other = os.urandom(5000), os.urandom(5000), os.urandom(5000)
    good = contents.push("v1", first)
    backed_up(contents)
    lose(contents, first)
    bad = contents.push("v1", garbage)
    contents.push("v1", other, OTHER)
    seen: dict[str, Any] = {}
    write_link = links.write

    def looked_at(*arguments: Any, **named: Any) -> None:
        if not seen:
            seen["this"] = pushed(contents, REPOSITORY)
            seen["other"] = pushed(contents, OTHER)
            seen["pulled"] = contents.pulls("v1", garbage)
        write_link(*arguments, **named)

    monkeypatch.setattr(links, "write", looked_at)
    assert restored(contents) == [
        f"{REPOSITORY}:v1: {good} again; it was {bad}, which stays for registry_untagged_keep",
        # The layer and the manifest; the garbage has the same config.
        "blobs that were missing and are back: 2",
    ]
    assert seen == {"this": 503, "other": 201, "pulled": True}
    assert contents.pulls("v1", first)
    assert contents.pulls(bad, garbage)
    assert contents.pulls("v1", other, OTHER)
    assert pushed(contents, REPOSITORY) == 201


def test_after_a_kill_the_timer_accepts_writes_and_the_next_run_goes_on(
    contents: Contents,
) -> None:
    layer = os.urandom(5000)
    contents.push("v1", layer)
    backed_up(contents)
    lose(contents, layer)
    host = contents.stack.host
    child = os.fork()
    if child == 0:
        # What only a kill leaves: nginx refuses writes, and no process will end that.
        killing = pytest.MonkeyPatch()
        killing.setattr(links, "write", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        try:
            restored(contents)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    record = restoring.load(host.paths.restoring)
    assert record is not None
    assert record.step == CLOSED
    assert pushed(contents, REPOSITORY) == 503
    status = run("status", {}, host=host)
    assert record.problem() in status["problems"]
    assert run("reopen", {}, host=host)["actions"] == [f"{REPOSITORY}: writes are accepted again"]
    assert pushed(contents, REPOSITORY) == 201
    assert len(restored(contents)) == 1
    assert contents.pulls("v1", layer)


def test_a_verification_ends_a_restore(deployed: Stack) -> None:
    path = deployed.host.paths.restoring
    restoring.save(path, Restoring("0123abcd", RESTORED))
    deployed.verify()
    assert restoring.load(path) is None
