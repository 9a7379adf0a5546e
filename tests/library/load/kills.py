"""Cuts a change off half-way: SIGKILL for all of its processes at a recorded moment."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .plays import Running
from .site import Site, inspected

PATIENCE = 240


def processes_in(machine: int) -> Iterator[Path]:
    """The folders in /proc of a host's processes. The host is given by the number of its first
    process. They are also processes of this machine, so both sides can be killed at once."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns/pid").samefile(f"/proc/{machine}/ns/pid"):
                yield process
        except OSError:
            continue  # it has ended meanwhile


def processes_of(machine: int) -> Iterator[int]:
    """The numbers of a host's processes that have the lock file open: they run the module."""
    for process in processes_in(machine):
        try:
            files = [path.readlink() for path in (process / "fd").iterdir()]
        except OSError:
            continue  # it has ended meanwhile
        if Path("/var/lib/wharfinger/lock") in files:
            yield int(process.name)


def kill(site: Site, moment: str, run: Running) -> None:
    """Waits for a moment of a change, then kills the playbook and the host program.

    :param moment: a step of the rotation, or a phase of a generation of the registry
    """
    machine = int(inspected(site.container, "{{.State.Pid}}"))
    path = Path(f"/proc/{machine}/root/var/lib/wharfinger/state.json")
    deadline = time.monotonic() + PATIENCE
    while not reached(json.loads(path.read_text()), moment):
        assert time.monotonic() < deadline, f"no {moment} was seen"
        time.sleep(0.002)
    run.kill()
    killed = list(processes_of(machine))
    for process in killed:
        os.kill(process, signal.SIGKILL)
    assert killed, "nothing was at work on the host"
    output = run.wait().output
    assert "PLAY RECAP" not in output, output


def reached(state: dict[str, Any], moment: str) -> bool:
    """Whether the change has reached this moment."""
    generations = state["kinds"]["registry"]["generations"]
    return moment in [
        (state["rotation"] or {}).get("step"),
        *(generation["phase"] for generation in generations),
    ]
