"""Patterns: globs of Go's `path.Match` or, between slashes, RE2 expressions (not anchored)."""

from __future__ import annotations

import functools
import re
from typing import Any

import re2

# Longer patterns (in characters) and questions are not remembered, so that memory is bounded.
LONGEST_KEPT = 1024
PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")


class PatternError(ValueError):
    """A malformed pattern; the text says what is wrong."""


def expression_of(pattern: str) -> str | None:
    """The expression between the slashes of `/…/`; None if the pattern is a glob."""
    if len(pattern) > 2 and pattern[0] == pattern[-1] == "/":
        return pattern[1:-1]
    return None


def matches(pattern: str, value: str) -> bool:
    """Whether a pattern without placeholders matches. A malformed pattern matches nothing."""
    # A client's value in the pattern may be long, and an expression takes up to a megabyte.
    kept_or_not = compiled if len(pattern) <= LONGEST_KEPT else compiled.__wrapped__
    try:
        return kept_or_not(pattern).search(value) is not None
    except PatternError:
        return False


def literal_prefix(pattern: str) -> str:
    """A prefix of every text that the pattern matches; not always the longest one.

    Most patterns do not match a question, and comparing a prefix is the quickest way to see that.
    """
    expression = expression_of(pattern)
    if expression is None:
        return re.split(r"[*?\[\\]", pattern, maxsplit=1)[0]
    if not expression.startswith("^") or "|" in expression:
        return ""
    match = re.match(r"[A-Za-z0-9/_-]*", expression[1:])
    prefix = match[0] if match else ""
    # The last character may be optional or repeated.
    return prefix[:-1] if expression[1 + len(prefix) :][:1] in ("*", "?", "{") else prefix


def check_pattern(pattern: str) -> int:
    """How many groups the pattern captures (a glob: none).

    Each placeholder is checked as if it were a letter, because its value is quoted.

    Raises:
        PatternError: the pattern is malformed.
    """
    compiled(PLACEHOLDER.sub("x", pattern))
    # docker_auth compiles an expression with its placeholders: that must be possible too.
    return 0 if expression_of(pattern) is None else int(compiled(pattern).groups)


def quote(value: str) -> str:
    """The expression, or glob, that matches only this value. The value has no NUL."""
    return str(re2.escape(value))


def _options() -> Any:
    options = re2.Options()
    # re2 would write messages with the pattern to stderr.
    options.log_errors = False
    options.max_mem = 1 << 20
    return options


@functools.lru_cache(maxsize=4096)
def compiled(pattern: str) -> Any:
    """The RE2 expression of a pattern without placeholders.

    Raises:
        PatternError: the pattern is malformed.
    """
    expression = expression_of(pattern)
    try:
        return re2.compile(glob(pattern) if expression is None else expression, _options())
    except re2.error as error:
        reason = error.args[0] if error.args else error
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise PatternError(f"is not an RE2 expression: {text}") from None


def glob(pattern: str) -> str:
    r"""The RE2 expression for a pattern of Go's `path.Match`.

    `*` and `?` do not match `/`. `[…]`, with ranges, `^` and `\`, does. Braces are ordinary
    characters.

    Raises:
        PatternError: `path.Match` calls the pattern bad.
    """
    translated = [r"(?s)\A"]
    rest = list(pattern)[::-1]
    while rest:
        character = rest.pop()
        if character == "*":
            translated.append("[^/]*")
        elif character == "?":
            translated.append("[^/]")
        elif character == "[":
            translated.append(_class(rest))
        elif character == "\\":
            if not rest:
                raise PatternError("ends with a backslash")
            translated.append(quote(rest.pop()))
        else:
            translated.append(quote(character))
    translated.append(r"\z")
    return "".join(translated)


def _class(rest: list[str]) -> str:
    negated = bool(rest) and rest[-1] == "^"
    if negated:
        rest.pop()
    ranges: list[tuple[str, str]] = []
    count = 0
    while True:
        if rest and rest[-1] == "]" and count:
            rest.pop()
            break
        low = high = _class_character(rest)
        if rest and rest[-1] == "-":
            rest.pop()
            high = _class_character(rest)
        count += 1
        if low <= high:
            ranges.append((low, high))
    inside = "".join(f"\\x{{{ord(low):x}}}-\\x{{{ord(high):x}}}" for low, high in ranges)
    if not inside:
        # Only reversed ranges: in Go, they match no character, or negated, any character.
        return "(?s:.)" if negated else r"[^\x{0}-\x{10ffff}]"
    return f"[{'^' if negated else ''}{inside}]"


def _class_character(rest: list[str]) -> str:
    if not rest or rest[-1] in "-]":
        raise PatternError("has a '[' that is not closed, or a stray '-' or ']' after it")
    character = rest.pop()
    if character == "\\":
        if not rest:
            raise PatternError("ends with a backslash")
        character = rest.pop()
    if not rest:
        raise PatternError("has a '[' that is not closed")
    return character
