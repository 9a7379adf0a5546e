"""Sentences and words that several messages about the inventory share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from wharfinger.suggestions import nearest
from wharfinger.values import bare_key, kind


def quoted(value: object) -> str:
    """A text of the inventory for a message: in quotes, on one line, of limited length."""
    if not isinstance(value, str):
        return kind(value)
    return json.dumps(value if len(value) <= 80 else value[:79] + "…", ensure_ascii=False)


def unknown_key(key: object, known: Sequence[str], usual: Mapping[str, str]) -> str:
    """The message about an unknown key in a rule.

    usual: wrong name that is often used → the known key.
    """
    keys = ", ".join(known)
    if not isinstance(key, str):
        return f"has {kind(key)} as a key: the keys are {keys}"
    meant = usual.get(key.lower()) or nearest(key.lower(), known)
    instead = f"write {meant}" if meant else f"remove it, the keys are {keys}"
    return f"{quoted(key)} is an unknown key: {instead}"


def known_fields(
    entry: Mapping[object, object], known: Sequence[str], usual: Mapping[str, str]
) -> tuple[dict[str, object], list[str]]:
    """The fields of a rule or row by their keys, and the mistakes in its keys. usual: as in
    unknown_key."""
    fields: dict[str, object] = {}
    wrong = []
    for key, value in entry.items():
        plain = bare_key(key)
        if plain in fields:
            wrong.append(f"{plain} is written twice: remove one")
        elif isinstance(plain, str) and plain in known:
            fields[plain] = value
        else:
            wrong.append(unknown_key(plain, known, usual))
    return fields, wrong


def texts(
    key: str,
    value: object,
    example: str,
    *,
    may_be_empty: bool = False,
    no_text: Callable[[object], str | None] = lambda value: None,
) -> tuple[tuple[str, ...], list[str]]:
    """A field that may be one text or a list of texts: the texts, each once, and the mistakes.

    no_text: returns a special message for a value that is not text, or None.
    """
    values = value if isinstance(value, list | tuple) else [value]
    wrong = []
    if not values and not may_be_empty:
        wrong.append(f"{key} is empty: write, for example, {key}: {example}")
    words: dict[str, None] = {}
    for entry in values:
        if not isinstance(entry, str):
            special = no_text(entry)
            wrong.append(
                special or f"{key} has {kind(entry)}: write text, for example {key}: {example}"
            )
        elif entry in words:
            wrong.append(f"{key} has {quoted(entry)} twice: remove one")
        else:
            words[str(entry)] = None
    return tuple(words), wrong


def answered_before(same: int | None, earlier: Sequence[int]) -> str:
    """Why a rule is useless: the rules `earlier` always answer first, or rule `same` is equal."""
    if same is not None:
        return f"says the same as rule {same}: remove one of them"
    names = " and ".join(map(str, earlier)) if len(earlier) < 3 else listed([*map(str, earlier)])
    single = len(earlier) == 1
    return (
        f"never decides anything, since rule{'' if single else 's'} {names} always "
        f"answer{'s' if single else ''} first: remove it, or move it above rule {earlier[0]}"
    )


def listed(words: Sequence[str], limit: int = 8) -> str:
    """The words with commas; of more than `limit` only the first, and the number of the others."""
    shown = ", ".join(words[:limit])
    rest = len(words) - limit
    return f"{shown} and {rest} more" if rest > 0 else shown
