"""Turns a host's report into dataclasses, and back into JSON types. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Self, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Facts:
    """A part of what a host reports: a frozen dataclass, each field with a default."""

    @classmethod
    def of(cls, reported: Mapping[str, Any] | None) -> Self:
        """The facts in a mapping. A key that is not a field is left out.

        A field that is missing has its default: a host where little could be observed (not root,
        nothing installed) reports less.
        """
        reported, kinds = reported or {}, get_type_hints(cls)
        return cls(
            **{
                known.name: _fact(kinds[known.name], reported[known.name])
                for known in fields(cls)
                if reported.get(known.name) is not None
            }
        )


def _fact(kind: Any, value: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, Facts):
        return kind.of(value)
    inner = [part for part in get_args(kind) if isinstance(part, type) and issubclass(part, Facts)]
    if not inner:
        return tuple(value) if isinstance(value, list) else value
    if isinstance(value, Mapping):
        # Either name → part, or one part that may be None.
        named = get_origin(kind) is Mapping
        return {k: inner[0].of(v) for k, v in value.items()} if named else inner[0].of(value)
    return tuple(inner[0].of(entry) for entry in value)


def plain(value: Any) -> Any:
    """Facts as mappings and lists, for JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        return {known.name: plain(getattr(value, known.name)) for known in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value
