"""Pushes over a slow line during a collection and a retention: no client is kept out because of
the slow pushes, and they end whole. These tests need no data from the other files."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from filling.site import NAME, Site, layer_path
from support import hosts
from support.registry import digest
from support.slow import SlowPush

# Seconds for which writes may be refused, even on a busy machine: half of the pushes' time.
REFUSED = 60


class Writer:
    """Begins pushes all the time. `longest`: the longest time for which they were refused."""

    def __init__(self) -> None:
        self.registry, self.account = hosts.registry(NAME), hosts.account("admin")
        self.longest = 0.0
        self.answers: set[int] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        refused: float | None = None
        while not self._over.is_set():
            status = self.registry.upload(self.account, "slow/writer", os.urandom(8)).status
            self.answers.add(status)
            if status == 201:
                refused = None
            else:
                refused = refused or time.monotonic()
                self.longest = max(self.longest, time.monotonic() - refused)
            time.sleep(0.2)


def work(command: str) -> dict[str, Any]:
    done = hosts.host(NAME).run(f"wharfinger-host {command} --json")
    assert done.rc == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture
def rule() -> Iterator[None]:
    """A rule that keeps one tag of slow/tags."""
    with Site().settings(retention=[{"number": 1, "on": ["^slow/tags$"], "newest": 1}]):
        yield


@pytest.mark.usefixtures("rule")
def test_slow_pushes_keep_nobody_out_and_end_whole() -> None:
    registry, admin = hosts.registry(NAME), hosts.account("admin")
    for tag in ("1", "2"):
        assert registry.push(admin, "slow/tags", tag, tag.encode()).status == 201
    garbage = os.urandom(1 << 16)
    assert registry.upload(admin, "slow/garbage", garbage).status == 201
    # It has been unneeded for longer than registry_untagged_keep.
    Site().aged(20, layer_path("slow/garbage", digest(garbage)))
    pushes = [
        SlowPush(registry, admin, f"slow/{method.lower()}", method) for method in ("PATCH", "PUT")
    ]
    for push in pushes:
        push.begin()
    with Writer() as writer:
        removed, freed = work("retention"), work("collect")
    for answer in (removed, freed):
        assert [action for action in answer["actions"] if action.endswith(" is paused")], answer
        assert answer["window_seconds"] <= REFUSED
    assert (removed["removed"], freed["blobs"] > 0) == (1, True)
    assert writer.answers <= {201, 503}
    assert writer.longest <= REFUSED
    assert registry.blob(admin, "slow/garbage", digest(garbage)).status == 404
    # The jobs are done, and the pushes are far from their end.
    for push in pushes:
        assert push.end() == [201, 202, *([202] if push.method == "PATCH" else []), 201, 201]
        assert push.pulls()
    assert work("check_contents")["damage"] == []
