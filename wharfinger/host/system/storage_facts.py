"""The storage path: what is there, on which file system, and whose it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .context import Host
from .files import read_text
from .state import State

# Entries looked at for a foreign owner: enough to notice another registry's data, never slow.
_SAMPLE = 400
# Less than this share of a disk, and less than these bytes: it is about to be full.
_SHARE = 0.05
_BYTES = 2**30
# How /etc/fstab may name a device, and the folder of /dev/disk that holds such names.
_TAGS = {"UUID": "uuid", "LABEL": "label", "PARTUUID": "partuuid", "PARTLABEL": "partlabel"}


def data_of(host: Host, state: State) -> Path:
    """Where the registry's data lie."""
    return Path(state.storage_path or host.paths.var / "registry")


def problems(host: Host, data: Path) -> list[str]:
    """What is wrong with the disks that the registry's `data` and the host program's own files lie
    on: one sentence each. One that has no room left, or cannot be written."""
    sentences: list[str] = []
    for path in (data, host.paths.var):
        what = "registry's data" if path == data else "host's own files"
        if path != data and _device(path) == _device(data):
            continue  # the same disk, and told already
        try:
            sizes = os.statvfs(nearest(path))
        except OSError as problem:
            sentences.append(f"storage: {path}, where the {what} lie: {problem.strerror}")
            continue
        free, total = sizes.f_bavail * sizes.f_frsize, sizes.f_blocks * sizes.f_frsize
        if sizes.f_flag & os.ST_RDONLY:
            sentences.append(
                f"storage: {path}, where the {what} lie, is mounted read-only: look for the reason "
                "in the kernel's log (dmesg), repair the file system and mount it again"
            )
        elif free < min(_BYTES, _SHARE * total):
            sentences.append(
                f"storage: only {free // 2**20} MiB of {total // 2**20} MiB are free at {path}, "
                f"where the {what} lie: make room, as in docs/operations.md"
            )
    return sentences


def _device(path: Path) -> int:
    return nearest(path).stat().st_dev


def look(path: Path, host: Host, wanted: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Sizes are bytes; `mode` is a string like "0750"; of a path that is not there yet, file system
    and sizes are those of the directory in which it would be made. `wanted`: storage_mount, with
    which `is_source` compares what is mounted."""
    present = nearest(path)
    mounts = parse_mounts(read_text(host.paths.proc / "mounts") or "")
    mount = holding(mounts, present)
    sizes = os.statvfs(present)
    answer: dict[str, Any] = {
        "path": str(path),
        "exists": present == path,
        "is_mount": any(mount["target"] == str(path) for mount in mounts),
        "source": mount["source"],
        "is_source": is_source(wanted, path, mount["source"]) if wanted else None,
        "source_there": source_there(wanted) if wanted else None,
        "helper_there": helper_there(wanted) if wanted else None,
        "fstype": mount["fstype"],
        "parent_mount": mount["target"],
        "free_bytes": sizes.f_bavail * sizes.f_frsize,
        "total_bytes": sizes.f_blocks * sizes.f_frsize,
        "read_only": bool(sizes.f_flag & os.ST_RDONLY),
        "uid": None,
        "gid": None,
        "mode": None,
        "data": False,
        "data_uid": None,
        "foreign_owner": None,
    }
    if answer["exists"]:
        try:
            status = path.stat()
            answer |= {
                "uid": status.st_uid,
                "gid": status.st_gid,
                "mode": f"{stat.S_IMODE(status.st_mode):04o}",
            }
            answer["data"] = (path / "docker" / "registry" / "v2").is_dir()
            answer["data_uid"] = (path / "docker").stat().st_uid
            answer["foreign_owner"] = foreign_owner(path / "docker", host.registry_id)
        except OSError:
            pass  # not there, or closed to us: the rest stays null
    return answer


def nearest(path: Path) -> Path:
    """`path`, or the closest parent that can be seen."""
    for parent in (path, *path.parents):
        try:
            parent.stat()
        except OSError:
            continue
        return parent
    return Path("/")


def is_mount_point(path: Path, host: Host) -> bool:
    """Whether something is mounted at `path`: a bind mount of the same file system too, which
    os.path.ismount cannot tell from a directory."""
    mounts = parse_mounts(read_text(host.paths.proc / "mounts") or "")
    return any(mount["target"] == str(path) for mount in mounts)


def is_source(wanted: Mapping[str, Any], path: Path, present: str) -> bool | None:
    """Whether `present`, mounted at `path`, is what storage_mount names; None where it cannot be
    told, as for a device whose link is not there."""
    source = str(wanted.get("src") or "")
    try:
        if wanted.get("bind"):
            return Path(source).samefile(path)
        tag, equals, value = source.partition("=")
        if equals and tag in _TAGS:
            source = f"/dev/disk/by-{_TAGS[tag]}/{value.strip(chr(34))}"
        if source.startswith("/dev/"):
            return Path(source).resolve(strict=True) == Path(present).resolve(strict=True)
    except OSError:
        return None
    return source.rstrip("/") == present.rstrip("/")


def source_there(wanted: Mapping[str, Any]) -> bool | None:
    """Whether what storage_mount names is there; None where only mounting it would tell."""
    source = str(wanted.get("src") or "")
    # A name like LABEL=x is found by mount itself, also where nothing makes links in /dev/disk.
    if wanted.get("bind") or source.startswith("/dev/"):
        return Path(source).exists()
    return None


def helper_there(wanted: Mapping[str, Any]) -> bool | None:
    """Whether the program is there that mounts a network file system; None for all others."""
    kind = str(wanted.get("fstype") or "")
    if kind not in ("nfs", "nfs4", "cifs"):
        return None
    return Path(f"/sbin/mount.{kind}").exists()


def parse_mounts(text: str) -> list[dict[str, str]]:
    """/proc/mounts, in mount order; `\\040` and the like are decoded."""
    mounts = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 3:
            target = fields[1].encode("latin-1").decode("unicode_escape")
            mounts.append({"source": fields[0], "target": target, "fstype": fields[2]})
    return mounts


def holding(mounts: list[dict[str, str]], path: Path) -> dict[str, str]:
    """The mount that `path` is on: the longest target that is a parent; of equals, the last."""
    real = Path(os.path.realpath(path))
    best = {"source": "", "target": "/", "fstype": ""}
    for mount in mounts:
        target = Path(mount["target"])
        if real.is_relative_to(target) and len(mount["target"]) >= len(best["target"]):
            best = mount
    return best


def foreign_owner(path: Path, uid: int) -> str | None:
    """The first of a sample of entries, from the top down, that is not `uid`'s."""
    for count, entry in enumerate(_breadth_first(path)):
        if entry.lstat().st_uid != uid:
            return str(entry)
        if count >= _SAMPLE:
            break
    return None


def _breadth_first(path: Path) -> Iterator[Path]:
    level = [path]
    while level:
        below: list[Path] = []
        for entry in level:
            yield entry
            if entry.is_dir() and not entry.is_symlink() and len(below) < _SAMPLE:
                below.extend(sorted(entry.iterdir())[:_SAMPLE])
        level = below
