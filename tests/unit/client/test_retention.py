"""`wharf retention --dry-run`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.client.conftest import Wharf
from wharfinger.client.commands import retention

ROWS: list[dict[str, Any]] = [
    {
        "repository": "team/app", "tag": "2", "digest": "sha256:2", "pushed": 1767323045.5,
        "keep": True, "rule": 1, "reason": "among the newest 10",
    },
    {
        "repository": "team/app", "tag": "1", "digest": "sha256:1", "pushed": 1767323000,
        "keep": False, "rule": 1, "reason": "older, and not among the newest 10",
    },
    {
        "repository": "other", "tag": "x", "digest": "sha256:x", "pushed": None,
        "keep": True, "rule": None, "reason": "no rule names it",
    },
]  # fmt: skip


def printed(*results: dict[str, Any], host: str = "one") -> str:
    """The output of ansible.posix.json."""
    tasks = [{"task": {"name": "t"}, "hosts": {host: result}} for result in results]
    return "[WARNING]: something\n" + json.dumps({"plays": [{"tasks": tasks}], "stats": {}})


@pytest.fixture
def playbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ansible-playbook that records its arguments and prints a file."""
    program = tmp_path / "ansible-playbook"
    program.write_text(
        f'#!/bin/sh\necho "$ANSIBLE_STDOUT_CALLBACK $@" >{tmp_path}/called\n'
        f"cat {tmp_path}/answer\nexit $(cat {tmp_path}/status)\n"
    )
    program.chmod(0o755)
    (tmp_path / "status").write_text("0")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    return tmp_path


def test_the_rows_of_the_host_are_shown(playbook: Path, wharf: Wharf) -> None:
    (playbook / "answer").write_text(printed({"skipped": True}, {"report": {"rows": ROWS}}))
    ran = wharf("retention", "--dry-run", "-i", str(playbook), "--limit", "one")
    assert (ran.code, ran.lines) == (
        0,
        [
            "team/app\t2\tyes\t2026-01-02T03:04:05Z\t1\tamong the newest 10",
            "team/app\t1\tno\t2026-01-02T03:03:20Z\t1\tolder, and not among the newest 10",
            "other\tx\tyes\t\t\tno rule names it",
        ],
    )
    assert ran.err == "wharf: 1 of 3 tags would be removed; nothing was changed\n"
    assert (playbook / "called").read_text() == (
        f"ansible.posix.json -i {playbook} playbooks/retention.yml --check --limit one\n"
    )


def test_the_password_for_sudo_is_asked_for_by_ansible(playbook: Path, wharf: Wharf) -> None:
    (playbook / "answer").write_text(printed({"rows": ROWS}))
    for option in ("-K", "--ask-become-pass"):
        (playbook / "called").unlink(missing_ok=True)
        assert wharf("retention", "--dry-run", "-i", str(playbook), option).code == 0
        assert (playbook / "called").read_text().endswith(" playbooks/retention.yml --check -K\n")


def test_other_output_beside_the_answer_does_not_matter(
    playbook: Path, wharf: Wharf, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As profile_tasks of ANSIBLE_CALLBACKS_ENABLED and ANSIBLE_DEBUG do.
    text = f'{{"a": 1}}\n{{broken\n{printed({"rows": ROWS})}\nPLAYBOOK RECAP {{ 0:01 }}\n'
    (playbook / "answer").write_text(text)
    script = playbook / "ansible-playbook"
    script.write_text(script.read_text() + "echo >&2\n")
    monkeypatch.setenv("ANSIBLE_SKIP_TAGS", "contents")
    script.write_text(script.read_text().replace("echo ", 'echo "$ANSIBLE_SKIP_TAGS" ', 1))
    ran = wharf("retention", "--dry-run", "-i", str(playbook))
    assert ran.code == 0 and "1 of 3 tags would be removed" in ran.err
    assert (playbook / "called").read_text().startswith(" ansible.posix.json")


def test_only_what_goes(playbook: Path, wharf: Wharf) -> None:
    (playbook / "answer").write_text(printed({"rows": ROWS}))
    ran = wharf(
        "retention", "--dry-run", "--removed", "-i", str(playbook),
        "--format", "{{ repository }}:{{ tag }}",
    )  # fmt: skip
    assert ran.lines == ["team/app:1"]
    assert wharf("retention", "--dry-run", "-i", str(playbook), "--json").json == [
        {**row, "host": "one"} for row in ROWS
    ]


def test_damage_is_reported(playbook: Path, wharf: Wharf) -> None:
    damage = [{"kind": "manifest", "sentence": "team/app@sha256:1 is cut off"}]
    (playbook / "answer").write_text(printed({"rows": ROWS, "damage": damage}))
    ran = wharf("retention", "--dry-run", "-i", str(playbook))
    assert (ran.code, ran.err.splitlines()[0]) == (
        0,
        "wharf: damaged: team/app@sha256:1 is cut off",
    )


def test_reasons_why_a_run_would_remove_nothing_are_reported(playbook: Path, wharf: Wharf) -> None:
    more = {"held": "60 of 100 tags would go", "doubt": "the clock is in doubt"}
    (playbook / "answer").write_text(printed({"rows": ROWS, **more}))
    ran = wharf("retention", "--dry-run", "-i", str(playbook))
    assert ran.err.splitlines()[:2] == [
        "wharf: the brake would stop this: 60 of 100 tags would go",
        "wharf: nothing would be removed: the clock is in doubt",
    ]


def test_an_empty_registry_has_no_rows(playbook: Path, wharf: Wharf) -> None:
    (playbook / "answer").write_text(printed({"rows": []}))
    ran = wharf("retention", "--dry-run", "-i", str(playbook))
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "wharf: 0 of 0 tags would be removed; nothing was changed\n"


def test_a_failed_task_is_reported(playbook: Path, wharf: Wharf) -> None:
    (playbook / "answer").write_text(
        printed({"failed": True, "msg": "registry_retention, rule 1: an unknown key"})
    )
    (playbook / "status").write_text("2")
    ran = wharf("retention", "--dry-run", "-i", str(playbook))
    assert (ran.code, ran.err) == (1, "wharf: one: registry_retention, rule 1: an unknown key\n")


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        ("no JSON", 4, "ansible-playbook has failed: no JSON"),
        ("", 4, "ansible-playbook has failed: exit code 4"),
        (printed({}), 3, "ansible-playbook ends with exit code 3"),
        (
            printed({"rows": [1]}),
            0,
            "no host has answered with tags: does a registry serve there? (site.yml first)",
        ),
    ],
)
def test_a_failure_is_reported(
    playbook: Path, wharf: Wharf, answer: str, status: int, message: str
) -> None:
    (playbook / "answer").write_text(answer)
    (playbook / "status").write_text(str(status))
    ran = wharf("retention", "--dry-run", "-i", str(playbook))
    assert (ran.code, ran.err) == (1, f"wharf: {message}\n")


def test_a_dry_run_applies_nothing(wharf: Wharf) -> None:
    ran = wharf("retention", "-i", "inventory/local")
    assert (ran.code, ran.err) == (
        2,
        "wharf: wharf only shows what retention would do: say --dry-run. To apply it: "
        "ansible-playbook -i inventory/local playbooks/retention.yml\n",
    )


def test_calls_that_cannot_reach_the_hosts(
    playbook: Path, wharf: Wharf, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = wharf("retention", "--dry-run", "-i", "nowhere")
    assert (ran.code, ran.err) == (
        2,
        "wharf: --inventory nowhere: there is no such file or directory\n",
    )
    (playbook / "ansible-playbook").unlink()
    monkeypatch.setenv("PATH", str(playbook))
    assert wharf("retention", "--dry-run", "-i", str(playbook)).err == (
        "wharf: ansible-playbook is not installed here: run ./deploy once\n"
    )
    monkeypatch.setattr(retention, "PROJECT", playbook)
    assert wharf("retention", "--dry-run", "-i", str(playbook)).err == (
        "wharf: playbooks/retention.yml is not here: use .venv/bin/wharf of the project's folder, "
        "after ./deploy\n"
    )
