"""restic, which stores, encrypts and deduplicates backups: what Debian 12's 0.14 can do.

Everything secret reaches it by files and the environment, never by an argument. Newer versions
have exit codes for a missing repository, a wrong password and a lock (10 to 12); 0.14 has not, so
its words are read in all of them.
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..system.context import Host
from ..system.errors import HostError
from ..system.files import read_text

# Seconds. A repository far away may need minutes to load its index.
_QUICK = 600.0
_LONG = 7 * 86400.0
# Of all snapshots, those that this toolkit has made.
TAG = "wharfinger"
_ABSENT = "Is there a repository at the following location?"
_NEWER_ABSENT = "repository does not exist"
_WRONG_PASSWORD = "wrong password or no key found"
_LOCKED = "repository is already locked"
# Both forms that restic takes: sftp:USER@HOST:PATH and sftp://USER@HOST:PORT/PATH.
_SFTP = re.compile(r"sftp:(?://(?P<where>[\w.@-]+)(?::(?P<port>\d+))?/|(?P<host>[\w.@-]+):)")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
# restic reads these characters of a pattern as wildcards.
_WILDCARDS = re.compile(r"([\\*?\[])")


class NoRepository(HostError):
    """Nothing is at the repository's place yet."""


class Locked(HostError):
    """Somebody else works on the repository, or died while doing so."""


@dataclass(frozen=True)
class Snapshot:
    """One backup. `time` as restic writes it (RFC 3339); `paths`: what was saved."""

    id: str
    time: str
    hostname: str
    paths: tuple[str, ...]

    @property
    def short_id(self) -> str:
        return self.id[:8]


class Restic:
    """The repository of this host (etc/backup/repository)."""

    def __init__(self, host: Host, rate: int = 0) -> None:
        self._host = host
        self._folder = host.paths.backup
        self._rate = rate

    def exists(self) -> bool:
        """Whether there is a repository that the password opens. Raises HostError if there is one
        that it does not open, or if nobody can tell."""
        try:
            self._quick("cat", "config", "--no-lock")
        except NoRepository:
            return False
        return True

    def is_taken(self) -> bool:
        """Whether there is a repository, whoever knows its password."""
        with tempfile.NamedTemporaryFile("w", prefix="wharfinger-") as nobodys:
            nobodys.write(secrets.token_hex())
            nobodys.flush()
            environment = self._environment() | {"RESTIC_PASSWORD_FILE": nobodys.name}
            done = self._host.runner.run(
                self._command("cat", "config", "--no-lock", "--no-cache"),
                timeout=_QUICK,
                environment=environment,
            )
        if _WRONG_PASSWORD in done.words:
            return True
        problem = failure("cat", done.words)
        if isinstance(problem, NoRepository):
            return False
        raise problem

    def create(self) -> None:
        """Makes the repository. Fails where there is one already."""
        self._quick("init")

    def snapshots(self, hostname: str) -> list[Snapshot]:
        """This registry's snapshots, the oldest first."""
        output = self._quick("snapshots", "--json", "--no-lock", "--host", hostname, "--tag", TAG)
        rows: list[dict[str, Any]] = json.loads(output or "null") or []
        found = [
            Snapshot(row["id"], row["time"], row["hostname"], tuple(row["paths"])) for row in rows
        ]
        return sorted(found, key=lambda snapshot: snapshot.time)

    @contextmanager
    def backup(self, hostname: str, files: Path, parent: str, keep_open: int) -> Iterator[Running]:
        """Begins one snapshot of all paths that the file `files` names, a line each. `parent`: the
        snapshot to compare with. `keep_open`: a descriptor that the process holds as long as it
        lives, whatever becomes of this one."""
        arguments = ["backup", "--json", "--compression", "off", "--host", hostname, "--tag", TAG]
        arguments += ["--files-from-verbatim", str(files)]
        if parent:
            arguments += ["--parent", parent]
        command = [*_BESIDE, *self._command(*arguments)]
        process = self._host.runner.start(
            command, environment=self._environment(), keep_open=keep_open
        )
        running = Running(process)
        try:
            yield running
        finally:
            running.end()

    def forget(self, hostname: str, keep: Mapping[str, int], *, prune: bool) -> None:
        """Removes the snapshots that `keep` does not name, and with `prune` what only they had."""
        arguments = ["forget", "--host", hostname, "--tag", TAG, "--group-by", "host"]
        for name, number in keep.items():
            arguments += [f"--keep-{name}", str(number)]
        if prune:
            arguments.append("--prune")
        self._locking(*arguments)

    def unlock(self) -> None:
        """Removes locks whose process is gone: after half an hour those of other hosts too."""
        self._quick("unlock")

    def restore(
        self, snapshot: str, included: Sequence[str], target: Path, *, whole: bool = False
    ) -> None:
        """Restores what the patterns name below `target`. What is damaged is left out or has wrong
        content: the caller compares digests. With `whole`, damage raises HostError instead."""
        arguments = ["restore", snapshot, "--no-lock", "--target", str(target)]
        for included_pattern in included:
            arguments += ["--include", included_pattern]
        self._run(arguments, _LONG, tolerated="" if whole else "There were")

    def dump(self, snapshot: str, path: str) -> str:
        """The text of one small file of a snapshot."""
        return self._quick("dump", "--no-lock", snapshot, path)

    def _locking(self, *arguments: str) -> str:
        """Runs what locks the repository; a lock that a dead process has left is removed first."""
        try:
            return self._run(arguments, _LONG)
        except Locked:
            self.unlock()
            return self._run(arguments, _LONG)

    def _quick(self, *arguments: str) -> str:
        return self._run(arguments, _QUICK)

    def _run(self, arguments: Sequence[str], timeout: float, tolerated: str = "") -> str:
        done = self._host.runner.run(
            self._command(*arguments), timeout=timeout, environment=self._environment()
        )
        if done.ok or (tolerated and tolerated in done.error):
            return done.output
        raise failure(arguments[0], done.words)

    def _command(self, *arguments: str) -> list[str]:
        options = []
        if self._rate:
            options += ["--limit-upload", str(max(1, self._rate // 1024))]
        reached = _sftp(read_text(self._folder / "repository") or "")
        if reached:
            options += ["-o", f"sftp.command={_ssh(self._folder, *reached)}"]
        return ["restic", *options, *arguments]

    def _environment(self) -> dict[str, str]:
        environment = dict(_variables(read_text(self._folder / "environment") or ""))
        environment["RESTIC_REPOSITORY_FILE"] = str(self._folder / "repository")
        environment["RESTIC_PASSWORD_FILE"] = str(self._folder / "password")
        environment["RESTIC_CACHE_DIR"] = str(self._host.paths.backup_cache)
        # No status line more often than we look.
        environment["RESTIC_PROGRESS_FPS"] = "1"
        return environment


class Running:
    """A restic that works beside this process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def wait(self, on_poll: Callable[[], None]) -> dict[str, Any]:
        """Its summary, once it has ended; `on_poll` is called at each line that it writes, about
        once a second, and may raise. Raises HostError if it fails."""
        assert self._process.stdout is not None
        words: list[str] = []
        summary: dict[str, Any] | None = None
        for line in self._process.stdout:
            on_poll()
            message = _message(line)
            if message is None:
                words.append(line.decode("utf-8", "replace").rstrip())
            elif message.get("message_type") == "summary":
                summary = message
            elif message.get("message_type") == "error":
                words.append(str(message.get("error", {}).get("message") or message))
        code = self._process.wait()
        if code != 0 or summary is None:
            raise failure("backup", "\n".join(words[-20:]) or f"it ended with exit code {code}")
        return summary

    def end(self) -> None:
        """Ends it where it still runs. What it has uploaded makes the next backup shorter."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


# Clients' requests go first.
_BESIDE = ("nice", "-n", "19", "ionice", "-c", "3")


def pattern(path: Path) -> str:
    """The pattern that matches this path alone."""
    return _WILDCARDS.sub(r"\\\1", str(path))


def failure(command: str, words: str) -> HostError:
    """What restic said, as the error that it means."""
    if _WRONG_PASSWORD in words:
        return HostError(
            "backup_repository: a repository is there, and the password that this host has does "
            "not open it: it was made with another one. Bring credentials/backup_password from the "
            "controller that made it, or write its password as backup_password, and run site.yml"
        )
    if _ABSENT in words or _NEWER_ABSENT in words:
        return NoRepository("backup_repository: there is no repository yet: run site.yml")
    if _LOCKED in words:
        return Locked(f"backup_repository: somebody else works on it: {words}")
    return HostError(f"restic {command}: {words or 'it failed without a word'}")


def _sftp(repository: str) -> tuple[str, str] | None:
    """Of an sftp repository: [USER@]HOST, and the port."""
    found = _SFTP.match(repository)
    if found is None:
        return None
    return found["where"] or found["host"], found["port"] or "22"


def _ssh(folder: Path, where: str, port: str) -> str:
    # restic 0.14 knows no sftp.args, so the whole command is written.
    return (
        f"ssh -i {folder}/ssh_key -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking="
        f"yes -o UserKnownHostsFile={folder}/known_hosts -p {port} {where} -s sftp"
    )


def _variables(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and _VARIABLE.fullmatch(name):
            yield name, value


def _message(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
