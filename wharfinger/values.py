"""Durations, sizes and booleans as an inventory writes them, and names for YAML's other types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_DURATION = re.compile(r"([0-9]+) ?([smhdw]?)")
_SIZE = re.compile(r"([0-9]+) ?([kmgt]?)(?:i?b)?", re.IGNORECASE)

# What Ansible's `bool` filter and argument specs accept as true and false.
_TRUE = frozenset({"1", "y", "yes", "t", "true", "on"})
_FALSE = frozenset({"0", "n", "no", "f", "false", "off"})


# YAML 1.1, which Ansible reads, takes the bare word `on` for the boolean true. JSON and Jinja may
# have made text of that since.
_MISREAD_ON = (True, "true", "True")


def kind(value: object) -> str:
    """The type of a YAML value in words, with the article: `a date`, `a list`."""
    if value is None:
        return "nothing (null)"
    # The order matters: a bool is an int, and a datetime is a date.
    for types, words in (
        (str, "text"),
        (bool, "true or false"),
        ((int, float), "a number"),
        (Mapping, "a mapping"),
        ((list, tuple), "a list"),
        (datetime, "a date with a time of day"),
        (date, "a date"),
        (bytes, "binary data"),
    ):
        if isinstance(value, types):
            return words
    return "neither text, a number, a list nor a mapping"


def bare_key(key: object) -> object:
    """The key `on` if YAML made a boolean of it; any other key as it is.

    For mappings with known keys. `yes` and `true` become `on`, too: they are keys of no such
    mapping.
    """
    return "on" if key in _MISREAD_ON else key


def spelt(key: object) -> str:
    """A mapping's key for messages, as YAML writes it: `true`, `null`, `2026-01-01`."""
    if isinstance(key, bool):
        return str(key).lower()
    return "null" if key is None else str(key)


def _number(value: object, pattern: re.Pattern[str], units: dict[str, int]) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("neither a whole number nor text")
    match = pattern.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("not a whole number with a known unit")
    return int(match[1]) * units[match[2].lower()]


def duration(value: object) -> int:
    """Seconds of `600`, `"600"`, `"90s"`, `"1h"`, `"30d"`, `"2w"`; ValueError otherwise."""
    return _number(value, _DURATION, _SECONDS)


def size(value: object) -> int:
    """Bytes of `1024`, `"512m"`, `"2g"` or `"2GiB"` (powers of 1024); ValueError otherwise."""
    return _number(value, _SIZE, _BYTES)


def boolean(value: object) -> bool:
    """The boolean that Ansible reads from the value; ValueError if it reads none."""
    word = str(value).strip().lower()
    if isinstance(value, bool | int | str) and word in _TRUE | _FALSE:
        return word in _TRUE
    raise ValueError("neither true nor false")


def readable_size(number: int) -> str:
    """`1610612736` as `1.5 GiB`."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= factor:
            return f"{number / factor:.1f}".removesuffix(".0") + f" {unit}"
    return f"{number} bytes"


def plain(value: Any) -> Any:
    """Plain containers instead of Ansible's tagged and lazy ones: PyYAML's safe dumper knows them.

    A key stays as YAML read it (a bare `on` is true): its reader knows what was meant.
    """
    if isinstance(value, dict):
        return {plain(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    for kind in (str, bool, int, float):
        if isinstance(value, kind):
            return value if kind is bool else kind(value)
    # A date becomes the text that was written.
    return str(value) if isinstance(value, date) else value
