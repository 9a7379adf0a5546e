"""Which tags of an upstream repository a mirror keeps: a name, a pattern, or a range of versions.

The controller checks what an inventory writes; the host selects. Standard library only.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from itertools import zip_longest

from ..oci.names import TAG

_OPERATORS: dict[str, Callable[[int, int], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
_BOUND = re.compile(r"(>=|<=|>|<|=)v?([0-9]+(?:\.[0-9]+)*)")
# Release candidates and variants such as 1.25-alpine are no plain versions.
_VERSION = re.compile(r"v?([0-9]+(?:\.[0-9]+)*)")
_PATTERN = re.compile(r"[A-Za-z0-9_*?][A-Za-z0-9._*?-]{0,127}")

EXAMPLES = 'write a name ("13"), a pattern ("13.*") or a range of versions (">=1.25 <2")'


class Selection:
    """One entry of a mirror's `tags`."""

    def __init__(self, text: str) -> None:
        """Raises ValueError, with what to write instead, if the text is none of the three."""
        self.text = text
        self.is_name = TAG.fullmatch(text) is not None
        self._bounds: list[tuple[str, list[int]]] = []
        if self.is_name or _PATTERN.fullmatch(text):
            return
        for word in text.split():
            bound = _BOUND.fullmatch(word)
            if bound is None:
                raise ValueError(EXAMPLES)
            self._bounds.append((bound[1], _numbers(bound[2])))
        if not self._bounds:
            raise ValueError(EXAMPLES)

    def matches(self, tag: str) -> bool:
        """Whether this entry selects the tag."""
        if self._bounds:
            version = _VERSION.fullmatch(tag)
            return version is not None and all(
                _holds(_numbers(version[1]), sign, bound) for sign, bound in self._bounds
            )
        return tag == self.text if self.is_name else fnmatchcase(tag, self.text)


def selected(texts: Iterable[str], tags: Iterable[str]) -> list[str]:
    """Those of `tags` that one of the entries selects, sorted, each once."""
    selections = [Selection(text) for text in texts]
    return sorted({tag for tag in tags if any(entry.matches(tag) for entry in selections)})


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


def _holds(version: list[int], sign: str, bound: list[int]) -> bool:
    """Compares number by number; a missing one is 0, so 1.25 is 1.25.0."""
    for number, other in zip_longest(version, bound, fillvalue=0):
        if number != other:
            return _OPERATORS[sign](number, other)
    return "=" in sign
