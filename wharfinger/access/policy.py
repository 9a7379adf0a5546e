"""The model: rules over users and repositories, and the decision for one question.

It does what docs/access.md says: the rules are read from top to bottom, and the first whose `who`
and `on` match decides; if none matches, the answer is no. `may` takes no part in matching.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wharfinger.deployment.fixed import MIRROR_ACCOUNT, VERIFICATION_ACCOUNT

from .robots import Robot

REPOSITORY_VERBS = ("pull", "push", "delete")
VERBS = (*REPOSITORY_VERBS, "list")

EVERYONE = "everyone"
ANONYMOUS = "anonymous"
GROUP = "group:"
ROBOT = "robot:"
ALL = "all"

ONE_SEGMENT = "*"
SEGMENTS = "**"
USER = "{user}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of registry_access. Every field is a tuple, in the file's order.

    who: user names, `group:NAME`, `robot:NAME`, `everyone`, `anonymous`. may: verbs, or only
    `all`, or nothing. on: patterns, or only `all`. number: the place in registry_access, from 1.
    """

    number: int
    who: tuple[str, ...]
    may: tuple[str, ...]
    on: tuple[str, ...]

    def gives(self, verb: str) -> bool:
        """Whether `may` holds the verb."""
        return self.may == (ALL,) or verb in self.may

    @property
    def everything(self) -> bool:
        """Whether `on` is every repository and the catalog."""
        return self.on == (ALL,)


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one question, and the number of the rule that decided it (None: no rule)."""

    allowed: bool
    rule: int | None


@dataclass(frozen=True, slots=True)
class Policy:
    """Users, groups, rules and robots without mistakes. mirrors: the repositories that the host
    itself fills, by its account for that."""

    users: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    rules: tuple[Rule, ...]
    robots: Mapping[str, Robot] = field(default_factory=dict)
    mirrors: tuple[str, ...] = ()

    @property
    def knows_anonymous(self) -> bool:
        """Whether a rule names `anonymous`."""
        return any(ANONYMOUS in rule.who for rule in self.rules)

    def groups_of(self, user: str) -> tuple[str, ...]:
        """The names of the user's groups, in the inventory's order."""
        return tuple(name for name, members in self.groups.items() if user in members)

    def decide(
        self, user: str | None, verb: str, repository: str | None, address: str | None = None
    ) -> Decision:
        """Whether `user` (None: not signed in) may do `verb` on `repository` from `address`.

        `user` may be a robot's name; without an address, the robot counts as coming from an address
        that it is allowed. `list` asks for the catalog and takes no repository; every other verb
        takes one. An account that is not in the inventory is denied. Raises ValueError for an
        unknown verb, for `list` with a repository, and for another verb without one.
        """
        if verb not in VERBS:
            raise ValueError(f"unknown verb {verb}: write one of {', '.join(VERBS)}")
        if (verb == "list") != (repository is None):
            raise ValueError(
                "list is asked of the catalog, without a repository; "
                f"{', '.join(REPOSITORY_VERBS)} are asked of a repository"
            )
        path = None if repository is None else repository.split("/")
        reserved = path is not None and matches((VERIFICATION_ACCOUNT, SEGMENTS), path, user)
        if user == VERIFICATION_ACCOUNT:
            return Decision(reserved and verb in ("pull", "push"), None)
        if user == MIRROR_ACCOUNT:
            return Decision(repository in self.mirrors and verb in ("pull", "push"), None)
        if user is None and reserved:
            return Decision(False, None)
        names = self._names(user, address)
        for rule in self.rules:
            if names.isdisjoint(rule.who):
                continue
            if rule.everything or (
                path is not None and any(matches(on.split("/"), path, user) for on in rule.on)
            ):
                return Decision(rule.gives(verb), rule.number)
        return Decision(False, None)

    def _names(self, user: str | None, address: str | None) -> set[str]:
        """Every word of `who` that means this user, coming from this address."""
        if user is None:
            return {ANONYMOUS}
        if user in self.robots:
            welcome = address is None or self.robots[user].comes_from(address)
            return {ROBOT + user} if welcome else set()
        if user not in self.users:
            return set()
        return {user, EVERYONE, *(GROUP + name for name in self.groups_of(user))}


def matches(pattern: Sequence[str], path: Sequence[str], user: str | None) -> bool:
    """Whether a pattern's segments match all segments of a repository's name.

    `*` takes one segment, `**` one or more, `{user}` the signed-in name. Nothing matches an empty
    segment (as in `a//b`).
    """
    reached = {0}  # how many segments of the pattern are used up
    for segment in path:
        if not segment:
            return False
        following = set()
        for position in reached:
            if position and pattern[position - 1] == SEGMENTS:
                following.add(position)
            if position < len(pattern):
                wanted = user if pattern[position] == USER else pattern[position]
                if wanted in (ONE_SEGMENT, SEGMENTS, segment):
                    following.add(position + 1)
        reached = following
    return len(pattern) in reached
