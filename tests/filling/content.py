"""What a registry should hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .manifests import Manifest


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
        found: set[str] = set()
        todo = list(self.tags.values())
        while todo:
            name = todo.pop()
            if name in found or name not in self.manifests:
                continue
            found.add(name)
            one = self.manifests[name]
            todo += one.children
            todo += [one.subject] if one.subject else []
            todo += [other for other, made in self.manifests.items() if made.subject == name]
        return found


@dataclass
class Content:
    """By repository."""

    repositories: dict[str, Repository] = field(default_factory=dict)

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
