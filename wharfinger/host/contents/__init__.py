"""What is in the registry's storage: what nothing needs, what is damaged, what would be freed.

Works on files only: no container, no proxy, no lock is known here.
"""

from __future__ import annotations

from .check import scrub
from .garbage import Usage, garbage, make_collectable, obstacles, usage
from .plans import plan_retention, plan_untagged
from .removal import apply
from .storage import Storage

__all__ = [
    "Storage",
    "Usage",
    "apply",
    "garbage",
    "make_collectable",
    "obstacles",
    "plan_retention",
    "plan_untagged",
    "scrub",
    "usage",
]
