"""What the host must know to back itself up (backup.json, as the role `backup` writes it)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..system.context import Host
from ..system.errors import HostError
from ..system.files import read_text

# restic's words for how many snapshots stay.
KEEP = ("last", "hourly", "daily", "weekly", "monthly", "yearly")


@dataclass(frozen=True)
class Settings:
    """`hostname`: the registry's, under which its snapshots are found. `keep`: how many snapshots
    stay, by one of KEEP; empty: the host removes none. `rate`: bytes per second, 0 for no limit.
    `free_minimum`: bytes of free space below which a waiting collection goes first. `version`: of
    the toolkit that deployed this host. `drill_size`: bytes that a drill restores at most."""

    hostname: str
    storage_path: Path
    keep: Mapping[str, int]
    rate: int = 0
    free_minimum: int = 0
    version: str = ""
    drill_size: int = 2 << 30


def load(host: Host) -> Settings:
    """Those of the last deployment. Raises HostError if there were none."""
    path = host.paths.backup_settings
    text = read_text(path)
    if text is None:
        raise HostError(
            f"{path} is not there: set backup_repository in the inventory and run site.yml"
        )
    try:
        raw: dict[str, Any] = json.loads(text)
        return Settings(
            hostname=str(raw["hostname"]),
            storage_path=Path(raw["storage_path"]),
            keep={name: int(raw["keep"][name]) for name in KEEP if name in raw["keep"]},
            rate=int(raw["rate"]),
            free_minimum=int(raw["free_minimum"]),
            version=str(raw["version"]),
            drill_size=int(raw.get("drill_size", Settings.drill_size)),
        )
    except (ValueError, TypeError, KeyError) as problem:
        raise HostError(f"{path} cannot be read: run site.yml, which writes it") from problem
