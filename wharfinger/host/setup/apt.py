"""Runs apt-get, and waits while another apt or dpkg is at work."""

from __future__ import annotations

import fcntl
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists
from ..system.processes import program
from ..system.runner import Result

# Seconds to wait for another apt, such as the unattended upgrade at a first boot.
PATIENCE = 300.0
_LOOK = 2.0
# Seconds after which package lists are fetched again.
_FRESH = 3600.0
_LONGEST = 3600.0
_HELD = re.compile(
    r"Could not get lock (?P<lock>/\S+?)\.? It is held by process (?P<pid>\d+) \((?P<name>[^)]*)\)"
    r"|Could not get lock|is another process using it|lock was locked by another process"
)
# Keep present configuration files, and ask no questions.
_KEEPING = ("--force-confdef", "--force-confold")
_OLD_LISTS = re.compile(r"Unable to locate package|no installation candidate|\b404\b")


def packages(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`packages`: installs or purges packages.

    Request: {"install": [names]} or {"purge": [names]}; optional "patience", seconds.

    An installation removes no package, and present configuration files stay as they are. If a dpkg
    was killed, its work is completed.
    """
    install, purge = list(request.get("install") or ()), list(request.get("purge") or ())
    if check:
        return {
            "actions": [f"{name}: would be installed" for name in install]
            + [f"{name}: would be removed" for name in purge]
        }
    apt = Apt(host, float(request.get("patience", PATIENCE)))
    actions = []
    if install:
        apt.install(install)
        actions += [f"{name}: installed" for name in install]
    if purge:
        apt.run("purge", *purge)
        actions += [f"{name}: removed" for name in purge]
    return {"actions": apt.waited() + actions}


class Apt:
    """Runs apt-get. `patience`: seconds to wait for others, in total."""

    def __init__(self, host: Host, patience: float = PATIENCE) -> None:
        self.host = host
        self.patience = patience
        self._begin = host.clock.monotonic()
        self._others: dict[str, float] = {}

    def install(self, names: Sequence[str]) -> None:
        """Installs packages with fresh package lists. Raises HostError with apt's message."""
        command = ("install", "--no-install-recommends", "--no-remove", *names)
        fresh = self._lists_are_fresh()
        if not fresh:
            self.run("update")
        try:
            self.run(*command)
        except HostError as problem:
            if not (fresh and _OLD_LISTS.search(str(problem))):
                raise
            self.run("update")
            self.run(*command)

    def run(self, *arguments: str) -> None:
        """Runs apt-get once no other is at work. Raises HostError with its message."""
        options = [f"--option=Dpkg::Options::={option}" for option in _KEEPING]
        command = ["apt-get", "--yes", "--quiet", *options, *arguments]
        said = self._in_turn(*command)
        if "dpkg --configure -a" in said.words:
            # A dpkg was killed: apt does nothing until its work is completed.
            self._in_turn("dpkg", *_KEEPING, "--configure", "-a")
            said = self._in_turn(*command)
        if not said.ok:
            raise HostError(f"apt-get {' '.join(arguments)} failed: {_errors(said)}")

    def waited(self) -> list[str]:
        """For which programs it has waited, one sentence each."""
        return [f"waited {took:.0f} s for {who}" for who, took in self._others.items()]

    def _in_turn(self, *command: str) -> Result:
        clock = self.host.clock
        while True:
            since = clock.monotonic()
            said = self.host.runner.run(
                command, timeout=_LONGEST, environment={"DEBIAN_FRONTEND": "noninteractive"}
            )
            held = None if said.ok else _HELD.search(said.error + said.output)
            if held is None:
                return said
            who = self._who(held)
            if clock.monotonic() - self._begin >= self.patience:
                raise HostError(
                    f"apt is busy: {who} still holds its lock after {self.patience:g} s. See what "
                    "it does, and run this again once it has ended"
                )
            clock.sleep(_LOOK)
            self._others[who] = self._others.get(who, 0.0) + clock.monotonic() - since

    def _who(self, held: re.Match[str]) -> str:
        if held["pid"]:
            return f"{held['name']} (process {held['pid']})"
        return holder(self.host) or "another apt or dpkg"

    def _lists_are_fresh(self) -> bool:
        lists = self.host.paths.apt_lists
        if not any(lists.glob("*_Packages*")):
            return False
        stamp = Path("/var/lib/apt/periodic/update-success-stamp")
        youngest = max(path.stat().st_mtime for path in (lists, stamp) if exists(path))
        return self.host.clock.now() - youngest < _FRESH


def holder(host: Host) -> str | None:
    """The holder of one of apt's locks, as `apt-get (process 812)`; None if they are free."""
    for path in host.paths.apt_locks:
        try:
            with path.open("rb") as stream:
                lock = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0)
                kind, _, _, _, pid = struct.unpack(
                    "hhqqi", fcntl.fcntl(stream, fcntl.F_GETLK, lock)
                )
        except OSError:
            continue
        if kind != fcntl.F_UNLCK:
            return f"{program(host.paths.proc, pid) or 'a program'} (process {pid})"
    return None


def _errors(said: Result) -> str:
    """apt's errors, without its progress."""
    lines = (said.error + said.output).splitlines()
    return " ".join(line for line in lines if line.startswith(("E:", "dpkg: error"))) or said.words
