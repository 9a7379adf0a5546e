"""The settings that the jobs need to work without a controller (contents.json)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..system.context import Host
from ..system.errors import HostError
from ..system.files import read_text


@dataclass(frozen=True)
class Settings:
    """contents.json, as role `contents` writes it. Durations are in seconds, the rate in bytes per
    second. `raw` is the whole file; storage/plans.py reads the rules in it."""

    storage_path: Path
    raw: Mapping[str, Any]
    gc_max_seconds: float = 3600.0
    check_rate: int = 0
    drain_timeout: float = 600.0


def load(host: Host, given: Mapping[str, Any] | None = None) -> Settings:
    """The settings of the last deployment, or `given`. Raises HostError if there are none."""
    path = host.paths.contents_settings
    text = read_text(path)
    if text is None and given is None:
        raise HostError(f"{path} is not there: run the whole site.yml once, which writes it")
    try:
        raw = given or json.loads(text or "")
        return Settings(
            storage_path=Path(raw["storage_path"]),
            raw=raw,
            gc_max_seconds=float(raw.get("gc_max_seconds") or 3600),
            check_rate=int(raw.get("check_rate") or 0),
            drain_timeout=float(raw.get("drain_timeout") or 600),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise HostError(f"{path} cannot be read: run the whole site.yml, which writes it") from (
            problem
        )


def requested(host: Host, request: Mapping[str, Any], check: bool) -> Settings:
    """The settings of the last deployment; for a dry run, those in the request."""
    return load(host, request.get("settings") if check else None)
