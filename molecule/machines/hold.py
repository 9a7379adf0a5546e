#!/usr/bin/env python3
"""Holds apt's locks, as unattended-upgrades does: hold.py SECONDS [FILE to wait for first].

The program ends a few seconds after an apt-get has met the locks, or after SECONDS without one.
"""

from __future__ import annotations

import contextlib
import fcntl
import sys
import time
from pathlib import Path

# Longer than the pause between two attempts of a program that waits for the locks.
MET = 5
LOCKS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
)


def main(seconds: float, *awaited: str) -> None:
    """Takes the locks when the files `awaited` exist, and releases them at its end."""
    while not all(map(Path.exists, map(Path, awaited))):
        time.sleep(0.05)
    files = [Path(name).open("a") for name in LOCKS]  # noqa: SIM115
    for file in files:
        fcntl.lockf(file, fcntl.LOCK_EX)
    print("held", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end and not apt_runs():
        time.sleep(0.02)
    if time.monotonic() < end:
        time.sleep(MET)


def apt_runs() -> bool:
    """Whether an apt-get that needs the locks is running."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # the process has ended
            words = path.read_bytes().split(b"\0")
            if words[0].endswith(b"apt-get") and b"--simulate" not in words:
                return True
    return False


if __name__ == "__main__":
    main(float(sys.argv[1]), *sys.argv[2:])
