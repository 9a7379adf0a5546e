"""Texts for a terminal, also those from a registry."""

from __future__ import annotations


def clean(text: str) -> str:
    """The text on one line, without control characters, which could control a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def size(number: float | None) -> str:
    """Bytes for people, such as 1.5 GB. A kB has 1000 bytes, as in docker's output."""
    if number is None:
        return "?"
    for unit in ("B", "kB", "MB"):
        if number < 999.5:
            return f"{number:.0f} B" if unit == "B" else f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB" if number < 999.5 else f"{number / 1000:.4g} TB"
