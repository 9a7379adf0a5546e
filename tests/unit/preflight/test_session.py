"""One run of preflight: what it asks the host, and what the roles get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wharfinger.deployment.problems import Problem
from wharfinger.preflight.report import WARNINGS, warnings
from wharfinger.preflight.resolving import Resolved
from wharfinger.preflight.session import HostFailed, Session

from .conftest import HOST, NOW, VARIABLES

ANSWER = {**HOST, "host_program": None, "verification_hash": "$2b$04$x", "invocation": {}, "_a": 1}


class AnsweringHost:
    """A host that answers and keeps the commands that it was asked."""

    def __init__(self, **answers: dict[str, Any]) -> None:
        self.answers = answers
        self.commands: list[str] = []

    def __call__(self, command: str, request: dict[str, Any]) -> dict[str, Any]:
        self.commands.append(command)
        return self.answers[command]


def examined(
    host: AnsweringHost,
    folder: Path,
    specs: Any,
    monkeypatch: pytest.MonkeyPatch,
    scope: str = "site",
) -> Any:
    monkeypatch.setattr("time.time", lambda: NOW)
    session = Session(host, Path.read_bytes, str(folder))
    settings = VARIABLES | {"images_source": "build"}
    return session.examine(scope, specs, Resolved(settings, {}, []), ())


def test_the_roles_get_the_facts_without_any_hash(
    tmp_path: Path, specs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = AnsweringHost(observe=ANSWER, reachable={})
    report, facts = examined(host, tmp_path, specs, monkeypatch)
    assert report.errors == []
    assert facts["url"] == "https://registry.example.com"
    assert facts["deployed"] == {"hostname": "", "auth": ""}
    assert facts["credentials"] == str(tmp_path / "credentials")
    assert not {"verification_hash", "invocation", "_a"} & facts["host"].keys()
    # The host is asked about an image registry only if something is pulled.
    assert host.commands == ["observe"]


def test_a_host_that_cannot_be_looked_at_ends_the_run_with_its_own_words(
    tmp_path: Path, specs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = {"failed": True, "msg": "no"}
    with pytest.raises(HostFailed) as caught:
        examined(AnsweringHost(observe=failed), tmp_path, specs, monkeypatch)
    assert caught.value.answer == failed


def test_with_an_error_the_roles_get_nothing(
    tmp_path: Path, specs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = AnsweringHost(observe={**ANSWER, "uid": 1000})
    report, facts = examined(host, tmp_path, specs, monkeypatch, scope="users")
    assert [problem.topic for problem in report.errors] == ["host, user"]
    assert facts == {}


def test_of_very_many_warnings_some_are_shown() -> None:
    problems = [Problem("registry_users", f"u{number}", "x") for number in range(WARNINGS + 2)]
    messages = warnings(problems)
    assert messages[:1] == ["registry_users, u0: x"]
    assert messages[WARNINGS:] == ["2 more warnings like these"]
