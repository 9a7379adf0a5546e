"""Checks whether a registry holds what it should, by its API and by its storage."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from load.session import Session

from .content import Content
from .fill import batched
from .pushing import Pushing, several

# A program that runs on the host and lists what its storage holds.
STORED = Path(__file__).with_name("stored.py")


def missing(session: Session, content: Content) -> list[str]:
    """Asks for everything by HEAD; a line for each tag, manifest and blob that is not as pushed."""
    problems: list[str] = []

    def tag(pushing: Pushing, repository: str, name: str, wanted: str) -> None:
        present = pushing.digest_of(repository, name)
        if present != wanted:
            problems.append(f"{repository}:{name} is {present} instead of {wanted}")

    def manifest(pushing: Pushing, repository: str, wanted: str) -> None:
        if pushing.digest_of(repository, wanted) != wanted:
            problems.append(f"{repository}@{wanted} is not there")

    def blob(pushing: Pushing, repository: str, name: str, size: int) -> None:
        actual = pushing.size(repository, name)
        if actual != size:
            problems.append(f"the blob {name} of {repository} has {actual} bytes, not {size}")

    for together in batched(sorted(content.repositories)):
        pushing = Pushing(session, content, together)
        several(
            itertools.chain(
                (partial(tag, pushing, *entry) for entry in content.tags if entry[0] in together),
                (
                    partial(manifest, pushing, name, digest)
                    for name in together
                    for digest in content[name].reached()
                ),
                (partial(blob, pushing, *entry) for entry in content.blobs if entry[0] in together),
            )
        )
    return sorted(problems)


def differences(stored: Mapping[str, Any], content: Content) -> list[str]:
    """A line for each tag that the storage (as stored.py printed it) does not hold in full."""
    tags: dict[str, dict[str, str]] = stored["tags"]
    problems = list(stored["problems"])
    for repository, tag, wanted in content.tags:
        has = tags.get(repository, {}).get(tag)
        if has != wanted:
            problems.append(f"{repository}:{tag} is {has} instead of {wanted}")
    return sorted(problems)
