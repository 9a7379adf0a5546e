"""Who may do what: docker_auth's access control list, matched as docker_auth 1.14 matches it.

All conditions of an entry must hold, the first entry that matches decides, and where none does
nothing is granted. Patterns are Go's `path.Match` globs or, between slashes, RE2 expressions that
are not anchored.
"""

from __future__ import annotations

import functools
import ipaddress
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import re2

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Labels = Mapping[str, Sequence[str]]

FIELDS = ("account", "type", "name", "service")
PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")
CAPTURE = re.compile(rf"\$\{{({'|'.join(FIELDS)}):([0-9]{{1,4}})\}}")


class PatternError(ValueError):
    """A pattern that can never match as it was meant; the text says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """One scope of one request: may `account`, coming from `ip`, do `actions` on this resource?"""

    account: str
    type: str
    name: str
    service: str
    ip: Address
    actions: tuple[str, ...]
    labels: Labels = field(default_factory=dict)

    def value(self, condition: str) -> str:
        return str(getattr(self, condition))


@dataclass(frozen=True, slots=True)
class Answer:
    """`actions` that are granted, sorted; `entry` is the deciding one's position, from 0."""

    actions: tuple[str, ...]
    entry: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the list. `patterns` has the conditions among `FIELDS` that are given."""

    patterns: Mapping[str, str]
    labels: Mapping[str, str]
    network: Network | None
    actions: tuple[str, ...]
    comment: str = ""


class AccessControlList:
    """The list in force. Safe to share between threads: it never changes.

    `remember` bounds how many different askers' applicable entries are kept at hand.
    """

    def __init__(self, entries: Iterable[Entry], remember: int = 4096) -> None:
        self.entries = tuple(entries)
        self._applicable = functools.lru_cache(maxsize=remember)(self._find_applicable)

    def decide(self, question: Question) -> Answer:
        """What is granted of what was asked, and which entry decided (None: no entry matched)."""
        labels = tuple(sorted((key, tuple(values)) for key, values in question.labels.items()))
        for position in self._applicable(
            question.account, question.type, question.service, question.ip, labels
        ):
            entry = self.entries[position]
            if _holds(entry, question, late=True):
                return Answer(_granted(question.actions, entry.actions), position)
        return Answer((), None)

    def _find_applicable(
        self,
        account: str,
        type: str,
        service: str,
        ip: Address,
        labels: tuple[tuple[str, tuple[str, ...]], ...],
    ) -> tuple[int, ...]:
        """Positions of the entries whose conditions that do not look at the name hold.

        With a thousand entries only a few concern one user; the rest is not looked at again.
        """
        question = Question(account, type, "", service, ip, (), dict(labels))
        return tuple(
            position
            for position, entry in enumerate(self.entries)
            if _holds(entry, question, late=False)
        )


def _granted(asked: tuple[str, ...], actions: tuple[str, ...]) -> tuple[str, ...]:
    if actions == ("*",):
        return tuple(sorted(asked))
    return tuple(sorted(set(asked) & set(actions)))


def _looks_at_name(condition: str, pattern: str) -> bool:
    return condition == "name" or "${name" in pattern


def _holds(entry: Entry, question: Question, *, late: bool) -> bool:
    """Whether the entry's conditions hold: `late` those that look at the name, else the others."""
    if not late and entry.network is not None and not _contains(entry.network, question.ip):
        return False
    # Most patterns have no placeholder: then nothing is quoted and searched for nothing.
    variables = functools.cache(lambda: _variables(entry, question))
    for condition, pattern in entry.patterns.items():
        if _looks_at_name(condition, pattern) is late:
            value = question.value(condition)
            fillings = _fillings(pattern, variables, question.labels)
            if not any(matches(filled, value) for filled in fillings):
                return False
    for label, pattern in entry.labels.items():
        if _looks_at_name("labels", pattern) is late:
            filled = next(_fillings(pattern, variables, {}))
            if not any(matches(filled, value) for value in question.labels.get(label, ())):
                return False
    return True


def _variables(entry: Entry, question: Question) -> dict[str, str]:
    """What the placeholders of this entry stand for.

    The request's own values are quoted, so that they only ever stand for themselves; captured
    groups are not, as in docker_auth.
    """
    variables = {name: quote(question.value(name)) for name in FIELDS}
    for pattern in entry.patterns.values():
        for source, index in CAPTURE.findall(pattern):
            expression = _expression(entry.patterns.get(source, ""))
            if expression is None:
                continue
            match = compiled(expression).search(question.value(source))
            if match is not None and 1 <= int(index) <= len(match.groups()):
                variables[f"{source}:{index}"] = match.group(int(index)) or ""
    return variables


def _fillings(
    pattern: str, variables: Callable[[], Mapping[str, str]], labels: Labels
) -> Iterator[str]:
    """The pattern with `${…}` replaced in one pass; a placeholder without a value stays.

    Then once for each combination of the labels' values, as docker_auth tries them.
    """
    if "${" not in pattern:
        yield pattern
        return
    known = variables()
    yield _fill(pattern, known)
    used = [
        (f"labels:{label}", values)
        for label, values in labels.items()
        if f"${{labels:{label}}}" in pattern
    ]
    if used:
        names = [name for name, _ in used]
        for values in itertools.product(*(values for _, values in used)):
            yield _fill(pattern, {**known, **dict(zip(names, values, strict=True))})


def _fill(pattern: str, variables: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda found: variables.get(found[1], found[0]), pattern)


def _contains(network: Network, ip: Address) -> bool:
    return network.version == ip.version and ip in network


def _expression(pattern: str) -> str | None:
    """What stands between the slashes of `/…/`; None where the pattern is a glob."""
    if len(pattern) > 2 and pattern[0] == pattern[-1] == "/":
        return pattern[1:-1]
    return None


def matches(pattern: str, value: str) -> bool:
    """Whether a pattern whose placeholders are filled matches. A malformed one matches nothing."""
    expression = _expression(pattern)
    try:
        if expression is None:
            return compiled(glob(pattern)).search(value) is not None
        return compiled(expression).search(value) is not None
    except (PatternError, re2.error):
        return False


def check_pattern(pattern: str) -> int:
    """How many groups the pattern captures (a glob: none).

    Placeholders count as a letter each, as values put there are quoted.

    Raises:
        PatternError: it is malformed.
    """
    expression = _expression(pattern)
    if expression is None:
        glob(PLACEHOLDER.sub("x", pattern))
        return 0
    try:
        # docker_auth compiles it with the placeholders in it: both must be possible.
        compiled(PLACEHOLDER.sub("x", expression))
        return int(compiled(expression).groups)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise PatternError(f"is no RE2 expression: {text}") from None


def quote(value: str) -> str:
    """The expression, or glob, that matches the value and nothing else. It has no NUL in it."""
    return str(re2.escape(value))


def _options() -> Any:
    options = re2.Options()
    # Its messages would land on stderr, with the pattern in them.
    options.log_errors = False
    options.max_mem = 1 << 20
    return options


@functools.lru_cache(maxsize=4096)
def compiled(expression: str) -> Any:
    return re2.compile(expression, _options())


@functools.lru_cache(maxsize=4096)
def glob(pattern: str) -> str:
    r"""The RE2 expression for a pattern of Go's `path.Match`.

    `*` and `?` do not cross `/`, `[…]` with ranges, `^` and `\` does; nothing is special in
    braces.

    Raises:
        PatternError: `path.Match` calls it a bad pattern.
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
        # Only reversed ranges: Go matches no character, or any one.
        return "(?s:.)" if negated else r"[^\x{0}-\x{10ffff}]"
    return f"[{'^' if negated else ''}{inside}]"


def _class_character(rest: list[str]) -> str:
    if not rest or rest[-1] in "-]":
        raise PatternError("has a '[' that is not closed, or a stray '-' or ']' behind it")
    character = rest.pop()
    if character == "\\":
        if not rest:
            raise PatternError("ends with a backslash")
        character = rest.pop()
    if not rest:
        raise PatternError("has a '[' that is not closed")
    return character
