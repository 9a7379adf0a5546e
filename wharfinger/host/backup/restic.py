"""restic, which stores, encrypts and deduplicates backups: what Debian 12's 0.14 can do.

Everything secret reaches it by files and the environment, never by an argument. failures.py reads
its messages.
"""

from __future__ import annotations

import json
import re
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..system.context import Host
from ..system.errors import HostError
from ..system.files import read_text
from ..system.runner import Result
from .failures import Locked, NoRepository, failure, is_other_password, no_repository
from .place import place_of, remember, remembered, unmounted

# Seconds. restic 0.18 tries for 15 minutes to open a repository that does not answer.
_OPENING = 120.0
# A repository far away may need minutes to load its index.
_QUICK = 600.0
_LONG = 7 * 86400.0
# What `restore` says of files: that some could not be restored, and why.
_SOME_FAILED = "There were"
_FULL = "no space left on device"
# A repository that does not answer any more keeps restic from removing its lock.
_ENDING = 30.0
# Of all snapshots, those that this toolkit has made.
TAG = "wharfinger"
# Names in the file of variables whose values no message may hold.
_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|PASS$")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
# restic reads these characters of a pattern as wildcards.
_WILDCARDS = re.compile(r"([\\*?\[])")


@dataclass(frozen=True)
class Snapshot:
    """One backup. `time`: when it began, in UTC; `paths`: what was saved."""

    id: str
    time: datetime
    hostname: str
    paths: tuple[str, ...]

    @property
    def short_id(self) -> str:
        return self.id[:8]

    @property
    def when(self) -> str:
        """For people: 2026-11-30 01:30:00 UTC."""
        return f"{self.time:%Y-%m-%d %H:%M:%S} UTC"


class Restic:
    """The repository of this host (etc/backup/repository)."""

    def __init__(self, host: Host, rate: int = 0) -> None:
        self._host = host
        self._folder = host.paths.backup
        self._rate = rate
        self.place = place_of(host)
        self._is_open = False

    def exists(self) -> bool:
        """Whether there is a repository that the password opens; if so, this host remembers it.
        Raises HostError if the password does not open it, if a repository that this host remembers
        is gone, or if the place cannot be reached."""
        try:
            config = self._run(("cat", "config", "--no-lock"), _OPENING)
        except NoRepository:
            return False
        self._is_open = True
        remember(self._host, self.place, str(json.loads(config)["id"]))
        return True

    def is_taken(self) -> bool:
        """Whether there is a repository, whatever its password is. Raises HostError if the place
        cannot be reached."""
        with tempfile.NamedTemporaryFile("w", prefix="wharfinger-") as random_password:
            random_password.write(secrets.token_hex())
            random_password.flush()
            done = self._host.runner.run(
                self._command("cat", "config", "--no-lock", "--no-cache"),
                timeout=_OPENING,
                environment=self._environment() | {"RESTIC_PASSWORD_FILE": random_password.name},
            )
        if is_other_password(done.words):
            return True
        problem = self._failure("cat", _words(done))
        if isinstance(problem, NoRepository):
            return False
        raise problem

    def create(self) -> None:
        """Makes the repository. Raises HostError where there is one already, and where the disk for
        it is not mounted."""
        directory = self.place.directory
        mount = directory and unmounted(directory, self._host.paths.fstab)
        if mount:
            raise HostError(
                f"backup_repository: {mount} is in /etc/fstab and not mounted, so backups would go "
                f"to the disk below it: mount {mount}, then run site.yml"
            )
        self._quick("init")
        self.exists()

    def snapshots(self, hostname: str) -> list[Snapshot]:
        """This registry's snapshots, the oldest first. Raises HostError if there is no repository,
        or if it cannot be opened."""
        if not self._is_open and not self.exists():
            raise no_repository(self.place)
        output = self._quick("snapshots", "--json", "--no-lock", "--host", hostname, "--tag", TAG)
        rows: list[dict[str, Any]] = json.loads(output or "null") or []
        snapshots = [
            Snapshot(
                row["id"],
                # restic writes the local time with its offset, which changes twice a year.
                datetime.fromisoformat(row["time"]).astimezone(UTC),
                row["hostname"],
                tuple(row["paths"]),
            )
            for row in rows
        ]
        return sorted(snapshots, key=lambda snapshot: snapshot.time)

    @contextmanager
    def backup(self, hostname: str, files: Path, parent: str, keep_open: int) -> Iterator[Running]:
        """Begins one snapshot of all paths that the file `files` names, a line each. `parent`: the
        snapshot to compare with. `keep_open`: a descriptor that the process holds as long as it
        lives, whatever becomes of this one."""
        arguments = ["backup", "--json", "--compression", "off", "--host", hostname, "--tag", TAG]
        arguments += ["--files-from-verbatim", str(files)]
        if parent:
            arguments += ["--parent", parent]
        command = [*BESIDE, *self._command(*arguments)]
        # The lock of a host that burnt while it removed backups would stop every later one.
        self.unlock()
        process = self._host.runner.start(
            command, environment=self._environment(), keep_open=keep_open
        )
        running = Running(process, self._failure)
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
        done = self._host.runner.run(
            self._command(*arguments), timeout=_LONG, environment=self._environment()
        )
        if _FULL in done.error:
            raise HostError(
                f"restore: no space left on the disk of {target.parent}: free some, and run it "
                "again"
            )
        if not done.ok and (whole or _SOME_FAILED not in done.error):
            raise self._failure("restore", done.words)

    def sizes(self, snapshot: str, folders: Iterable[Path]) -> dict[str, int]:
        """The files in these folders of a snapshot: path → bytes."""
        output = self._quick("ls", "--json", "--no-lock", snapshot, *map(str, folders))
        nodes = [json.loads(line) for line in output.splitlines()]
        return {
            node["path"]: int(node.get("size", 0)) for node in nodes if node.get("type") == "file"
        }

    def size(self, snapshot: str) -> int | None:
        """The bytes that all files of a snapshot have; None if a part of what describes them is
        damaged."""
        try:
            output = self._run(("stats", "--json", "--no-lock", snapshot), _LONG)
            return int(json.loads(output)["total_size"])
        except (HostError, ValueError, KeyError):
            return None

    def check(self, part: int, parts: int) -> None:
        """Checks everything that describes the content, and reads one of so many `parts` (1 to 256)
        of the content itself. Raises Damaged with restic's words."""
        self._locking("check", f"--read-data-subset={part}/{parts}")

    def holding(self, snapshot: str, packs: Sequence[str]) -> list[str]:
        """The paths of a snapshot's files of which a part is in one of these packs."""
        arguments = ["find", "--json", "--no-lock", "--snapshot", snapshot]
        output = self._run([*arguments, "--pack", *packs], _LONG)
        return sorted({str(row["path"]) for row in json.loads(output or "[]")})

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

    def _run(self, arguments: Sequence[str], timeout: float) -> str:
        done = self._host.runner.run(
            self._command(*arguments), timeout=timeout, environment=self._environment()
        )
        if done.ok:
            return done.output
        raise self._failure(arguments[0], _words(done))

    def _failure(self, command: str, words: str) -> HostError:
        variables = _variables(read_text(self._folder / "environment") or "")
        values = [value for name, value in variables if value and _SECRET.search(name)]
        if self.place.ssh and "unable to start the sftp session" in words:
            # restic 0.14 may end before it has passed on what ssh said, so ssh is asked again.
            ssh = self._host.runner.run(_ssh(self._folder, *self.place.ssh).split(), timeout=60)
            words += "\n" + ssh.error
        problem = failure(command, words, self.place, values)
        known = remembered(self._host, self.place)
        if isinstance(problem, NoRepository) and known:
            return HostError(
                f"backup_repository: the repository at {self.place} (id {known[:10]}) is gone. Is "
                "its disk mounted, its server the right one? If it is lost for good, remove "
                f"{self._host.paths.backup_repository} and run site.yml, which makes a new one"
            )
        return problem

    def _command(self, *arguments: str) -> list[str]:
        options = []
        if self._rate:
            options += ["--limit-upload", str(max(1, self._rate // 1024))]
        if self.place.ssh:
            options += ["-o", f"sftp.command={_ssh(self._folder, *self.place.ssh)}"]
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

    def __init__(
        self, process: subprocess.Popen[bytes], failure: Callable[[str, str], HostError]
    ) -> None:
        self._process = process
        self._failure = failure

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
            elif message.get("message_type") == "exit_error":
                # Of restic 0.17 and later.
                words.append(str(message.get("message")))
        code = self._process.wait()
        if code != 0 or summary is None:
            raise self._failure(
                "backup", "\n".join(words[-20:]) or f"it ended with exit code {code}"
            )
        return summary

    def end(self) -> None:
        """Ends it where it still runs. What it has uploaded makes the next backup shorter."""
        if self._process.poll() is None:
            # At SIGTERM restic 0.14 leaves its lock, and other hosts would wait for 30 minutes.
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_ENDING)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


# What a backup is started by: clients' requests go first.
BESIDE = ("nice", "-n", "19", "ionice", "-c", "3")


def batches(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """The items in pieces of at most `size`, for several calls of restic."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def pattern(path: Path) -> str:
    """The pattern that matches this path alone."""
    return _WILDCARDS.sub(r"\\\1", str(path))


def _words(done: Result) -> str:
    """What restic said, also if it was ended since it went on trying."""
    return f"{done.output[-2000:]}\n{done.error}" if done.code == 124 else done.words


def _ssh(folder: Path, where: str, port: str) -> str:
    # restic 0.14 knows no sftp.args, so the whole command is written.
    return (
        f"ssh -i {folder}/ssh_key -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking="
        f"yes -o UserKnownHostsFile={folder}/known_hosts -o ConnectTimeout=30 "
        # A line that is cut off must not hold the backup's locks for ever.
        f"-o ServerAliveInterval=30 -o ServerAliveCountMax=6 -p {port} {where} -s sftp"
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
