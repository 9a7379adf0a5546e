"""Running a program of the host: the one place where a process is started."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Result:
    """What a program answered. `code` 127: it is not installed, 124: it took too long."""

    code: int
    output: str
    error: str

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def words(self) -> str:
        """What the program said, for a message: its error output, else its output."""
        return (self.error.strip() or self.output.strip())[-2000:]


class Runner(Protocol):
    """Starts programs; tests hand in another."""

    def run(
        self,
        arguments: Sequence[str],
        *,
        timeout: float = 30,
        environment: Mapping[str, str] | None = None,
    ) -> Result: ...

    def which(self, program: str) -> str | None: ...


class SystemRunner:
    """Starts real programs, by argument list, in the C locale, without a shell."""

    def run(
        self,
        arguments: Sequence[str],
        *,
        timeout: float = 30,
        environment: Mapping[str, str] | None = None,
    ) -> Result:
        """Runs to the end; `environment` is added to this process's own. Never raises for what the
        program does: see `Result.code`."""
        try:
            done = subprocess.run(
                list(arguments),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
                env={**os.environ, "LC_ALL": "C", "PATH": _SEARCH, **(environment or {})},
                check=False,
            )
        except FileNotFoundError:
            return Result(127, "", f"{arguments[0]} is not installed")
        except PermissionError:
            return Result(126, "", f"{arguments[0]} may not be run")
        except subprocess.TimeoutExpired:
            return Result(124, "", f"{arguments[0]} did not answer within {timeout:g} s")
        return Result(
            done.returncode,
            done.stdout.decode("utf-8", "replace"),
            done.stderr.decode("utf-8", "replace"),
        )

    def which(self, program: str) -> str | None:
        """The program's file, looked for where a root shell would (sbin included)."""
        for folder in _SEARCH.split(":"):
            candidate = f"{folder}/{program}"
            if os.access(candidate, os.X_OK):
                return candidate
        return None
