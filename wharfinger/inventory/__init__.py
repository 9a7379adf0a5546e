"""Reads the inventory's files before Ansible does: what is wrong, where, and what to write instead.

Ansible's own messages about such a file have no line number, or print the lines around the mistake
with the passwords in them. `reading` checks the content of one file, `sources` finds the files that
Ansible would read, and `targets` says why a run has no host or no task.
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
from .targets import limit_mistake, no_hosts_message, selection_mistakes, unread_sources

__all__ = [
    "CLOSED",
    "Mistake",
    "decrypted",
    "given_mistakes",
    "inventory_mistakes",
    "limit_mistake",
    "mistakes",
    "no_hosts_message",
    "report",
    "selection_mistakes",
    "unread_sources",
    "variable_mistakes",
]
