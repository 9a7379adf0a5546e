"""The log: one JSON object a line on standard output."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any


def write(event: dict[str, Any]) -> None:
    """Write one event, with the time in front."""
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    sys.stdout.write(json.dumps({"time": stamp} | event, separators=(",", ":")) + "\n")
    sys.stdout.flush()
