"""Writes files and directories; a crash leaves the old content or the new one."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import HostError

# With the umask of a hardened host (077), nginx's workers and the containers' users could not enter
# directories that are made here. Secrets have modes of their own.
UMASK = 0o022


def write_atomically(
    path: Path, data: bytes, mode: int, owner: int | None = None, group: int | None = None
) -> None:
    """Replaces the content of `path` by `data` in one step, also across a power loss.

    The temporary name is fixed: the caller holds the lock, and the next write overwrites what a
    killed process has left.
    """
    while True:
        try:
            return _write(path, data, mode, owner, group)
        except OSError as problem:
            if problem.errno not in (errno.ENOSPC, errno.EDQUOT) or not _give_way():
                raise


@contextmanager
def drawing_on(reserve: Path) -> Iterator[None]:
    """If the disk is full during the body, `reserve`, a file on it, is made smaller."""
    _reserves.append(reserve)
    try:
        yield
    finally:
        _reserves.remove(reserve)


_reserves: list[Path] = []
# Larger than any file that is written here.
_PIECE = 64 << 10


def _give_way() -> bool:
    """Frees a piece of a reserve; False if none is left."""
    for reserve in _reserves:
        with suppress(OSError):
            size = reserve.stat().st_size
            if size > 0:
                os.truncate(reserve, max(size - _PIECE, 0))
                return True
    return False


def _write(path: Path, data: bytes, mode: int, owner: int | None, group: int | None) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        if owner is not None or group is not None:
            os.fchown(
                stream.fileno(), -1 if owner is None else owner, -1 if group is None else group
            )
        os.fchmod(stream.fileno(), mode)
        os.fsync(stream.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Makes a rename inside `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bytes(path: Path) -> bytes | None:
    """The file's content; None if it is not there or may not be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def read_text(path: Path) -> str | None:
    """The file's text (UTF-8, undecodable bytes replaced); None as for `read_bytes`."""
    data = read_bytes(path)
    return None if data is None else data.decode("utf-8", "replace")


def sha256(path: Path) -> str | None:
    """The file's SHA-256 in hex; None as for `read_bytes`."""
    data = read_bytes(path)
    return None if data is None else hashlib.sha256(data).hexdigest()


def exists(path: Path) -> bool:
    """Whether `path` is there; False if a parent directory may not be read."""
    try:
        return path.exists()
    except OSError:
        return False


def directory(path: Path, mode: int, owner: int, group: int, *, check: bool) -> list[str]:
    """Ensures a directory with this mode and owner; returns what was (or would be) done.

    Only the directory itself is changed, never its content. Raises HostError if something else is
    at this path.
    """
    wanted = f"{mode:04o} {owner}:{group}"
    try:
        status = path.lstat()
    except FileNotFoundError:
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700)
            os.chown(path, owner, group)
            path.chmod(mode)
        return [f"{path}: directory made ({wanted})"]
    if stat.S_ISLNK(status.st_mode) and path.is_dir():
        # An operator may have moved a large directory and left a link: its target counts.
        status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise HostError(f"{path} is there but is not a directory: move it away")
    present = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    if present == (mode, owner, group):
        return []
    if not check:
        os.chown(path, owner, group)
        path.chmod(mode)
    return [f"{path}: now {wanted} (was {present[0]:04o} {present[1]}:{present[2]})"]


def remove_tree(path: Path) -> bool:
    """Removes a file, a link, or a directory with its content; False if there was nothing."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
        return True
    if path.is_dir():
        shutil.rmtree(path)
        return True
    return False
