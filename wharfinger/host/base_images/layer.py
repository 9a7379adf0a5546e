"""An image's layer from mmdebstrap's tar, without what differs from host to host (pure)."""

from __future__ import annotations

import re
import tarfile
from io import BytesIO
from typing import IO

# Files of the host, of this run, or what a container gets from its engine.
_LEFT_OUT = re.compile(
    r"(dev|run|tmp|var/(tmp|cache|log|lib/apt/lists))/.+"
    r"|etc/(hostname|hosts|resolv\.conf|machine-id|\.pwd\.lock)|var/lib/dbus/machine-id"
    r"|etc/apt/(sources\.list(\.d/.+)?|apt\.conf\.d/99mmdebstrap)"
    r"|etc/(passwd|group|shadow|gshadow|subuid|subgid)-|usr/sbin/policy-rc\.d"
    r"|var/lib/dpkg/([^/]+-old|lock|lock-frontend|triggers/Lock)"
)
# Other directories stay, such as those for a package's log or cache.
_DIRECTORIES = re.compile(r"(dev|tmp|var/tmp)/.+")
SOURCES = "etc/apt/sources.list.d/debian.sources"


def is_kept(name: str, directory: bool) -> bool:
    """Whether an image has this path (relative to its root)."""
    if name in ("", "."):
        return False
    return (_DIRECTORIES if directory else _LEFT_OUT).fullmatch(name) is None


def write(source: IO[bytes], output: IO[bytes], sources: bytes, moment: int) -> None:
    """Writes the layer. source: mmdebstrap's tar. sources: the image's list of archives. moment:
    the time of everything that is newer. Raises tarfile.TarError or EOFError for half a tar."""
    with (
        tarfile.open(fileobj=source, mode="r|") as given,
        tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT) as made,
    ):
        for member in given:
            name = member.name.removeprefix("./").rstrip("/")
            if not is_kept(name, member.isdir()) or member.isdev():
                continue
            made.addfile(
                _plain(member, name, moment), given.extractfile(member) if member.isreg() else None
            )
        info = tarfile.TarInfo(SOURCES)
        info.size, info.mtime = len(sources), moment
        made.addfile(info, BytesIO(sources))


def _plain(member: tarfile.TarInfo, name: str, moment: int) -> tarfile.TarInfo:
    """The member without what says who has written the tar; file capabilities stay."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size = member.type, member.mode, member.size
    info.uid, info.gid = member.uid, member.gid
    info.mtime = min(int(member.mtime), moment)
    info.linkname = member.linkname
    if member.islnk():
        info.linkname = member.linkname.removeprefix("./")
        info.size = 0
    info.pax_headers = {
        key: value
        for key, value in member.pax_headers.items()
        if key == "SCHILY.xattr.security.capability"
    }
    return info
