"""One change at a time: an exclusive lock, which the kernel releases when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import HostError


class Busy(HostError):
    """Another process held the lock for too long."""


@contextmanager
def locked(path: Path, command: str, timeout: float) -> Iterator[int]:
    """Holds the lock. Waits at most `timeout` seconds, then raises Busy, which names the holder.
    Yields the descriptor: a process that inherits it holds the lock too, as long as it lives."""
    try:
        path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as problem:
        raise HostError(f"{path} may not be opened: run wharfinger-host as root") from problem
    try:
        _wait(descriptor, path, timeout)
        # The holder's name is for people only. The timer must work on a full disk too, where it
        # cannot be written.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.utime(descriptor)
            holder = f"{command}, process {os.getpid()}, since {time.strftime('%H:%M:%S')}"
            os.pwrite(descriptor, holder.encode(), 0)
        yield descriptor
        with suppress(OSError):
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


def held_since(path: Path) -> tuple[str, float] | None:
    """The lock's holder, and since when (seconds since 1970); None if it is free."""
    if not is_held(path):
        return None
    try:
        return _holder(path.read_bytes()), path.stat().st_mtime
    except OSError:
        return None


def _holder(data: bytes) -> str:
    return data.decode("utf-8", "replace") or "unknown"


def _wait(descriptor: int, path: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = _holder(os.pread(descriptor, 200, 0))
                raise Busy(
                    f"another wharfinger-host is at work ({holder}) and holds {path} for longer "
                    f"than {timeout:g} s: let it end and run again"
                ) from None
        time.sleep(0.05)
