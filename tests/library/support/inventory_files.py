"""The files of an inventory that a test writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


def dump(value: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(value), sort_keys=False)


def private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read, so files that others can read are not the
    test's."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
