"""`wharf retention --dry-run`: what playbooks/retention.yml would do, as a table.

This module runs the playbook in check mode, which asks the host, and shows the rows in the host's
answer: repository, tag, digest, pushed (seconds since 1970), keep, rule, reason.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from ..errors import ClientError, UsageError
from ..inventory import PROJECT
from ..output import Column, Output, progress, say
from ..text import clean

PLAYBOOK = Path("playbooks/retention.yml")
# Variables that may be set for another project: they would leave out tasks of this one.
_OTHERS = ("ANSIBLE_RUN_TAGS", "ANSIBLE_SKIP_TAGS")
KEYS = ("repository", "tag", "digest", "pushed", "keep", "rule", "reason")


def refuse(inventory: Path) -> NoReturn:
    """Raises UsageError: this command does not apply the rules."""
    raise UsageError(
        f"wharf only shows what retention would do: say --dry-run. To apply it: ansible-playbook "
        f"-i {inventory} {PLAYBOOK}"
    )


def dry_run(inventory: Path, arguments: Sequence[str], removed: bool, output: Output) -> None:
    """Prints a row for each tag, or with `removed` for each that would go. `arguments` are further
    ones of ansible-playbook."""
    if not inventory.exists():
        raise UsageError(f"--inventory {inventory}: there is no such file or directory")
    if not (PROJECT / PLAYBOOK).exists():
        raise ClientError(
            f"{PLAYBOOK} is not here: use .venv/bin/wharf of the project's folder, after ./deploy"
        )
    program = Path(sys.executable).with_name("ansible-playbook")
    ansible_playbook = str(program) if program.exists() else shutil.which("ansible-playbook")
    if ansible_playbook is None:
        raise ClientError("ansible-playbook is not installed here: run ./deploy once")
    # Absolute: the command runs in the project's folder, because of its ansible.cfg.
    command = [ansible_playbook, "-i", str(inventory.resolve()), str(PLAYBOOK), "--check"]
    command += arguments
    # Ansible asks at the terminal itself, where a moving line would hide the question.
    with nullcontext() if "-K" in arguments else progress("the host is asked"):
        done = subprocess.run(
            command,
            cwd=PROJECT,
            env={
                **{name: text for name, text in os.environ.items() if name not in _OTHERS},
                "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
                "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
                "NO_COLOR": "1",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    rows, notes = read(done.stdout, done.stderr, done.returncode)
    show([row for row in rows if not (removed and row["keep"])], output)
    for sentence in notes:
        say(sentence)
    going = sum(not row["keep"] for row in rows)
    say(f"{going} of {len(rows)} tags would be removed; nothing was changed")


def show(rows: Sequence[Mapping[str, Any]], output: Output) -> None:
    """Prints rows."""
    columns = [
        Column("repository", "REPOSITORY"),
        Column("tag", "TAG"),
        Column("keep", "", lambda keep: "stays" if keep else "GOES"),
        Column("pushed", "PUSHED (UTC)", _minute, plain=_second),
        Column("rule", "RULE", right=True),
        Column("reason", "BECAUSE"),
    ]
    if len({row.get("host") for row in rows}) > 1:
        columns.insert(0, Column("host", "HOST"))
    output.rows(columns, rows)


def _minute(pushed: float | None) -> str:
    return "" if pushed is None else f"{datetime.fromtimestamp(pushed, UTC):%Y-%m-%d %H:%M}"


def _second(pushed: float | None) -> str:
    return "" if pushed is None else f"{datetime.fromtimestamp(pushed, UTC):%Y-%m-%dT%H:%M:%SZ}"


def read(stdout: str, stderr: str, status: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Reads the output of ansible-playbook. Returns the rows of all hosts, and sentences about
    damage and about what would prevent a run from removing anything. Raises ClientError with the
    messages of failed tasks."""
    printed = _document(stdout)
    if printed is None:
        last = clean((stderr or stdout).strip()[-500:]) or f"exit code {status}"
        raise ClientError(f"ansible-playbook has failed: {last}")
    rows: list[dict[str, Any]] = []
    failures, notes, answered = [], [], False
    for host, result in _results(printed):
        if result.get("failed") or result.get("unreachable"):
            failures.append(f"{host}: {str(result.get('msg') or 'failed').strip()}")
        answer = _answer(result)
        if answer is not None:
            answered = True
            rows += [
                {**{key: row.get(key) for key in KEYS}, "host": host} for row in answer["rows"]
            ]
            damage = answer.get("damage") or ()
            notes += [f"damaged: {clean(str(damaged.get('sentence')))}" for damaged in damage]
            if answer.get("held"):
                notes.append(f"the brake would stop this: {clean(str(answer['held']))}")
            if answer.get("doubt"):
                notes.append(f"nothing would be removed: {clean(str(answer['doubt']))}")
    if status or failures:
        raise ClientError("\n".join(failures) or f"ansible-playbook ends with exit code {status}")
    if not answered:
        raise ClientError(
            "no host has answered with tags: does a registry serve there? (site.yml first)"
        )
    return rows, notes


def _document(text: str) -> dict[str, Any] | None:
    """The output of the JSON callback. Other callbacks may print before and after it, and so does
    Ansible itself with ANSIBLE_VERBOSITY or ANSIBLE_DEBUG."""
    for line in re.finditer(r"^\{", text, re.MULTILINE):
        try:
            document, _ = json.JSONDecoder().raw_decode(text, line.start())
        except ValueError:
            continue
        if "plays" in document:
            return dict(document)
    return None


def _results(printed: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for play in printed.get("plays", []):
        for task in play.get("tasks", []):
            for host, result in task.get("hosts", {}).items():
                if isinstance(result, dict) and not result.get("skipped"):
                    yield host, result


def _answer(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The host's answer, with its `rows`, from any depth of a task's result."""
    rows = result.get("rows")
    if isinstance(rows, list) and all(
        isinstance(row, dict) and {"repository", "tag", "keep"} <= row.keys() for row in rows
    ):
        return result
    inner = (_answer(value) for value in result.values() if isinstance(value, dict))
    return next((answer for answer in inner if answer is not None), None)
