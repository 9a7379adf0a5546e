"""The inventory's files, read ahead of Ansible: what is wrong in them, where, and what to write.

Ansible's own messages about such a file name no line, or print the lines around the mistake with
the passwords in them. `reading` judges one file's content; `sources` finds the files that Ansible
would read; `targets` says why a run is for nobody.
"""

from __future__ import annotations

from .reading import Mistake, mistakes
from .sources import (
    CLOSED,
    decrypted,
    given_mistakes,
    inventory_mistakes,
    report,
    variable_mistakes,
)
from .targets import limit_mistake, nobody, selection_mistakes, unread_sources

__all__ = [
    "CLOSED",
    "Mistake",
    "decrypted",
    "given_mistakes",
    "inventory_mistakes",
    "limit_mistake",
    "mistakes",
    "nobody",
    "report",
    "selection_mistakes",
    "unread_sources",
    "variable_mistakes",
]
