"""What the host must know to copy mirrors (settings.json and mirror.lock, as the role `mirrors`
writes them)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...deployment.mirror_lock import Locked, LockError, parse
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import read_text


@dataclass(frozen=True)
class Settings:
    """registry: the own one, as HOST[:PORT]. mirrors: the entries of registry_mirrors, in order, as
    wharfinger/mirrors/rows.py writes them, each with `lines` (tag → digest) from the lock."""

    registry: str
    mirrors: tuple[Mapping[str, Any], ...]


def load(host: Host) -> Settings:
    """Those of the last deployment. Raises HostError if there were none."""
    path = host.paths.mirror_settings
    text = read_text(path)
    if text is None:
        raise HostError(
            f"{path} is not there: set registry_mirrors in the inventory and run site.yml"
        )
    try:
        raw = json.loads(text)
        registry, mirrors = str(raw["registry"]), list(raw["mirrors"])
    except (ValueError, TypeError, KeyError) as problem:
        raise HostError(f"{path} cannot be read: run site.yml, which writes it") from problem
    return Settings(registry, tuple(with_lines(mirrors, lock(host))))


def lock(host: Host) -> list[Locked]:
    """The lock's lines. Raises HostError if it is damaged."""
    path = host.paths.mirror_lock
    try:
        return parse(read_text(path) or "")
    except LockError as problem:
        raise HostError(f"{path}: {problem}") from problem


def with_lines(
    mirrors: Iterable[Mapping[str, Any]], lines: Iterable[Locked]
) -> list[dict[str, Any]]:
    """The entries, each with its lines of the lock as `lines`: tag → digest; and as `dated` the
    tags that an update has made for what a tag had before."""
    lines = list(lines)
    return [
        {
            **mirror,
            "lines": {
                line.tag: line.digest
                for line in lines
                if (line.repository, line.source) == (mirror["to"], mirror["from"])
            },
            "dated": [
                line.tag for line in lines if line.repository == mirror["to"] and line.is_dated
            ],
        }
        for mirror in mirrors
    ]
