"""Go's `path.Match`, written as a matcher from its documentation, not translated from its code.

pattern: { term }
term:    '*' any run of characters but /; '?' one character but /;
         '[' [ '^' ] { lo | lo '-' hi } ']' a character of the (non-empty) class, also /;
         '\\' c the character c; c the character itself (but * ? \\ [)
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache, partial

Term = tuple[str, Callable[[str], bool]]


class BadPattern(ValueError):
    """`path.ErrBadPattern`."""


@cache
def terms(pattern: str) -> tuple[Term, ...]:
    parsed: list[Term] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            parsed.append(("run", lambda c: c != "/"))
        elif character == "?":
            parsed.append(("one", lambda c: c != "/"))
        elif character == "[":
            at = _class(pattern, at, parsed)
        else:
            if character == "\\":
                if at == len(pattern):
                    raise BadPattern
                character = pattern[at]
                at += 1
            parsed.append(("one", partial(operator.eq, character)))
    return tuple(parsed)


def _class(pattern: str, at: int, parsed: list[Term]) -> int:
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and pattern[at : at + 1] == "]"):
        low, at = _escaped(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _escaped(pattern, at + 1)
        ranges.append((low, high))
    members = tuple(ranges)
    parsed.append(("one", lambda c: any(lo <= c <= hi for lo, hi in members) != negated))
    return at + 1


def _escaped(pattern: str, at: int) -> tuple[str, int]:
    if pattern[at : at + 1] in ("", "-", "]"):
        raise BadPattern
    if pattern[at] == "\\":
        at += 1
    # Something must follow, at least the bracket that closes the class.
    if at + 1 >= len(pattern):
        raise BadPattern
    return pattern[at], at + 1


def match(pattern: str, name: str) -> bool:
    """Whether the whole name matches. A bad pattern raises BadPattern whatever the name is."""
    wanted = terms(pattern)
    reached = {0}
    for character in name:
        reached = _runs(wanted, reached)
        following = set()
        for position in reached:
            if position < len(wanted) and wanted[position][1](character):
                following.add(position if wanted[position][0] == "run" else position + 1)
        reached = following
    return len(wanted) in _runs(wanted, reached)


def _runs(wanted: tuple[Term, ...], reached: set[int]) -> set[int]:
    """The positions reached so far, and those behind runs that match nothing (more)."""
    positions = set(reached)
    for position in range(len(wanted)):
        if position in positions and wanted[position][0] == "run":
            positions.add(position + 1)
    return positions
