"""The clock, the keys and the running servers of the token server's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.token_server import Running, Start, make_key, settings, started, stopped


class Clock:
    """A clock that the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with signing.key and signing.crt."""
    folder = tmp_path_factory.mktemp("keys")
    make_key(folder)
    return folder


@pytest.fixture(scope="module")
def server(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A shared server, for tests that change nothing."""
    running = started(tmp_path_factory.mktemp("server") / "auth_config.yml", settings(keys))
    yield running
    stopped(running)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers for one test."""
    all_started: list[Running] = []

    def begin(content: dict[str, Any], hour: float = 3600) -> Running:
        running = started(tmp_path / "auth_config.yml", content, hour)
        all_started.append(running)
        return running

    yield begin
    for running in all_started:
        stopped(running)
