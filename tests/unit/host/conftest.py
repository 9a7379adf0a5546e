"""What every test of the host program uses."""

from __future__ import annotations

import os

import pytest

from tests.unit.host.world import Machine
from wharfinger.host.observation import metrics


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of state files are written here; none of them has to survive a power loss."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture(autouse=True)
def no_metrics(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """openssl would be asked for every certificate after each of some thousand commands."""
    if request.module.__name__.rpartition(".")[2] != "test_metrics":
        monkeypatch.setattr(metrics, "write", lambda _host: None)


@pytest.fixture
def machine() -> Machine:
    """What survives a kill of the program."""
    return Machine()
