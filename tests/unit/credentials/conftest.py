"""A folder of credentials, and a robot in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bcrypt
import pytest

from wharfinger.credentials import hashes
from wharfinger.credentials.folder import Credentials
from wharfinger.credentials.records import robot_record
from wharfinger.credentials.rotation import Rotation

NOW, LATER, BEFORE = "2026-11-25T00:00:00Z", "2026-11-26T00:00:00Z", "2026-11-24T00:00:00Z"


def fits(password: str, hashed: str) -> bool:
    return bcrypt.checkpw(password.encode(), hashed.encode())


def rotation(*names: str, until: str = LATER, ended: tuple[str, ...] = ()) -> Rotation:
    return Rotation(NOW, frozenset(names), until, frozenset(ended))


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "COST", 4)


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    return Credentials(tmp_path / "credentials", check_mode=False)


@pytest.fixture
def robot(credentials: Credentials) -> dict[str, Any]:
    """The record of a robot that has just been created."""
    made: dict[str, Any] = robot_record("ci", None, credentials, rotation())
    return made
