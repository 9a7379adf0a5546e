"""The values that the other modules share: a repository's contents, removals and damage.

Times are seconds since 1970. The time of a push is the mtime of the link that the push wrote: an
image's own date says when it was built, and is often wrong.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Tag:
    """The digest that a tag names, and when it was pushed."""

    digest: str
    pushed: float


@dataclass(frozen=True, slots=True)
class Revision:
    """A manifest of a repository. `children`: what it names as an index, manifests or not;
    `readable`: False if nothing is known about it; `oci_index`: it can be a list of referrers;
    `last_needed`: the latest moment at which something may have needed it (grace.py), None if only
    its push counts."""

    pushed: float
    children: tuple[str, ...] = ()
    subject: str | None = None
    readable: bool = True
    oci_index: bool = False
    last_needed: float | None = None


@dataclass(frozen=True)
class Contents:
    """A repository. `damaged`: something in it could not be read, so not everything that it needs
    is known."""

    repository: str
    tags: Mapping[str, Tag]
    revisions: Mapping[str, Revision]
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Removal:
    """A tag or revision to remove, as it was when this was planned (`pushed`: its link's mtime).

    A tag: `tag` is set. A revision: `tag` is None. The remains of a tag after an interrupted push
    or removal: `tag` is set, `digest` is empty.
    """

    repository: str
    digest: str
    tag: str | None = None
    pushed: float = 0.0

    @property
    def name(self) -> str:
        """`REPOSITORY:TAG` or `REPOSITORY@DIGEST`."""
        if self.tag is not None:
            return f"{self.repository}:{self.tag}"
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True)
class Damage:
    """Something that is not as it should be. `sentence` says what it is, and what to do.

    `repository` is None for a blob, since repositories share blobs. `repositories` and `tags`
    (`REPOSITORY:TAG`) are all that are affected, also through indexes. `path` is the file on the
    host.
    """

    kind: str
    repository: str | None
    digest: str | None
    path: str
    sentence: str
    tags: tuple[str, ...] = ()
    repositories: tuple[str, ...] = field(default=())

    def report(self) -> dict[str, Any]:
        """The damage as a report has it (JSON)."""
        fields = dataclasses.asdict(self)
        return {**fields, "tags": list(self.tags), "repositories": list(self.repositories)}
