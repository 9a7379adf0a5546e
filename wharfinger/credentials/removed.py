"""Accounts that are no longer in the inventory: what hosts remember, and secrets still here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .folder import Credentials
from .hashes import is_of

# A host remembers the newest removed accounts, at most so many.
REMOVED = 10_000


def remembered(
    before: Mapping[str, str], known: Collection[str], entries: Collection[str], now: str
) -> dict[str, str]:
    """Removed account → when it was removed: those of `before`, and accounts that the host knows
    and the inventory lacks. An account that is in the inventory again is forgotten."""
    removed = {name: before.get(name, now) for name in {*before, *known} - {*entries}}
    newest = sorted(removed, key=lambda name: (removed[name], name))[-REMOVED:]
    return {name: removed[name] for name in newest}


def with_secret_here(
    known: Mapping[str, Mapping[str, Any]], users: set[str], credentials: Credentials
) -> list[str]:
    """Users and robots that the host knew and the inventory does not, whose password is still here.

    It is not deleted: if the user is added again, it is valid again.
    """
    return sorted(
        name
        for name, entry in known.items()
        if name not in users
        and (present := credentials.read(name)) is not None
        and is_of(entry, present)
    )
