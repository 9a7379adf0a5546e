"""The action that updates mirror.lock: what it asks the host, and when it writes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase

FILE = Path(__file__).resolve().parents[3] / "plugins/action/mirror_lock.py"
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
ENTRIES = [
    {"from": "quay.io/team/app", "to": "app", "tags": "1"},
    {"from": "docker.io/library/debian", "to": "base/debian", "tags": ["13"]},
]
OLD = f"base/debian:13@{A} 2026-11-30 docker.io/library/debian"

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the action in an inventory in tmp_path; `answers` are what the host says of each
    entry."""
    spec = importlib.util.spec_from_file_location("mirror_lock_action", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(ActionBase, "run", lambda *_: {"changed": False})

    def run(*answers: dict[str, Any], check: bool = False) -> dict[str, Any]:
        action = module.ActionModule.__new__(module.ActionModule)
        action._task = SimpleNamespace(args={"mirrors": ENTRIES}, check_mode=check)

        def asked(module_name: str, module_args: dict[str, Any], **_: Any) -> dict[str, Any]:
            assert (module_name, module_args["command"]) == ("wharfinger_host", "look_upstream")
            entries = module_args["request"]["mirrors"]
            assert [entry["to"] for entry in entries] == ["app", "base/debian"]
            return {"mirrors": list(answers)} if answers else {"failed": True, "msg": "no httpx"}

        action._execute_module = asked
        result: dict[str, Any] = action.run(None, {"inventory_dir": str(tmp_path)})
        return result

    return run


def lines(tmp_path: Path) -> list[str]:
    """The lines of the lock, without comments and days."""
    text = (tmp_path / "mirror.lock").read_text()
    rows = [row.split() for row in text.splitlines() if not row.startswith("#")]
    return [f"{image} {source}" for image, _, source in rows]


def test_what_was_found_is_written_even_if_another_upstream_was_not_there(
    run: Run, tmp_path: Path
) -> None:
    done = run({"problem": "quay.io is down"}, {"tags": {"13": A}, "problem": None})
    assert done["changed"]
    assert done["lines"] == [f"new    base/debian:13 is {A}"]
    assert done["problems"] == ["mirror 1 (quay.io/team/app): quay.io is down"]
    assert lines(tmp_path) == [f"base/debian:13@{A} docker.io/library/debian"]
    assert (tmp_path / "mirror.lock").stat().st_mode & 0o777 == 0o644


def test_nothing_found_writes_no_lock(run: Run, tmp_path: Path) -> None:
    done = run({"problem": "down"}, {"problem": "down"})
    assert not done["changed"] and len(done["problems"]) == 2
    assert not (tmp_path / "mirror.lock").exists()
    assert run() == {"failed": True, "msg": "no httpx"}


def test_a_dry_run_shows_the_change_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mirror.lock").write_text(OLD + "\n")
    answers = ({"tags": {"1": B}, "problem": None}, {"tags": {"13": B}, "problem": None})
    dry = run(*answers, check=True)
    assert dry["changed"] and OLD in dry["diff"]["before"] and OLD not in dry["diff"]["after"]
    assert (tmp_path / "mirror.lock").read_text() == OLD + "\n"
    done = run(*answers)
    assert done["lines"] == dry["lines"]
    assert lines(tmp_path) == [
        f"app:1@{B} quay.io/team/app",
        f"base/debian:13@{B} docker.io/library/debian",
        f"base/debian:13-20261130@{A} docker.io/library/debian",
    ]
    again = run(*answers)
    assert not again["changed"] and again["diff"] == {}
    assert again["lines"] == ["upstream has what mirror.lock says"]
