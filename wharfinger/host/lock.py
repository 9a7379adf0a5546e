"""One change at a time: an exclusive lock that the kernel frees when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import HostError


class Busy(HostError):
    """Somebody else held the lock for too long."""


@contextmanager
def locked(path: Path, command: str, timeout: float) -> Iterator[None]:
    """Holds the lock; waits at most `timeout` seconds, then Busy names its holder."""
    try:
        path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as problem:
        raise HostError(f"{path} may not be opened: run wharfinger-host as root") from problem
    try:
        _wait(descriptor, path, timeout)
        os.ftruncate(descriptor, 0)
        holder = f"{command}, process {os.getpid()}, since {time.strftime('%H:%M:%S')}"
        os.pwrite(descriptor, holder.encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether another process holds the lock at this moment."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _wait(descriptor: int, path: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace") or "unknown"
                raise Busy(
                    f"another wharfinger-host is at work ({holder}) and holds {path} for longer "
                    f"than {timeout:g} s: let it end and run again"
                ) from None
        time.sleep(0.05)
