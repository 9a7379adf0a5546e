"""mirror.lock: which digest each tag of a mirror or of a base image has. Standard library only.

A line for each tag, sorted: IMAGE DATE SOURCE, where IMAGE is `repository:tag@sha256:…`, DATE the
day (UTC) on which this digest was locked, and SOURCE the upstream's `registry/repository`, or for a
base image `suite@time of the archive's state`. Lines that begin with # are comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..oci.digests import SHA256
from ..oci.names import LONGEST_REPOSITORY, REPOSITORY, TAG

NAME = "mirror.lock"
_IMAGE = re.compile(rf"({REPOSITORY.pattern}):({TAG.pattern})@({SHA256.pattern})")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SOURCE = re.compile(r"[!-~]+")
_FORM = "REPOSITORY:TAG@sha256:… YEAR-MONTH-DAY SOURCE"
_HEAD = """\
# The digest of every tag in registry_mirrors and registry_base_images. Commit this file: it says
# what the registry keeps. It is written by playbooks/mirror.yml -e update=true and
# playbooks/base_images.yml. A tag whose line is deleted is no longer copied.
"""


class LockError(ValueError):
    """A line that is not in the format. The text names the line and says what to write."""


@dataclass(frozen=True, order=True, slots=True)
class Locked:
    """One line. date: `2026-12-01`."""

    repository: str
    tag: str
    digest: str
    date: str
    source: str

    def __str__(self) -> str:
        return f"{self.image} {self.date} {self.source}"

    @property
    def image(self) -> str:
        """What follows `REGISTRY/` in a Dockerfile's FROM."""
        return f"{self.repository}:{self.tag}@{self.digest}"

    @property
    def is_dated(self) -> bool:
        """Whether it has the name of a tag that an update makes: `13-20261201` of that day."""
        date = self.tag.rpartition("-")[2].partition(".")[0]
        return "-" in self.tag and date == self.date.replace("-", "")

    @property
    def is_base_image(self) -> bool:
        """Whether the host made it; otherwise it is copied from an upstream."""
        return "@" in self.source


def parse(text: str) -> list[Locked]:
    """The lines of a lock file, sorted. Raises LockError for the first bad or repeated line."""
    lines: dict[tuple[str, str], Locked] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        locked = _line(words)
        if locked is None:
            raise LockError(
                f"line {number} is not in the format: write {_FORM}, take the line from an earlier "
                "commit, or delete it and run playbooks/mirror.yml -e update=true"
            )
        key = locked.repository, locked.tag
        if key in lines:
            raise LockError(
                f"line {number}: {locked.repository}:{locked.tag} has a line already, as after a "
                "merge: delete one of them"
            )
        lines[key] = locked
    return sorted(lines.values())


def _line(words: list[str]) -> Locked | None:
    if len(words) != 3:
        return None
    image, date, source = words
    match = _IMAGE.fullmatch(image)
    if match is None or not _DATE.fullmatch(date) or not _SOURCE.fullmatch(source):
        return None
    if len(match[1]) > LONGEST_REPOSITORY:
        return None
    return Locked(match[1], match[2], match[3], date, source)


def written(lines: Iterable[Locked]) -> str:
    """The text of a lock file with these lines."""
    return _HEAD + "".join(f"{line}\n" for line in sorted(lines))
