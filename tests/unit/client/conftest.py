"""`wharf` as a user runs it, with an empty home and a registry that needs no network."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.client.registry import Fake
from wharfinger.client import tls, transport
from wharfinger.client.main import main


@dataclass
class Ran:
    """The result of a command."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Input(io.StringIO):
    """Standard input, which can be a terminal."""

    terminal = False

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, no WHARF_REGISTRY, nobody's certificates."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in ("WHARF_REGISTRY", "DOCKER_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tls, "SYSTEM", tmp_path / "etc/docker/certs.d")
    return folder


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """The registry that every host name leads to."""
    made = Fake()

    def client(self: transport.Transport) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=made.transport)

    monkeypatch.setattr(transport.Transport, "_new_client", client)
    return made


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """All pauses. They are recorded and take no time."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr(transport, "sleep", sleep)
    return made


Wharf = Callable[..., Ran]


@pytest.fixture
def wharf(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Wharf:
    """Runs a command: wharf("tags", "registry.test/a", input="…", terminal=True)."""

    def run(*arguments: str, input: str = "", terminal: bool = False) -> Ran:
        monkeypatch.setattr("sys.argv", ["wharf", *arguments])
        stdin = Input(input)
        stdin.terminal = terminal
        monkeypatch.setattr("sys.stdin", stdin)
        code = 0
        try:
            main()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        captured = capsysbinary.readouterr()
        return Ran(code, captured.out.decode(), captured.err.decode())

    return run
