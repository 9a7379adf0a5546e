"""Texts of others, made fit for a terminal."""

from __future__ import annotations


def clean(text: str) -> str:
    """On one line, without control characters, which could steer a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def size(number: float | None) -> str:
    """Bytes for people: 1.5 GB, of 1000 bytes each step, as docker shows them."""
    if number is None:
        return "?"
    for unit in ("B", "kB", "MB"):
        if number < 999.5:
            return f"{number:.0f} B" if unit == "B" else f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB" if number < 999.5 else f"{number / 1000:.4g} TB"
