"""A host that is backed up (scenario backup): its backups are frozen, killed and read."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testinfra.host import Host

from support import hosts

from .kills import processes_in
from .plays import Operator
from .site import inspected

UNIT = "wharfinger-contents@backup.service"
# restic by hand, on the host.
RESTIC = (
    "env RESTIC_REPOSITORY_FILE=/etc/wharfinger/backup/repository "
    "RESTIC_PASSWORD_FILE=/etc/wharfinger/backup/password "
    "RESTIC_CACHE_DIR=/var/lib/wharfinger/backup/cache "
    "restic -o sftp.command='ssh -i /etc/wharfinger/backup/ssh_key -o UserKnownHostsFile="
    "/etc/wharfinger/backup/known_hosts {user} -s sftp'"
)
# Backups have the lowest priority, so on a busy machine they need minutes.
_PATIENCE = 600
_PROGRAM = "/usr/local/lib/wharfinger/wharfinger-host.pyz"
_STORAGE = "/var/lib/wharfinger/registry/docker/registry/v2"
_LIST = "/var/lib/wharfinger/backup/list.jsonl"
_STOP = "/root/backup_stops"
_OVERRIDE = f"/run/systemd/system/{UNIT}.d"

# The list is read in this order.
PHASES = ("tags", "history", "revisions", "layers")
# Runs on the host: a backup that stops before each phase of the repository `sys.argv[1]`, until
# the file that names the phase is removed.
_STOPPING = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {_PROGRAM!r})
from wharfinger.host.commands import run
from wharfinger.host.contents.storage import Storage

def stopping(phase, read):
    def stopped(self, repository, *rest):
        if repository == sys.argv[1] and phase not in seen:
            seen.add(phase)
            stop = Path({_STOP!r})
            stop.write_text(phase)
            while stop.exists():
                time.sleep(0.02)
        return read(self, repository, *rest)
    return stopped

seen = set()
for phase in {PHASES!r}:
    setattr(Storage, phase, stopping(phase, getattr(Storage, phase)))
run("backup", {{}})
"""
# Runs on the host: what the lists of all snapshots name and the snapshots do not have.
# sys.argv[1:]: restic.
_OPEN = f"""
import json, subprocess, sys

def restic(*arguments):
    command = [*sys.argv[1:], *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout

for snapshot in json.loads(restic("snapshots", "--json")):
    rows = [json.loads(line) for line in restic("dump", snapshot["id"], {_LIST!r}).splitlines()]
    stored = {{
        line.split("/")[-2]
        for line in restic("ls", snapshot["id"]).splitlines()
        if line.startswith({_STORAGE!r} + "/blobs/") and line.endswith("/data")
    }}
    revisions = {{(row[0], row[3]) for row in rows if row[1] == "revision"}}
    for repository, kind, name, digest, written in rows:
        if kind in ("tag", "history"):
            whole = (repository, digest) in revisions
        else:
            whole = digest.partition(":")[2] in stored
        if not whole:
            print(snapshot["short_id"], repository, kind, name, digest)
"""


class BackedUp:
    """The host `name` of the scenario, whose repository is in the home of `user` on `store`."""

    def __init__(self, name: str, user: str, store: str) -> None:
        self.name = name
        self.container = f"{hosts.prefix('backup')}-{name}"
        self.machine: Host = hosts.host(name)
        self.operator = Operator(hosts.inventory_file().parent, name)
        self._restic = RESTIC.format(user=f"{user}@{store}.wharfinger.test")
        self._first_process = int(inspected(self.container, "{{.State.Pid}}"))
        of_store = inspected(f"{hosts.prefix('backup')}-{store}", "{{.State.Pid}}")
        self._locks = Path(f"/proc/{of_store}/root/home/{user}/registry/locks")

    # -- what there is -----------------------------------------------------------------------------

    def restic(self, *arguments: str) -> str:
        """Runs restic on the host; returns its output."""
        return str(self.machine.check_output(f"{self._restic} {shlex.join(arguments)}"))

    def snapshots(self) -> list[str]:
        """The ids of the repository's snapshots, the oldest first."""
        rows = json.loads(self.restic("snapshots", "--no-lock", "--json")) or []
        return [row["short_id"] for row in sorted(rows, key=lambda row: str(row["time"]))]

    def place_of(self, layer: str) -> tuple[str, int]:
        """The pack of the repository that has a layer, and the place of a byte of it in that pack.
        layer: the digest of less than 512 KiB. restic stores that in one piece, whose id is its
        SHA-256."""
        for index in self.restic("list", "index", "--no-lock").split():
            content = json.loads(self.restic("cat", "index", index, "--no-lock"))
            for pack in content["packs"]:
                for piece in pack["blobs"]:
                    if layer == f"sha256:{piece['id']}":
                        return pack["id"], piece["offset"] + piece["length"] // 2
        raise AssertionError(f"the repository does not have {layer}")

    def locks(self) -> list[str]:
        """The repository's locks: of whoever works on it, or died while doing so. A file that
        restic is still writing is not a lock: it gets its name at the end."""
        return [path.name for path in self._locks.iterdir() if "-temp-" not in path.name]

    def open_ends(self) -> list[str]:
        """What the lists of the snapshots name and the snapshots do not have."""
        return hosts.script(self.name, _OPEN, *shlex.split(self._restic), "--no-lock").splitlines()

    def report(self) -> dict[str, Any]:
        """What the last backup that was not killed said of itself; empty if there was none."""
        done = self.machine.run("cat /var/lib/wharfinger/contents/backup.json")
        report: dict[str, Any] = json.loads(done.stdout or "{}")
        return report

    def is_running(self) -> bool:
        """Whether a backup is under way, or what follows it."""
        state = self.machine.check_output("systemctl show --property=ActiveState %s", UNIT)
        return str(state) in ("ActiveState=activating", "ActiveState=deactivating")

    def processes(self) -> dict[int, list[str]]:
        """The host's processes: their numbers on this machine, and their arguments."""
        arguments = {}
        for process in processes_in(self._first_process):
            try:
                arguments[int(process.name)] = (process / "cmdline").read_text().split("\0")[:-1]
            except OSError:
                continue  # it has ended meanwhile
        return arguments

    # -- what happens to it ------------------------------------------------------------------------

    def begin(self) -> None:
        """Starts a backup, as the timer does."""
        self.machine.run("systemctl reset-failed %s", UNIT)
        self.machine.check_output("systemctl start --no-block %s", UNIT)

    def ended(self) -> None:
        """Waits until no backup is under way."""
        deadline = time.monotonic() + _PATIENCE
        while self.is_running():
            assert time.monotonic() < deadline, "the backup does not end"
            time.sleep(0.1)

    def restic_at_work(self, command: str) -> int:
        """Waits until restic runs this command; returns its process's number on this machine."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            for number, arguments in self.processes().items():
                if arguments[:1] == ["restic"] and command in arguments:
                    return number
            time.sleep(0.01)
        raise AssertionError(f"no restic {command} was seen")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Waits for restic to make a snapshot, and keeps it from going on during the body."""
        restic = self.restic_at_work("backup")
        os.kill(restic, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(restic, signal.SIGCONT)

    @contextmanager
    def stopping(self, repository: str) -> Iterator[None]:
        """Backups stop before each of PHASES of this repository during the body."""
        program = "/root/stopping_backup.py"
        hosts.script(
            self.name, f"from pathlib import Path\nPath({program!r}).write_text({_STOPPING!r})"
        )
        command = f"/usr/bin/python3 {program} {repository}"
        text = f"[Service]\\nExecStart=\\nExecStart={command}\\n"
        self.machine.check_output(
            f"mkdir -p {_OVERRIDE} && printf '{text}' > {_OVERRIDE}/zz-stopping.conf "
            "&& systemctl daemon-reload"
        )
        try:
            yield
        finally:
            self.machine.check_output(
                f"rm -rf {_OVERRIDE} {program} {_STOP} && systemctl daemon-reload"
            )

    @contextmanager
    def stopped_before(self, phase: str) -> Iterator[None]:
        """Waits until a backup has stopped before a phase; it goes on after the body."""
        path = Path(f"/proc/{self._first_process}/root{_STOP}")
        deadline = time.monotonic() + _PATIENCE
        while not path.exists() or path.read_text() != phase:
            assert time.monotonic() < deadline, f"the backup has not come to its {phase}"
            time.sleep(0.02)
        yield
        path.unlink()

    def kill_removal(self) -> None:
        """Waits for restic to remove old snapshots, and kills it while it holds the lock."""
        restic = self.restic_at_work("forget")
        deadline = time.monotonic() + _PATIENCE
        while not self.locks():
            assert time.monotonic() < deadline, "restic forget has no lock"
        os.kill(restic, signal.SIGKILL)

    def kill(self, victim: str) -> None:
        """SIGKILL for the whole unit, for restic alone, or for the host program alone."""
        if victim == "restic":
            for number, arguments in self.processes().items():
                if arguments[:1] == ["restic"]:
                    os.kill(number, signal.SIGKILL)
        else:
            whom = {"unit": "all", "host program": "main"}[victim]
            self.machine.run("systemctl kill --signal=SIGKILL --kill-whom=%s %s", whom, UNIT)
