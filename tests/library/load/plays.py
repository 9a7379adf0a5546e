"""The operator's side: runs playbooks as people do, and kills them as accidents do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Played:
    """How a run ended: exit code, output, seconds."""

    code: int
    output: str
    seconds: float

    @property
    def changed(self) -> int:
        """How many tasks changed something."""
        return sum(map(int, re.findall(r"\bchanged=(\d+)", self.output)))

    @property
    def said(self) -> str:
        """The output without the line breaks and indentation that Ansible added."""
        return re.sub(r"\s+", " ", self.output)


class Running:
    """A run under way, in a process group of its own."""

    def __init__(
        self, command: list[str], environment: Mapping[str, str], project: Path = PROJECT
    ) -> None:
        self._began = time.monotonic()
        self._log: list[str] = []
        self._process = subprocess.Popen(
            command,
            cwd=project,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def until(self, text: str) -> bool:
        """Waits until the output contains this text; False if the run ended without it."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._log.append(line)
            if text in line:
                return True
        return False

    def wait(self) -> Played:
        """Waits until the run ends."""
        assert self._process.stdout is not None
        self._log += self._process.stdout
        code = self._process.wait()
        return Played(code, "".join(self._log), time.monotonic() - self._began)

    def kill(self) -> None:
        """SIGKILL for ansible-playbook and its workers, so that nothing tidies up."""
        os.killpg(self._process.pid, signal.SIGKILL)


@dataclass
class Operator:
    """Runs playbooks for `host`. `settings`: the operator's edits of the inventory so far, which
    every later run uses too. `project`: the checkout that has the playbooks; any other than this
    one has its own environment in .venv."""

    inventory: Path
    host: str
    settings: dict[str, Any] = field(default_factory=dict)
    project: Path = PROJECT

    def begin(self, playbook: str, *options: str, **more: Any) -> Running:
        """Starts a run with ansible-playbook's options; `more` are variables of this run only."""
        programs = BIN if self.project == PROJECT else self.project / ".venv/bin"
        command = [
            str(programs / "ansible-playbook"),
            f"--inventory={self.inventory}",
            f"--limit={self.host}",
            f"--extra-vars={json.dumps(self.settings | more)}",
            *options,
            str(self.project / playbook),
        ]
        # The project's own ansible.cfg applies, as for people.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")
        }
        environment |= {
            "ANSIBLE_HOST_KEY_CHECKING": "false",
            "PATH": f"{programs}:{os.environ['PATH']}",
        }
        return Running(command, environment, self.project)

    def play(self, playbook: str, *options: str, **more: Any) -> Played:
        """A run that must succeed; if it does not, the error shows its output."""
        done = self.begin(playbook, *options, **more).wait()
        assert done.code == 0, f"{playbook} {more}: {done.output[-6000:]}"
        return done
