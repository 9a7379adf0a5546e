"""Who may do what: docker_auth's access control list, matched as docker_auth 1.14 matches it.

An entry matches if all its conditions hold. The first entry that matches decides; without one,
nothing is granted. patterns.py has the patterns.
"""

from __future__ import annotations

import functools
import ipaddress
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .addresses import Address, Network
from .patterns import (
    LONGEST_KEPT,
    PLACEHOLDER,
    compiled,
    expression_of,
    literal_prefix,
    matches,
    quote,
)

# Each label with its values.
Labels = tuple[tuple[str, tuple[str, ...]], ...]

ANY_ADDRESS = ipaddress.IPv4Address(0)
FIELDS = ("account", "type", "name", "service")
CAPTURE = re.compile(rf"\$\{{({'|'.join(FIELDS)}):([0-9]{{1,4}})\}}")


class Question(NamedTuple):
    """One scope of one request: may `account`, coming from `ip`, do `actions` on this resource?"""

    account: str
    type: str
    name: str
    service: str
    ip: Address
    actions: tuple[str, ...]
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The granted `actions`, sorted, and the position of the `entry` that decided, from 0."""

    actions: tuple[str, ...]
    entry: int | None


class Condition:
    """One condition of an entry: a pattern must match one field, or one label, of a question.

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
        # Depends only on who asks, not on what is asked for.
        self.about_asker = field in ("account", "labels") and not any(
            f"${{{name}" in pattern for name in ("type", "name", "service")
        )
        # Whether it has placeholders: each question then has a pattern of its own.
        self.filled = "${" in pattern
        self._exact: str | None = None
        if not self.filled:
            self._prefix = literal_prefix(pattern)
            if expression_of(pattern) is None and self._prefix == pattern:
                self._exact = pattern
            self._search = compiled(pattern).search

    def holds(self, question: Question) -> bool:
        """Whether the pattern matches; it has no placeholders."""
        if self.field == "labels":
            return any(map(self._matches, dict(question.labels).get(self.label, ())))
        return self._matches(getattr(question, self.field))

    def _matches(self, value: str) -> bool:
        if self._exact is not None:
            return value == self._exact
        return value.startswith(self._prefix) and self._search(value) is not None

    def holds_filled(self, question: Question, variables: Mapping[str, str]) -> bool:
        """Whether the pattern matches with its placeholders replaced."""
        if self.field == "labels":
            filled = _fill(self.pattern, variables)
            values = dict(question.labels).get(self.label, ())
            return any(matches(filled, value) for value in values)
        value = getattr(question, self.field)
        fillings = _fillings(self.pattern, variables, question.labels)
        return any(matches(filled, value) for filled in fillings)


class Entry:
    """One entry of the list: conditions, a network, and what is granted if all of them hold.

    Args:
        patterns: field → pattern, for some of `FIELDS`.
        labels: label → pattern.
        network: the network that the client must be in, or None.
        actions: what is granted; `("*",)` grants everything that is asked for.
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
        # The cheap ones first.
        conditions.sort(key=lambda condition: condition.filled)
        self._about_asker = tuple(c for c in conditions if c.about_asker)
        self._others = tuple(c for c in conditions if not c.about_asker)

    def concerns(self, question: Question) -> bool:
        """Whether the conditions about who asks hold."""
        if self.network is not None and question.ip not in self.network:
            return False
        return self._hold(self._about_asker, question)

    def covers(self, question: Question) -> bool:
        """Whether the conditions about what is asked for hold."""
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

    It remembers at most `remember` decisions, and for so many askers the entries that concern them.
    """

    def __init__(self, entries: Iterable[Entry], remember: int = 4096) -> None:
        self.entries = tuple(entries)
        self._by_address = any(entry.network is not None for entry in self.entries)
        self._concerning = functools.lru_cache(maxsize=remember)(self._find_concerning)
        self._decided = functools.lru_cache(maxsize=remember)(self._decide)

    def decide(self, question: Question) -> Answer:
        """What is granted, and the entry that decided (None: no entry matched)."""
        if not self._by_address:
            question = question._replace(ip=ANY_ADDRESS)
        texts = (question.type, question.name, question.service, *question.actions)
        keep = sum(map(len, texts)) <= LONGEST_KEPT
        return self._decided(question) if keep else self._decide(question)

    def _decide(self, question: Question) -> Answer:
        asker = question._replace(type="", name="", service="", actions=())
        for position in self._concerning(asker):
            entry = self.entries[position]
            if entry.covers(question):
                return Answer(_granted(question.actions, entry.actions), position)
        return Answer((), None)

    def _find_concerning(self, asker: Question) -> tuple[int, ...]:
        """Positions of the entries whose conditions about who asks hold.

        Of a thousand entries, only a few concern one user. The others are not looked at again.
        """
        return tuple(
            position for position, entry in enumerate(self.entries) if entry.concerns(asker)
        )


def _granted(requested: tuple[str, ...], actions: tuple[str, ...]) -> tuple[str, ...]:
    if actions == ("*",):
        return tuple(sorted(requested))
    return tuple(sorted(set(requested) & set(actions)))


def _variables(entry: Entry, question: Question) -> dict[str, str]:
    """Placeholder → value, for this entry.

    Values from the request are quoted, so that they match only themselves. Captured groups are not,
    as in docker_auth.
    """
    variables = {name: quote(str(getattr(question, name))) for name in FIELDS}
    for pattern in entry.patterns.values():
        for source, index in CAPTURE.findall(pattern):
            captured = entry.patterns.get(source, "")
            if expression_of(captured) is None:
                continue
            match = compiled(captured).search(getattr(question, source))
            if match is not None and 1 <= int(index) <= len(match.groups()):
                variables[f"{source}:{index}"] = match.group(int(index)) or ""
    return variables


def _fillings(pattern: str, variables: Mapping[str, str], labels: Labels) -> Iterator[str]:
    """The pattern with `${…}` replaced in one pass; a placeholder without a value stays.

    Then the pattern for each combination of the labels' values, as docker_auth tries them.
    """
    yield _fill(pattern, variables)
    used = [
        (f"labels:{label}", values) for label, values in labels if f"${{labels:{label}}}" in pattern
    ]
    if used:
        names = [name for name, _ in used]
        for values in itertools.product(*(values for _, values in used)):
            yield _fill(pattern, {**variables, **dict(zip(names, values, strict=True))})


def _fill(pattern: str, variables: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda match: variables.get(match[1], match[0]), pattern)
