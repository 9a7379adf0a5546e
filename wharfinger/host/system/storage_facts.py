"""The storage path: what is there, its file system, and its owner."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .context import Host
from .files import read_text
from .state import State

# So many entries are checked for a foreign owner: enough to notice another registry's data.
_SAMPLE = 400
# A disk with less free space than this share, and than these bytes, is almost full.
_SHARE = 0.05
_BYTES = 2**30
# How /etc/fstab may name a device, and the folder of /dev/disk with such names.
_TAGS = {"UUID": "uuid", "LABEL": "label", "PARTUUID": "partuuid", "PARTLABEL": "partlabel"}


def data_of(host: Host, state: State) -> Path:
    """The directory of the registry's data."""
    return Path(state.storage_path or host.paths.var / "registry")


def problems(host: Host, data: Path) -> list[str]:
    """What is wrong with the disks of the registry's `data` and of the host program's own files,
    one sentence each: they are almost full, or cannot be written."""
    sentences: list[str] = []
    for path in (data, host.paths.var):
        what = "registry's data" if path == data else "host's own files"
        if path != data and _device(path) == _device(data):
            continue  # the same disk, already reported
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
    """Sizes are in bytes; `mode` is a string like "0750". If the path is not there yet, file system
    and sizes are those of its nearest parent. `wanted`: storage_mount, which `is_source` compares
    with what is mounted."""
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
            pass  # it is not there, or may not be read: the rest stays null
    return answer


def nearest(path: Path) -> Path:
    """`path`, or its nearest parent that can be seen."""
    for parent in (path, *path.parents):
        try:
            parent.stat()
        except OSError:
            continue
        return parent
    return Path("/")


def is_mount_point(path: Path, host: Host) -> bool:
    """Whether something is mounted at `path`. Unlike os.path.ismount, this also recognises a bind
    mount of the same file system."""
    mounts = parse_mounts(read_text(host.paths.proc / "mounts") or "")
    return any(mount["target"] == str(path) for mount in mounts)


def is_source(wanted: Mapping[str, Any], path: Path, present: str) -> bool | None:
    """Whether `present`, mounted at `path`, is the source in storage_mount; None if that is not
    known, as for a device without its link."""
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
    """Whether the source in storage_mount is there; None if only mounting would tell."""
    source = str(wanted.get("src") or "")
    # mount itself finds a name like LABEL=x, even if nothing makes links in /dev/disk.
    if wanted.get("bind") or source.startswith("/dev/"):
        return Path(source).exists()
    return None


def helper_there(wanted: Mapping[str, Any]) -> bool | None:
    """Whether the mount program of a network file system is installed; None for other types."""
    kind = str(wanted.get("fstype") or "")
    if kind not in ("nfs", "nfs4", "cifs"):
        return None
    return Path(f"/sbin/mount.{kind}").exists()


def parse_mounts(text: str) -> list[dict[str, str]]:
    """/proc/mounts in mount order; escapes like `\\040` are decoded."""
    mounts = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 3:
            target = fields[1].encode("latin-1").decode("unicode_escape")
            mounts.append({"source": fields[0], "target": target, "fstype": fields[2]})
    return mounts


def holding(mounts: list[dict[str, str]], path: Path) -> dict[str, str]:
    """The mount of `path`: the longest target that contains it; among equal ones, the last."""
    real = Path(os.path.realpath(path))
    best = {"source": "", "target": "/", "fstype": ""}
    for mount in mounts:
        target = Path(mount["target"])
        if real.is_relative_to(target) and len(mount["target"]) >= len(best["target"]):
            best = mount
    return best


def foreign_owner(path: Path, uid: int) -> str | None:
    """The first entry, in a sample from the top down, that does not belong to `uid`."""
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
