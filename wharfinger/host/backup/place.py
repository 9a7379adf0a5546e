"""Where the repository lies, and what this host remembers of it.

A disk that is not mounted looks like an empty place. A second repository must not be made there, on
the disk below.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..system.context import Host
from ..system.files import read_text, write_atomically
from ..system.storage_facts import parse_mounts

# Both forms that restic takes: sftp:USER@HOST:PATH and sftp://USER@HOST:PORT/PATH.
_SFTP = re.compile(r"sftp:(?://(?P<where>[\w.@-]+)(?::(?P<port>\d+))?/|(?P<host>[\w.@-]+):)")
_S3 = re.compile(r"s3:(?:https?://)?(?P<server>[^/\s]+)/(?P<bucket>[^/\s]+)")
_URL = re.compile(r"https?://(?:[^/\s@]*@)?(?P<server>[^/\s]+)")
# The password of a URL.
_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s]*@")


@dataclass(frozen=True)
class Place:
    """backup_repository, as the host has it."""

    text: str

    def __str__(self) -> str:
        """The place for a message: without a password."""
        return without_password(self.text)

    @property
    def directory(self) -> Path | None:
        """The directory, if the repository is one on this host."""
        return Path(self.text) if self.text.startswith("/") else None

    @property
    def ssh(self) -> tuple[str, str] | None:
        """Of an sftp repository: [USER@]HOST, and the port."""
        match = _SFTP.match(self.text)
        return match and (match["where"] or match["host"], match["port"] or "22")

    @property
    def server(self) -> str:
        """The host's name, with a port where the place has one; the directory if there is no
        server."""
        if self.ssh:
            where, port = self.ssh
            return where.rpartition("@")[2] + ("" if port == "22" else f":{port}")
        match = _S3.match(self.text) or _URL.search(self.text)
        return match["server"] if match else str(self)

    @property
    def user(self) -> str:
        """The user of an sftp server."""
        return self.ssh[0].rpartition("@")[0] or "root" if self.ssh else ""

    @property
    def keyscan(self) -> str:
        """The command that shows an sftp server's host keys."""
        where, port = self.ssh or ("", "22")
        option = "" if port == "22" else f"-p {port} "
        return f"ssh-keyscan {option}{where.rpartition('@')[2]}"

    @property
    def bucket(self) -> str:
        """The bucket of an S3 server."""
        match = _S3.match(self.text)
        return match["bucket"] if match else ""


def without_password(text: str) -> str:
    """The text with `***` in place of each URL's password."""
    return _PASSWORD.sub(r"\1***@", text)


def place_of(host: Host) -> Place:
    """The place that the last deployment named."""
    return Place((read_text(host.paths.backup / "repository") or "").strip())


def remember(host: Host, place: Place, identifier: str) -> None:
    """Notes the repository that this host opened at the place."""
    wanted = json.dumps({"place": place.text, "id": identifier}) + "\n"
    path = host.paths.backup_repository
    if read_text(path) != wanted:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, wanted.encode(), 0o600)


def remembered(host: Host, place: Place) -> str | None:
    """The id of the repository that this host last opened at this place; None if it has not."""
    try:
        known = json.loads(read_text(host.paths.backup_repository) or "{}")
        return str(known["id"]) if known.get("place") == place.text else None
    except (ValueError, AttributeError, KeyError):
        return None


def unmounted(directory: Path, fstab: Path) -> str | None:
    """The mount point above the directory (or the directory itself) that `fstab` names and where
    nothing is mounted; None if there is none."""
    targets = [
        mount["target"].rstrip("/")
        for mount in parse_mounts(read_text(fstab) or "")
        if not mount["source"].startswith("#")
    ]
    above = [
        target
        for target in targets
        if target and directory.is_relative_to(target) and target != "/"
    ]
    mounted = {mount["target"] for mount in parse_mounts(read_text(Path("/proc/mounts")) or "")}
    nearest = max(above, key=len, default=None)
    return nearest if nearest is not None and nearest not in mounted else None


def on_one_disk(directory: Path, other: Path) -> bool:
    """Whether both lie on the same file system; of a path that is not there yet, its parent
    decides."""
    return _device(directory) == _device(other)


def _device(path: Path) -> int:
    return nearest(path).stat().st_dev


def nearest(path: Path) -> Path:
    """The path, or the first above it that is there."""
    while not os.path.lexists(path):
        path = path.parent
    return path
