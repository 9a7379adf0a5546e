"""Which children of an index a mirror keeps, by the platforms that its entry names. Pure.

An index is its JSON document, as oci/manifests.py reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# buildkit's attestations are children without a real platform, which name the image they are about.
_ABOUT = "vnd.docker.reference.digest"


class Platforms:
    """The platforms of one entry, as `os/architecture[/variant]`; without any, all are kept."""

    def __init__(self, platforms: Iterable[str]) -> None:
        self.platforms = tuple(platforms)

    def keeps(self, index: Mapping[str, Any], child: str) -> bool:
        """Whether the child with this digest is kept. One without a platform is."""
        entries = _entries(index)
        return not self.platforms or any(
            self._keeps(entry, entries) for entry in entries if entry.get("digest") == child
        )

    def missing_in(self, index: Mapping[str, Any]) -> list[str]:
        """The platforms that the index does not have; none if it is no index."""
        has = [text for text in map(_text, _entries(index)) if text]
        return [
            wanted
            for wanted in self.platforms
            if has and not any(_matches(wanted, text) for text in has)
        ]

    def _keeps(self, entry: Mapping[str, Any], entries: Iterable[Mapping[str, Any]]) -> bool:
        annotations = entry.get("annotations")
        about = annotations.get(_ABOUT) if isinstance(annotations, Mapping) else None
        if about is not None:
            return any(
                self._keeps(other, ())
                for other in entries
                if other.get("digest") == about and other is not entry
            )
        text = _text(entry)
        return not text or any(_matches(wanted, text) for wanted in self.platforms)


def _matches(wanted: str, text: str) -> bool:
    """Whether `linux/arm64/v8` is meant by `linux/arm64`, or by itself."""
    return text == wanted or text.startswith(f"{wanted}/")


def _text(entry: Mapping[str, Any]) -> str:
    """`os/architecture[/variant]`; "" without a platform."""
    platform = entry.get("platform")
    if not isinstance(platform, Mapping):
        return ""
    parts = [platform.get(key) for key in ("os", "architecture", "variant")]
    return "/".join(str(part) for part in parts if part)


def _entries(index: Mapping[str, Any]) -> list[dict[str, Any]]:
    values = index.get("manifests")
    return (
        [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
    )
