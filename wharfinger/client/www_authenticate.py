"""Reads the challenges in WWW-Authenticate (RFC 9110, 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_PART = re.compile(
    r"""[\s,]*(?:
        (?P<name>[A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*=\s*
            (?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s,"]+))
        | (?P<scheme>[A-Za-z0-9!#$%&'*+.^_`|~-]+)(?=[\s,]|$)
        | (?P<other>[^\s,]+)
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Challenge:
    """A scheme and its parameters. The scheme and the parameters' names are in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse(headers: Iterable[str]) -> list[Challenge]:
    """The challenges of all WWW-Authenticate headers, in order; a header may have several."""
    challenges: list[Challenge] = []
    for header in headers:
        for part in _PART.finditer(header):
            if part["scheme"]:
                challenges.append(Challenge(part["scheme"].lower()))
            elif part["name"] and challenges:
                quoted = part["quoted"]
                value = part["bare"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                challenges[-1].parameters.setdefault(part["name"].lower(), value)
    return challenges
