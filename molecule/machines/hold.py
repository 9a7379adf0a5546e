#!/usr/bin/env python3
"""Holds apt's locks, as unattended-upgrades does: hold.py SECONDS [FILE, waited for before]."""

from __future__ import annotations

import fcntl
import sys
import time
from pathlib import Path

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
    time.sleep(seconds)


if __name__ == "__main__":
    main(float(sys.argv[1]), *sys.argv[2:])
