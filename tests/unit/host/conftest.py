"""What every test of the host program uses."""

from __future__ import annotations

import os

import pytest

from tests.unit.host.world import Machine


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of state files are written here; none of them has to survive a power loss."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def machine() -> Machine:
    """What survives a kill of the program."""
    return Machine()
