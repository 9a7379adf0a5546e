"""The word that was probably meant by a misspelt one. Imports nothing of this project."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word most similar to `word`; None if none is similar (`cutoff` 1: only itself)."""
    return next(iter(get_close_matches(word, list(known), n=1, cutoff=cutoff)), None)
