"""What somebody probably meant who has misspelt a word. Imports nothing of this project."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word most like `word`; None if none is like it (`cutoff`: 1 is the same word)."""
    return next(iter(get_close_matches(word, list(known), n=1, cutoff=cutoff)), None)
