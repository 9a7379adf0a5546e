"""The logs that nginx writes for the toolkit: who may read them, how long they are kept, and what
is missing.

nginx writes the token server's decisions too, which it gets with the answers. So no container can
change them, and nobody waits for docker. The timer rotates the logs: nginx opens new files, and the
closed ones belong to root.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from .context import Host
from .files import directory, exists, read_text, remove_tree, write_atomically

ACCESS, DECISIONS = "access.log", "decisions.log"
# A file is closed when it has so many bytes, or is so old (seconds).
LARGEST = 100 * 2**20
OLDEST = 86_400
# Closed files are kept for so many seconds, and at most so many bytes of each log.
KEPT = 30 * 86_400
KEPT_BYTES = 2**30
_TIME = re.compile(rb'"time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)')
_NUMBER = re.compile(rb'"process":"([0-9a-f]{8})","number":(\d+),')
# So many token servers, the ones last seen, are remembered; more never run at the same time.
_PROCESSES = 8


def folder(host: Host, check: bool) -> list[str]:
    """Ensures the directory of the logs."""
    return directory(host.paths.log, 0o755, host.root_id, host.root_id, check=check)


def prepare(host: Host) -> None:
    """Makes the files before nginx does, which would make them readable by everybody."""
    folder(host, False)
    for name in (ACCESS, DECISIONS):
        _prepare(host, host.paths.log / name)


def _prepare(host: Host, path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o640)
    try:
        os.fchmod(descriptor, 0o640)
        os.fchown(descriptor, -1, _readers(host))
    finally:
        os.close(descriptor)


def _readers(host: Host) -> int:
    """The group that may read nginx's own logs: adm on Debian."""
    return host.paths.nginx_log.stat().st_gid if exists(host.paths.nginx_log) else host.root_id


def append(host: Host, text: str) -> None:
    """Keeps the output of a token server that is gone. Raises OSError if it cannot be written."""
    folder(host, False)
    path = host.paths.token_server_log
    _prepare(host, path)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def adopt(host: Host, check: bool) -> list[str]:
    """Moves logs of earlier versions, which lie beside nginx's own, to ours."""
    actions = []
    for path in sorted(host.paths.nginx_log.glob("wharfinger*.log*")):
        target = host.paths.log / f"earlier-{path.name}"
        actions.append(f"{path}: moved to {target}")
        if not check:
            shutil.move(path, target)
            _close(host, target)
    return actions


def keep(host: Host, *, by_age: bool = True) -> list[str]:
    """Rotates logs that are due and removes old files, for the timer; returns what was done.
    `by_age`: False while the clock is in doubt. Then files are only removed for their size."""
    if not exists(host.paths.log):
        return []
    # A file that is closed in this run is compressed in the next: a worker may still write to it.
    closed = _closed(host)
    due = [path for path in _live(host) if _is_due(host, path)]
    actions = _rotate(host, due) if due else []
    _count(host)
    for path in closed:
        if path.stat().st_uid != host.root_id:
            _close(host, path)  # a rotation was killed
        if path.suffix != ".gz":
            _compress(path)
    return actions + [f"{path}: removed" for path in list(_old(host, by_age)) if remove_tree(path)]


def lost(host: Host) -> int:
    """How many decisions are missing in the log, by the timer's last count."""
    count = _record(host).get("lost")
    return count if isinstance(count, int) else 0


def _live(host: Host) -> list[Path]:
    names = (ACCESS, DECISIONS, host.paths.token_server_log.name)
    return [path for name in names if exists(path := host.paths.log / name)]


def _closed(host: Host) -> list[Path]:
    """The closed files, oldest first."""
    live = _live(host)
    closed = [path for path in host.paths.log.iterdir() if path.is_file() and path not in live]
    return sorted(closed, key=lambda path: (path.stat().st_mtime, path.name))


def _is_due(host: Host, path: Path) -> bool:
    """Whether the first line is a day old, or the file is large. An empty file is never due."""
    size = path.stat().st_size
    if size == 0:
        return False
    return size >= LARGEST or host.clock.now() - _begun(path) >= OLDEST


def _begun(path: Path) -> float:
    """When its first line was written; if that line has no time, when its last was."""
    with path.open("rb") as file:
        moment = _TIME.search(file.readline(4096))
    try:
        if moment is not None:
            return datetime.fromisoformat(moment[1].decode() + "+00:00").timestamp()
    except ValueError:
        pass
    return path.stat().st_mtime


def _rotate(host: Host, due: list[Path]) -> list[str]:
    """Makes nginx write to new files. The closed ones get the time into their names."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(host.clock.now()))
    closed = []
    for path in due:
        target = path.with_name(f"{path.stem}-{moment}{path.suffix}")
        path.rename(target)
        closed.append(target)
        if path != host.paths.token_server_log:
            _prepare(host, path)
    host.nginx.reopen(closed)
    for target in closed:
        _close(host, target)
    return [f"{path}: rotated" for path in due]


def _close(host: Host, path: Path) -> None:
    """Takes the file back from the workers' user, to whom nginx has given it."""
    os.chown(path, host.root_id, _readers(host), follow_symlinks=False)
    path.chmod(0o640)


def _compress(path: Path) -> None:
    """Compresses the file. If this is killed, the file is still there for the next run."""
    status = path.stat()
    temporary = path.with_name(f".{path.name}.new")
    with path.open("rb") as source, temporary.open("wb") as file:
        os.fchmod(file.fileno(), 0o640)
        os.fchown(file.fileno(), status.st_uid, status.st_gid)
        with gzip.GzipFile(path.name, "wb", 6, file) as target:
            shutil.copyfileobj(source, target, 2**20)
    os.utime(temporary, (status.st_atime, status.st_mtime))
    temporary.replace(path.with_name(f"{path.name}.gz"))
    path.unlink()


def _old(host: Host, by_age: bool) -> Iterator[Path]:
    """Closed files beyond KEPT_BYTES, and (with `by_age`) those that are too old."""
    left = dict.fromkeys((ACCESS, DECISIONS, ""), KEPT_BYTES)
    for path in reversed(_closed(host)):
        status = path.stat()
        log = next((name for name in left if name and path.name.startswith(name[:-4])), "")
        left[log] -= status.st_size
        old = by_age and status.st_mtime < host.clock.now() - KEPT
        if old or left[log] < 0:
            yield path


# -- decisions that are missing --------------------------------------------------------------------


def _count(host: Host) -> None:
    """Counts gaps in the lines since the last count. Each token server numbers its decisions: a gap
    is what nginx could not write, or had not written yet when it was killed."""
    record = _record(host)
    last: dict[str, int] = record.get("last") or {}
    missing = int(record.get("lost") or 0)
    live = host.paths.log / DECISIONS
    files = [path for path in _closed(host) if re.fullmatch(r"decisions-.*\.log", path.name)]
    files += [live] if exists(live) else []
    inodes = [path.stat().st_ino for path in files]
    first = inodes.index(record["inode"]) if record.get("inode") in inodes else len(files) - 1
    for path, inode in zip(files[max(first, 0) :], inodes[max(first, 0) :], strict=True):
        offset = int(record["offset"]) if inode == record.get("inode") else 0
        with path.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                offset += len(line)
                if (decision := _NUMBER.search(line)) is None:
                    continue
                process, number = decision[1].decode(), int(decision[2])
                previous = last.pop(process, number - 1 if not record else 0)
                # Two workers may write in another order: a late decision was not missing.
                missing += number - previous - 1 if number > previous else -1
                last[process] = max(number, previous)
        record = {"inode": inode, "offset": offset}
    last = dict(list(last.items())[-_PROCESSES:])
    record |= {"last": last, "lost": max(missing, 0)}
    write_atomically(host.paths.log_record, json.dumps(record).encode(), 0o600)


def _record(host: Host) -> dict[str, Any]:
    try:
        record = json.loads(read_text(host.paths.log_record) or "{}")
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
