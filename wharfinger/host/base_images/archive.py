"""The state of Debian's archive: the InRelease files from which an image is made."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from ..system.context import Host
from ..system.errors import HostError
from .settings import Row

_HELPER = "/usr/lib/apt/apt-helper"
_DATE = re.compile(rb"^Date: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class State:
    """moment: the newest date in the files, in seconds since 1970. files: their SHA-256s."""

    moment: int
    files: frozenset[str]

    @property
    def date(self) -> str:
        """The moment as 2026-11-30T14:13:00Z (UTC)."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.moment))

    @property
    def day(self) -> str:
        """Its day as 20261130, which dated tags end with."""
        return time.strftime("%Y%m%d", time.gmtime(self.moment))


def state_of(files: list[bytes]) -> State:
    """The state that these InRelease files describe. Raises ValueError for one without a date."""
    moments = []
    for data in files:
        date = _DATE.search(data)
        if date is None:
            raise ValueError("no date")
        moments.append(int(parsedate_to_datetime(date[1].decode("ascii").strip()).timestamp()))
    return State(max(moments), frozenset(hashlib.sha256(data).hexdigest() for data in files))


def look(host: Host, row: Row, work: Path) -> State:
    """The archive's present state, for a few hundred kilobytes. apt fetches the files, by the proxy
    that apt has. Their signatures are not checked here: what an image is made from is compared with
    this, after mmdebstrap has checked it. Raises HostError if the archive cannot be reached."""
    files = []
    for number, (mirror, suite) in enumerate(row.sources):
        url = f"{mirror}/dists/{suite}/InRelease"
        target = work / f"{number}.InRelease"
        # apt's download is done by an account that may not write into `work` itself.
        said = host.runner.run(
            [_HELPER, "-o", "Acquire::Retries=2", "download-file", url, str(target)], timeout=180
        )
        try:
            if not said.ok:
                raise HostError(f"{url} cannot be fetched: {_reason(said.words)}")
            files.append(target.read_bytes())
        finally:
            target.unlink(missing_ok=True)
    try:
        return state_of(files)
    except ValueError as problem:
        raise HostError(
            f"{row.mirror}: what it has as dists/{row.suite}/InRelease is not a list of Debian's "
            "archive: write another `mirror` in registry_base_images"
        ) from problem


def _reason(words: str) -> str:
    lines = [line for line in words.splitlines() if line.startswith(("E:", "Err:", "W:"))]
    return " ".join(lines or words.splitlines()[-2:])[:400] or "it gives no answer"


def proxies(host: Host) -> dict[str, str]:
    """apt's proxies on this host, as variables for a program that does not read its settings."""
    found = {}
    for kind in ("http", "https"):
        said = host.runner.run(["apt-config", "shell", "P", f"Acquire::{kind}::Proxy"])
        value = said.output.strip().removeprefix("P=").strip("'")
        if said.ok and value:
            found[f"{kind}_proxy"] = value
    return found
