"""The images that tests of access request."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from support.registry import Account, Registry, digest

# Own, nested, foreign and public repositories, and those of a group, as someuser sees them.
REPOSITORIES = (
    "someuser/app",
    "someuser/deep/er/app",
    "other/app",
    "public/app",
    "team/app",
    "team/deep/app",
    "shared/deep/app",
)


@dataclass
class Pushed:
    """An image with the tag `present`, and a layer that no other image has."""

    repository: str
    layer: bytes = field(repr=False)
    digest: str

    @property
    def layer_digest(self) -> str:
        """The layer's digest."""
        return digest(self.layer)


def push_everywhere(registry: Registry, account: Account) -> dict[str, Pushed]:
    """Pushes an image to each repository; returns the images by repository."""
    pushed = {}
    for repository in REPOSITORIES:
        layer = os.urandom(4096)
        answer = registry.push(account, repository, "present", layer)
        assert answer.status == 201, (repository, answer.status, answer.body)
        pushed[repository] = Pushed(repository, layer, answer.headers["docker-content-digest"])
    return pushed
