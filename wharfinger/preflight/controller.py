"""Files on the controller that an inventory names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def on_controller(text: str, controller: Mapping[str, Any]) -> Path:
    """The file on the controller that an inventory's path means: relative to `base`."""
    return Path(controller.get("base", ".")) / Path(text).expanduser()


def reader(controller: Mapping[str, Any]) -> Callable[[str], bytes]:
    """What reads a file of the controller, by its path in the inventory. It raises OSError."""
    read: Callable[[str], bytes] = controller.get(
        "read", lambda text: on_controller(text, controller).read_bytes()
    )
    return read
