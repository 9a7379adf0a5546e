"""Which rules are always answered by earlier ones, and which users get nothing.

A pattern is covered by earlier patterns if one of them matches every repository that it matches.
It is enough to check the repositories in which every wildcard stands for a segment that no pattern
names: a pattern that matches such a repository does so by its own wildcards, and so matches every
other one too. A `**` is tried with up to one segment more than the longest earlier pattern has:
beyond that, an earlier pattern can match only by a `**` of its own, which takes any number of
segments.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .policy import ANONYMOUS, EVERYONE, GROUP, ONE_SEGMENT, ROBOT, SEGMENTS, USER, Rule

# Stands for a segment that no pattern names.
_UNNAMED = "\0"

# A pattern with several `**` is tried with at most this many combinations of lengths. With more it
# counts as not covered, so that a rule is called useless only if that is certain.
_MOST_EXPANSIONS = 2_000


@dataclass(slots=True)
class _Node:
    """A node in the tree of patterns; `rule` is the first rule with a pattern that ends here."""

    repeats: bool = False
    rule: int | None = None
    children: dict[str, _Node] = field(default_factory=dict)


@dataclass(slots=True)
class _Patterns:
    """The patterns of all earlier rules for one word of `who`, as a tree over their segments."""

    root: _Node = field(default_factory=_Node)
    depth: int = 0
    everything: int | None = None

    def add(self, rule: Rule) -> None:
        if rule.everything:
            if self.everything is None:
                self.everything = rule.number
            return
        for pattern in rule.on:
            node = self.root
            segments = pattern.split("/")
            for segment in segments:
                node = node.children.setdefault(segment, _Node(repeats=segment == SEGMENTS))
            self.depth = max(self.depth, len(segments))
            if node.rule is None:
                node.rule = rule.number

    def answer(self, path: Sequence[str], user: str | None) -> int | None:
        """The number of the first rule that matches the path; None if no rule does."""
        nodes = [self.root]
        for segment in path:
            keys = [segment, ONE_SEGMENT, SEGMENTS]
            if segment == user:
                keys.append(USER)
            reached = {id(node): node for node in nodes if node.repeats}
            for node in nodes:
                for key in keys:
                    child = node.children.get(key)
                    if child is not None:
                        reached[id(child)] = child
            nodes = list(reached.values())
        numbers = [node.rule for node in nodes if node.rule is not None]
        if self.everything is not None:
            numbers.append(self.everything)
        return min(numbers, default=None)


@dataclass(frozen=True, slots=True)
class Findings:
    """useless: rule number → the earlier rules that always answer first. empty_handed and
    idle_robots: the users and the robots to which no rule gives anything."""

    useless: dict[int, list[int]]
    empty_handed: list[str]
    idle_robots: list[str]


def examine(
    users: Iterable[str],
    groups: Mapping[str, Sequence[str]],
    rules: Iterable[Rule],
    robots: Iterable[str] = (),
) -> Findings:
    """Compares each rule with the patterns of the earlier rules.

    A group stands for its present members. `everyone` also stands for future users, so only rules
    for everyone cover it. A group without members is covered only by rules for that group or for
    everyone. A robot belongs neither to everyone nor to a group.
    """
    return _Examination(list(users), groups, list(rules), list(robots)).run()


class _Examination:
    def __init__(
        self,
        users: list[str],
        groups: Mapping[str, Sequence[str]],
        rules: list[Rule],
        robots: list[str],
    ) -> None:
        self._users = users
        self._idle = {ROBOT + name: name for name in robots}
        self._rules = rules
        self._memberships: dict[str, list[str]] = {}
        for group, members in groups.items():
            for name in members:
                self._memberships.setdefault(name, []).append(GROUP + group)
        self._like = self._representatives()
        self._members = {
            GROUP + group: list(dict.fromkeys(self._like[name] for name in members))
            for group, members in groups.items()
        }
        self._earlier: dict[str, _Patterns] = {}
        self._waiting = dict.fromkeys(self._like.values())

    def _representatives(self) -> dict[str, str]:
        """User → the first user whom all rules treat alike. This keeps a group of a thousand fast.

        Two users are alike if they are in the same groups and no rule has their names, neither in
        `who` nor in `on`.
        """
        named = {word for rule in self._rules for word in rule.who}
        for rule in self._rules:
            named.update(segment for pattern in rule.on for segment in pattern.split("/"))
        first: dict[tuple[str, ...], str] = {}
        return {
            name: name
            if name in named
            else first.setdefault(tuple(self._memberships.get(name, ())), name)
            for name in self._users
        }

    def run(self) -> Findings:
        useless = {}
        for rule in self._rules:
            answering = self._answering(rule)
            if answering:
                useless[rule.number] = answering
            if rule.may:
                self._hand_out(rule)
            for who in rule.who:
                self._earlier.setdefault(who, _Patterns()).add(rule)
        return Findings(
            useless,
            [name for name in self._users if self._like[name] in self._waiting],
            list(self._idle.values()),
        )

    def _answering(self, rule: Rule) -> list[int]:
        """The earlier rules that together answer all that this one could; empty if they do not."""
        answering: set[int] = set()
        for who in rule.who:
            covering = self._covering(rule, who)
            if covering is None:
                return []
            answering |= covering
        return sorted(answering)

    def _covering(self, rule: Rule, who: str) -> set[int] | None:
        """As _answering, for one word of `who`; None if the rule still decides something."""
        if who == ANONYMOUS:
            return self._covered(rule, (ANONYMOUS,), None)
        if who == EVERYONE:
            return self._covered(rule, (EVERYONE,), None)
        if who.startswith(ROBOT):
            return self._covered(rule, (who,), who.removeprefix(ROBOT))
        if not who.startswith(GROUP):
            return self._covered(rule, self._words(who), who)
        whole = self._covered(rule, (who, EVERYONE), None)
        if whole is not None:
            return whole
        if not self._members[who]:
            return None
        answering: set[int] = set()
        for member in self._members[who]:
            covering = self._covered(rule, self._words(member), member)
            if covering is None:
                return None
            answering |= covering
        return answering

    def _covered(self, rule: Rule, words: Iterable[str], user: str | None) -> set[int] | None:
        """The earlier rules for any of these words that together cover the rule, or None.

        `user` is the name for `{user}`; with None, `{user}` is a name that no pattern has.
        """
        earlier = [self._earlier[word] for word in words if word in self._earlier]
        if not earlier:
            return None
        if rule.everything:
            whole = [known.everything for known in earlier if known.everything is not None]
            return {min(whole)} if whole else None
        answering = set()
        longest = max(known.depth for known in earlier) + 1
        for pattern in rule.on:
            for path in _repositories(pattern, user, longest):
                numbers = [known.answer(path, user) for known in earlier]
                first = min((number for number in numbers if number is not None), default=None)
                if first is None:
                    return None
                answering.add(first)
        return answering

    def _words(self, user: str) -> list[str]:
        """Every word of `who` that means this user."""
        return [user, *self._memberships.get(user, ()), EVERYONE]

    def _hand_out(self, rule: Rule) -> None:
        """Takes the accounts to which this rule gives something off the lists of those without."""
        if rule.everything and not rule.gives("list"):
            # Perhaps earlier rules leave only the catalog to this rule, and it does not give that.
            rule = replace(rule, on=(SEGMENTS,))
        for who in rule.who:
            if who in self._idle and self._covering(rule, who) is None:
                del self._idle[who]
            if who == EVERYONE:
                candidates = list(self._waiting)
            elif who.startswith(GROUP):
                candidates = [name for name in self._members[who] if name in self._waiting]
            else:
                candidates = [who] if who in self._waiting else []
            for name in candidates:
                if self._covered(rule, self._words(name), name) is None:
                    del self._waiting[name]


def _repositories(pattern: str, user: str | None, longest: int) -> Iterator[list[str]]:
    """The repositories that stand for all that a pattern matches; see the module's docstring."""
    segments = pattern.split("/")
    repeated = segments.count(SEGMENTS)
    if longest**repeated > _MOST_EXPANSIONS:
        # No earlier pattern matches an empty path, so the pattern counts as not covered.
        yield []
        return
    for lengths in itertools.product(range(1, longest + 1), repeat=repeated):
        length = iter(lengths)
        path: list[str] = []
        for segment in segments:
            if segment == SEGMENTS:
                path.extend([_UNNAMED] * next(length))
            elif segment == ONE_SEGMENT:
                path.append(_UNNAMED)
            else:
                path.append(user if segment == USER and user is not None else segment)
        yield path
