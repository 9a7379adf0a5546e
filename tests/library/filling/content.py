"""What a registry should hold."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from .manifests import Manifest

MIB = 1024 * 1024


class Large:
    """This many incompressible bytes, generated quickly again at each reading."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._block = os.urandom(MIB)
        hashed = hashlib.sha256()
        for part in self.read(0, size):
            hashed.update(part)
        self.digest = "sha256:" + hashed.hexdigest()

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` (whole MiB) to `end`: a repeated block, each with its number."""
        for offset in range(start, end, MIB):
            part = (offset // MIB).to_bytes(8, "big") + self._block[8:]
            yield part[: end - offset]


@dataclass
class Repository:
    """Its tags (name: digest) and all manifests that were ever pushed to it (by digest)."""

    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, Manifest] = field(default_factory=dict)

    @property
    def untagged(self) -> set[str]:
        """The manifests that nothing leads to: no tag, index, subject or signature's tag."""
        return set(self.manifests) - self.reached()

    def reached(self) -> set[str]:
        """The manifests that a tag leads to, and what belongs to them."""
        reached: set[str] = set()
        todo = list(self.tags.values())
        while todo:
            name = todo.pop()
            if name in reached or name not in self.manifests:
                continue
            reached.add(name)
            manifest = self.manifests[name]
            todo += manifest.children
            todo += [manifest.subject] if manifest.subject else []
            todo += [other for other, made in self.manifests.items() if made.subject == name]
        return reached


@dataclass
class Content:
    """The repositories by name, and the large layers by digest."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, Large] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository())

    def __contains__(self, name: str) -> bool:
        return name in self.repositories

    @property
    def tags(self) -> Iterator[tuple[str, str, str]]:
        """Repository, tag and digest of every tag."""
        for name, repository in sorted(self.repositories.items()):
            for tag, digest in repository.tags.items():
                yield name, tag, digest

    @property
    def blobs(self) -> Iterator[tuple[str, str, int]]:
        """Repository, digest and size of every blob that a tag leads to."""
        for name, repository in sorted(self.repositories.items()):
            needed = {
                blob
                for digest in repository.reached()
                for blob in repository.manifests[digest].blobs
            }
            for digest, size in sorted(needed):
                yield name, digest, size
