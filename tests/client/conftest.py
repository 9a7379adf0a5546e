"""Registries that run for the whole session, and `wharf` in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from filling import Amount, Content, fill
from load.session import Account, Session, Target
from local.registries import ADDRESS, DEBIANS, Served, debians, ours
from support.program import registry_program

AMOUNT = Amount(repositories=30, tags=3, large=1 << 20)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.client)


@dataclass(frozen=True)
class Ran:
    """The result of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@dataclass(frozen=True)
class Person:
    """A user of `wharf` with a home."""

    served: Served
    home: Path

    def __call__(self, *arguments: str, input: str = "", cacert: bool = True) -> Ran:
        trust = ["--cacert", str(self.served.ca)] if cacert else []
        environment = {
            **{name: value for name, value in os.environ.items() if name != "DOCKER_CONFIG"},
            "HOME": str(self.home),
            "WHARF_REGISTRY": self.served.name,
            "NO_COLOR": "1",
        }
        done = subprocess.run(
            [str(Path(sys.executable).with_name("wharf")), *arguments, *trust],
            input=input,
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def logged_in(self, user: str) -> Person:
        """The same person after `wharf login`."""
        ran = self("login", "--user", user, "--password-stdin", input=f"{user}-pw\n")
        assert ran.code == 0, ran.err
        return self


@pytest.fixture(scope="session")
def registry() -> Iterator[tuple[Served, Content]]:
    """Our registry, with everything that clients push."""
    with tempfile.TemporaryDirectory(prefix="wharf-ours-") as name:
        folder = Path(name)
        with ours(folder, registry_program(folder)) as served:
            yield served, fill(admin_session(served), AMOUNT)


def admin_session(served: Served) -> Session:
    """The API for a user who may do everything."""
    return Session(
        Target(ADDRESS, ADDRESS, served.port), Account("admin", "admin-pw"), str(served.ca)
    )


@pytest.fixture(scope="session")
def debian() -> Iterator[Served]:
    """Debian's registry, empty."""
    if not Path(DEBIANS).exists():
        pytest.skip("needs Debian's package docker-registry")
    with tempfile.TemporaryDirectory(prefix="wharf-debian-") as name, debians(Path(name)) as served:
        yield served


@pytest.fixture
def somebody(registry: tuple[Served, Content], tmp_path: Path) -> Person:
    """A person at our registry who is not logged in."""
    return Person(registry[0], tmp_path)


@pytest.fixture
def content(registry: tuple[Served, Content]) -> Content:
    """The content of our registry."""
    return registry[1]
