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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import re2

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Labels = Mapping[str, Sequence[str]]

ANY_ADDRESS = ipaddress.IPv4Address(0)
FIELDS = ("account", "type", "name", "service")
# A longer question's answer is not kept at hand, in characters: what is kept is bounded.
LONGEST_KEPT = 1024
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


@dataclass(frozen=True, slots=True)
class Answer:
    """`actions` that are granted, sorted; `entry` is the deciding one's position, from 0."""

    actions: tuple[str, ...]
    entry: int | None


class Condition:
    """One condition of an entry: that a pattern matches one field, or one label, of a question.

    Raises:
        PatternError: the pattern is malformed.
    """

    __slots__ = (
        "_exact",
        "_prefix",
        "_search",
        "about_asker",
        "field",
        "filled",
        "label",
        "pattern",
    )

    def __init__(self, field: str, pattern: str, label: str = "") -> None:
        self.field = field
        self.label = label
        self.pattern = pattern
        # Settled by who asks, whatever is asked for.
        self.about_asker = field in ("account", "labels") and not any(
            f"${{{name}" in pattern for name in ("type", "name", "service")
        )
        # Whether it has placeholders, so that each question gives another pattern.
        self.filled = "${" in pattern
        self._exact: str | None = None
        if not self.filled:
            expression = _expression(pattern)
            self._prefix = literal_prefix(pattern)
            if expression is None and self._prefix == pattern:
                self._exact = pattern
            self._search = compiled(glob(pattern) if expression is None else expression).search

    def holds(self, question: Question) -> bool:
        """Whether the pattern, which has no placeholders, matches."""
        if self.field == "labels":
            return any(map(self._matches, question.labels.get(self.label, ())))
        return self._matches(getattr(question, self.field))

    def _matches(self, value: str) -> bool:
        if self._exact is not None:
            return value == self._exact
        return value.startswith(self._prefix) and self._search(value) is not None

    def holds_filled(self, question: Question, variables: Mapping[str, str]) -> bool:
        """Whether the pattern matches with its placeholders replaced."""
        if self.field == "labels":
            filled = _fill(self.pattern, variables)
            return any(matches(filled, value) for value in question.labels.get(self.label, ()))
        value = getattr(question, self.field)
        fillings = _fillings(self.pattern, variables, question.labels)
        return any(matches(filled, value) for filled in fillings)


class Entry:
    """One entry of the list: conditions, a network, and what is granted where all of them hold.

    Args:
        patterns: by field, those of `FIELDS` that are given.
        labels: a pattern by label.
        network: where the client must be, or None.
        actions: what is granted; `("*",)` is all that is asked.
        comment: free text.

    Raises:
        PatternError: a pattern is malformed.
    """

    def __init__(
        self,
        patterns: Mapping[str, str],
        labels: Mapping[str, str],
        network: Network | None,
        actions: Sequence[str],
        comment: str = "",
    ) -> None:
        self.patterns = dict(patterns)
        self.network = network
        self.actions = tuple(actions)
        self.comment = comment
        conditions = [Condition(name, pattern) for name, pattern in patterns.items()]
        conditions += [Condition("labels", pattern, label) for label, pattern in labels.items()]
        # What costs least comes first.
        conditions.sort(key=lambda found: found.filled)
        self._about_asker = tuple(found for found in conditions if found.about_asker)
        self._others = tuple(found for found in conditions if not found.about_asker)

    def concerns(self, question: Question) -> bool:
        """Whether the conditions on who asks hold."""
        if self.network is not None and not within(self.network, question.ip):
            return False
        return self._hold(self._about_asker, question)

    def covers(self, question: Question) -> bool:
        """Whether the other conditions hold, those on what is asked for."""
        return self._hold(self._others, question)

    def _hold(self, conditions: tuple[Condition, ...], question: Question) -> bool:
        variables: dict[str, str] | None = None
        for condition in conditions:
            if not condition.filled:
                if not condition.holds(question):
                    return False
                continue
            if variables is None:
                variables = _variables(self, question)
            if not condition.holds_filled(question, variables):
                return False
        return True


class AccessControlList:
    """The list in force. Safe to share between threads: it never changes.

    `remember` bounds for how many askers the entries that concern them are kept at hand, and how
    many decisions are.
    """

    def __init__(self, entries: Iterable[Entry], remember: int = 4096) -> None:
        self.entries = tuple(entries)
        self._by_address = any(entry.network is not None for entry in self.entries)
        self._concerning = functools.lru_cache(maxsize=remember)(self._find_concerning)
        self._decided = functools.lru_cache(maxsize=remember)(self._decide)

    def decide(self, question: Question) -> Answer:
        """What is granted of what was asked, and which entry decided (None: no entry matched)."""
        asked = (
            question.account,
            question.type,
            question.name,
            question.service,
            question.ip if self._by_address else None,
            question.actions,
            tuple((label, tuple(values)) for label, values in question.labels.items()),
        )
        texts = (question.type, question.name, question.service, *question.actions)
        size = sum(map(len, texts))
        return self._decided(*asked) if size <= LONGEST_KEPT else self._decide(*asked)

    def _decide(
        self,
        account: str,
        type: str,
        name: str,
        service: str,
        ip: Address | None,
        actions: tuple[str, ...],
        labels: tuple[tuple[str, tuple[str, ...]], ...],
    ) -> Answer:
        question = Question(account, type, name, service, ip or ANY_ADDRESS, actions, dict(labels))
        for position in self._concerning(account, labels, ip):
            entry = self.entries[position]
            if entry.covers(question):
                return Answer(_granted(actions, entry.actions), position)
        return Answer((), None)

    def _find_concerning(
        self, account: str, labels: tuple[tuple[str, tuple[str, ...]], ...], ip: Address | None
    ) -> tuple[int, ...]:
        """Positions of the entries whose conditions on who asks hold.

        Of a thousand entries only a few concern one user: the rest is not looked at again.
        """
        question = Question(account, "", "", "", ip or ANY_ADDRESS, (), dict(labels))
        return tuple(
            position for position, entry in enumerate(self.entries) if entry.concerns(question)
        )


def _granted(asked: tuple[str, ...], actions: tuple[str, ...]) -> tuple[str, ...]:
    if actions == ("*",):
        return tuple(sorted(asked))
    return tuple(sorted(set(asked) & set(actions)))


def _variables(entry: Entry, question: Question) -> dict[str, str]:
    """What the placeholders of this entry stand for.

    The request's own values are quoted, so that they only ever stand for themselves; captured
    groups are not, as in docker_auth.
    """
    variables = {name: quote(str(getattr(question, name))) for name in FIELDS}
    for pattern in entry.patterns.values():
        for source, index in CAPTURE.findall(pattern):
            expression = _expression(entry.patterns.get(source, ""))
            if expression is None:
                continue
            match = compiled(expression).search(getattr(question, source))
            if match is not None and 1 <= int(index) <= len(match.groups()):
                variables[f"{source}:{index}"] = match.group(int(index)) or ""
    return variables


def _fillings(pattern: str, variables: Mapping[str, str], labels: Labels) -> Iterator[str]:
    """The pattern with `${…}` replaced in one pass; a placeholder without a value stays.

    Then once for each combination of the labels' values, as docker_auth tries them.
    """
    yield _fill(pattern, variables)
    used = [
        (f"labels:{label}", values)
        for label, values in labels.items()
        if f"${{labels:{label}}}" in pattern
    ]
    if used:
        names = [name for name, _ in used]
        for values in itertools.product(*(values for _, values in used)):
            yield _fill(pattern, {**variables, **dict(zip(names, values, strict=True))})


def _fill(pattern: str, variables: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda found: variables.get(found[1], found[0]), pattern)


def within(network: Network, ip: Address) -> bool:
    """Whether the address is one of the network's."""
    return network.version == ip.version and ip in network


def _expression(pattern: str) -> str | None:
    """What stands between the slashes of `/…/`; None where the pattern is a glob."""
    if len(pattern) > 2 and pattern[0] == pattern[-1] == "/":
        return pattern[1:-1]
    return None


def matches(pattern: str, value: str) -> bool:
    """Whether a pattern whose placeholders are filled matches. A malformed one matches nothing."""
    expression = _expression(pattern)
    # What a client has filled in may be of any length, and an expression takes up to a megabyte.
    keep = len(pattern) <= LONGEST_KEPT
    try:
        if expression is None:
            expression = glob(pattern) if keep else glob.__wrapped__(pattern)
        found = compiled(expression) if keep else compiled.__wrapped__(expression)
        return found.search(value) is not None
    except (PatternError, re2.error):
        return False


def literal_prefix(pattern: str) -> str:
    """What every text that the pattern matches begins with; may be shorter than it could be.

    Telling that a pattern does not match is by far the commonest work, and this is quick.
    """
    expression = _expression(pattern)
    if expression is None:
        return re.split(r"[*?\[\\]", pattern, maxsplit=1)[0]
    if not expression.startswith("^") or "|" in expression:
        return ""
    found = re.match(r"[A-Za-z0-9/_-]*", expression[1:])
    prefix = found[0] if found else ""
    # The last character may be repeated, or not be there at all.
    return prefix[:-1] if expression[1 + len(prefix) :][:1] in ("*", "?", "{") else prefix


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
