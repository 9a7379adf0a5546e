"""Which containers serve on a host, according to the host program's own state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def serving(state: Mapping[str, Any]) -> dict[str, str]:
    """The name of the container that serves, by kind (`state`: state.json)."""
    return {
        kind: f"wharfinger-{kind}-{generation['number']}"
        for kind, record in state["kinds"].items()
        for generation in record["generations"]
        if generation["phase"] == "serving"
    }
