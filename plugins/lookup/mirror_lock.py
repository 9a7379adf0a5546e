"""The text of mirror.lock beside the inventory; empty if there is none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from wharfinger.deployment import mirror_lock


class LookupModule(LookupBase):
    """Takes no terms."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **_: Any) -> list[str]:
        """A list with the text."""
        path = Path((variables or {}).get("inventory_dir") or ".") / mirror_lock.NAME
        return [path.read_text(encoding="utf-8") if path.exists() else ""]
