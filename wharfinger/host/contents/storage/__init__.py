"""What is in the registry's storage: what nothing needs, what is damaged, what would be freed.

Works on files only: no container, no proxy, no lock is known here.
"""

from __future__ import annotations

from .aside import restore
from .garbage import (
    Usage,
    collectable,
    examine,
    garbage,
    make_collectable,
    needed_blobs,
    obstacles,
    unneeded,
    usage,
)
from .layout import Storage
from .plans import plan_retention, plan_untagged
from .removal import apply
from .scrub import scrub
from .uploads import awaited, named, placed

__all__ = [
    "Storage",
    "Usage",
    "apply",
    "awaited",
    "collectable",
    "examine",
    "garbage",
    "make_collectable",
    "named",
    "needed_blobs",
    "obstacles",
    "placed",
    "plan_retention",
    "plan_untagged",
    "restore",
    "scrub",
    "unneeded",
    "usage",
]
