"""Fixtures of all tests of the host program."""

from __future__ import annotations

import os

import pytest

from tests.unit.host.world import Machine
from wharfinger.host.observation import metrics


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skips fsync: thousands of state files are written, and none must survive a power loss."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture(autouse=True)
def no_metrics(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remembers openssl's answers: thousands of commands read the same certificates."""
    if request.module.__name__.rpartition(".")[2] != "test_metrics":
        monkeypatch.setattr(metrics, "write", lambda _host: None)


@pytest.fixture
def machine() -> Machine:
    """What survives a kill of the program."""
    return Machine()
