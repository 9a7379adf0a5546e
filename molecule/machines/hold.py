#!/usr/bin/env python3
"""Holds apt's locks, as unattended-upgrades does: hold.py SECONDS [FILE, waited for before].

Somebody's apt-get has met them a few seconds before the end, or there was none for SECONDS.
"""

from __future__ import annotations

import contextlib
import fcntl
import sys
import time
from pathlib import Path

# Longer than whoever waits for the locks takes to try again.
MET = 5
LOCKS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
)


def main(seconds: float, *awaited: str) -> None:
    """Takes the locks once `awaited` is there, and lets go of them at its end."""
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
    """Whether there is an apt-get that needs the locks."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            words = path.read_bytes().split(b"\0")
            if words[0].endswith(b"apt-get") and b"--simulate" not in words:
                return True
    return False


if __name__ == "__main__":
    main(float(sys.argv[1]), *sys.argv[2:])
