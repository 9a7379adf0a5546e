"""The registry's storage: what nothing needs, what is damaged, and what would be freed.

This package works on files only and knows nothing about containers, the proxy or locks.
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
from .uploads import awaited_layers, named_by_manifests, uploads_at_rest

__all__ = [
    "Storage",
    "Usage",
    "apply",
    "awaited_layers",
    "collectable",
    "examine",
    "garbage",
    "make_collectable",
    "named_by_manifests",
    "needed_blobs",
    "obstacles",
    "plan_retention",
    "plan_untagged",
    "restore",
    "scrub",
    "unneeded",
    "uploads_at_rest",
    "usage",
]
