"""What the recipes share: running programs, hashing sources, and an error for the operator."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

ARCHITECTURES = ("amd64", "arm64")


class BuildError(Exception):
    """A message for the operator: what is wrong, where, and what to do instead."""


def native_architecture() -> str:
    """This machine's architecture, by Debian's name."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def say(message: str) -> None:
    """Print progress to standard error, since standard output is for the answer."""
    print(message, file=sys.stderr, flush=True)


def run(
    command: Sequence[str],
    *,
    doing: str,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """The standard output of ``command``. Raises BuildError with the end of its output if it fails.

    ``doing``: the task, with which the message begins.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise BuildError(f"{doing}: {command[0]} cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        words = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise BuildError(f"{doing}: {Path(command[0]).name} failed ({done.returncode}):\n{words}")
    return done.stdout


def install_wheels(
    requirements: Path, target: Path, *, doing: str, options: Sequence[str] = ()
) -> None:
    """Install the hash-locked ``requirements`` into the folder ``target``, wheels only.

    It uses uv, which can choose wheels for another Python and another architecture than its own.
    """
    # First look in this program's own environment, which need not be activated.
    environment = str(Path(sys.executable).parent)
    uv = shutil.which("uv", path=os.pathsep.join([environment, *os.get_exec_path()]))
    if uv is None:
        raise BuildError(
            f"{doing} needs uv, which is neither beside {sys.executable} nor on PATH: run "
            "./deploy, which installs it, or install it yourself (pipx install uv)"
        )
    run(
        [
            uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            sys.executable,
            "--target",
            str(target),
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--no-deps",
            *options,
            "--requirement",
            str(requirements),
        ],
        doing=doing,
        # The system's CAs may include a TLS-inspecting proxy's. By default uv has its own list.
        environment={
            **os.environ,
            "UV_SYSTEM_CERTS": os.environ.get("UV_SYSTEM_CERTS") or "true",
            "UV_LINK_MODE": "copy",
        },
    )


def pinned(requirements: Path, package: str) -> str:
    """The version of ``package`` in a hash-locked requirements file."""
    for line in requirements.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{package}=="):
            return line.split("==")[1].split()[0]
    raise BuildError(f"{requirements.relative_to(ROOT)}: {package} is not pinned there")


def source_files(folder: Path) -> list[Path]:
    """The files of a source folder, sorted, without leftovers of editors and Python."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix != ".pyc"
        and not any(
            part.startswith(".") or part == "__pycache__" for part in path.relative_to(folder).parts
        )
    )


def hash_sources(paths: Iterable[Path], **facts: str) -> str:
    """The SHA-256 of names and contents of files and of ``facts``, as 64 hexadecimal digits.

    Raises BuildError if a file is missing.
    """
    state = hashlib.sha256()
    for key, value in sorted(facts.items()):
        state.update(f"{key}={value}\0".encode())
    for path in sorted(set(paths)):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            name = path.relative_to(ROOT)
            raise BuildError(
                f"{name} is missing from this checkout: restore it (git checkout -- {name})"
            ) from None
        state.update(f"{path.relative_to(ROOT)}\0{len(content)}\0".encode() + content)
    return state.hexdigest()


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
