"""Runs programs of the host; processes are started nowhere else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .errors import HostError

_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Result:
    """The result of a program. `code` 127: it is not installed; 124: it took too long, and
    `output` is what it said until then, errors last."""

    code: int
    output: str
    error: str

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def words(self) -> str:
        """The program's output for a message: standard error, or else standard output."""
        return (self.error.strip() or self.output.strip())[-2000:]


class Runner(Protocol):
    """Starts programs; tests pass in another."""

    def run(
        self,
        arguments: Sequence[str],
        *,
        timeout: float = 30,
        environment: Mapping[str, str] | None = None,
    ) -> Result: ...

    def run_as(
        self, user_id: int, arguments: Sequence[str], *, request: str, timeout: float
    ) -> Result: ...

    def start(
        self, arguments: Sequence[str], *, environment: Mapping[str, str], keep_open: int
    ) -> subprocess.Popen[bytes]: ...

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
        """Runs the program to its end, with `environment` added to this process's own. A failure of
        the program raises nothing: see `Result.code`."""
        surroundings = {**os.environ, "LC_ALL": "C", "PATH": _SEARCH, **(environment or {})}
        return _result(arguments, timeout, env=surroundings, stdin=subprocess.DEVNULL)

    def run_as(
        self, user_id: int, arguments: Sequence[str], *, request: str, timeout: float
    ) -> Result:
        """Runs a program as a user and group of this id, which need no entry in passwd, with no
        other groups and nothing of this process's environment. `request` is its input."""
        return _result(
            arguments,
            timeout,
            env={"PATH": _SEARCH, "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"},
            input=request.encode(),
            user=user_id,
            group=user_id,
            extra_groups=[],
            cwd="/",
        )

    def start(
        self, arguments: Sequence[str], *, environment: Mapping[str, str], keep_open: int
    ) -> subprocess.Popen[bytes]:
        """Begins a program that works for long; its output and errors are its `stdout`. It inherits
        the descriptor `keep_open`. Raises HostError where it is not installed."""
        try:
            return subprocess.Popen(
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C", "PATH": _SEARCH, **environment},
                pass_fds=(keep_open,),
            )
        except FileNotFoundError as problem:
            raise HostError(f"{arguments[0]} is not installed") from problem

    def which(self, program: str) -> str | None:
        """The program's file, searched in the PATH of a root shell (with sbin)."""
        for folder in _SEARCH.split(":"):
            candidate = f"{folder}/{program}"
            if os.access(candidate, os.X_OK):
                return candidate
        return None


def _result(arguments: Sequence[str], timeout: float, **options: Any) -> Result:
    try:
        done = subprocess.run(
            list(arguments), capture_output=True, timeout=timeout, check=False, **options
        )
    except FileNotFoundError:
        return Result(127, "", f"{arguments[0]} is not installed")
    except PermissionError:
        return Result(126, "", f"{arguments[0]} may not be run")
    except subprocess.TimeoutExpired as ended:
        said = (ended.stdout or b"") + (ended.stderr or b"")
        problem = f"{arguments[0]} did not answer within {timeout:g} s"
        return Result(124, said.decode("utf-8", "replace"), problem)
    return Result(
        done.returncode,
        done.stdout.decode("utf-8", "replace"),
        done.stderr.decode("utf-8", "replace"),
    )
