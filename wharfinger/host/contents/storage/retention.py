"""Which tags of a repository stay by the rules, and why. Pure.

The first rule whose pattern names the repository decides. A tag stays where any of the rule's
conditions keeps it. Tags that belong to a revision (signatures, attestations, referrers) are not
counted, and stay or go with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from ....oci.digests import subject_of
from ...system.durations import in_words
from .model import Contents, Removal, Tag
from .references import needed, recent, signatures

# Seconds.
_CLOCKS_DIFFER = 86400.0


@dataclass(frozen=True)
class Rule:
    """What stays in the repositories that `on` names (regular expressions for the whole name).

    `newest`: this many tags, those pushed last. `newer_than`: tags pushed within so many seconds.
    `matching`: tags with such names (`*`, `?`).
    """

    number: int
    on: tuple[re.Pattern[str], ...]
    newest: int | None = None
    newer_than: float | None = None
    matching: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Rule:
        """A rule as it stands in the settings on the host."""
        return cls(
            number=settings["number"],
            on=tuple(re.compile(pattern) for pattern in settings["on"]),
            newest=settings.get("newest"),
            newer_than=settings.get("newer_than"),
            matching=tuple(settings.get("matching") or ()),
        )

    @property
    def otherwise(self) -> str:
        """Why a tag that no condition keeps goes."""
        if self.newest is not None and self.newer_than is not None:
            return f"older, and not among the newest {self.newest}"
        if self.newest is not None:
            return f"not among the newest {self.newest}"
        if self.newer_than is not None:
            return f"older than {duration(self.newer_than)}"
        return f"matches none of {', '.join(self.matching)}"


@dataclass(frozen=True)
class Row:
    """A tag, whether it stays, by which rule, and why."""

    repository: str
    tag: str
    digest: str
    pushed: float
    keep: bool
    rule: int | None
    reason: str


def rule_for(repository: str, rules: Sequence[Rule]) -> Rule | None:
    """The rule that decides about this repository."""
    for rule in rules:
        if any(pattern.fullmatch(repository) for pattern in rule.on):
            return rule
    return None


def plan(
    contents: Contents, rules: Sequence[Rule], untagged_keep: float | None, now: float
) -> tuple[list[Row], list[Removal]]:
    """Each tag's row, the newest first, and the tags to remove.

    Tags pushed at the same moment (as all are after some ways of restoring a backup) have no order:
    where the limit of `newest` falls among them, all of them stay. Rows of the same moment stand in
    natural order (v2 before v10).

    Where something in the repository cannot be read, no tag that belongs to another goes; tags of
    what cannot be read never go, and are not counted.
    """
    rule = rule_for(contents.repository, rules)
    if rule is None:
        decided = {name: (True, "no rule names it") for name in contents.tags}
    else:
        decided = _decide(contents, rule, untagged_keep, now)
    rows = [
        Row(
            contents.repository,
            name,
            tag.digest,
            tag.pushed,
            decided[name][0],
            None if rule is None else rule.number,
            decided[name][1],
        )
        for name, tag in sorted(contents.tags.items(), key=_newest_first)
    ]
    removals = [
        Removal(row.repository, row.digest, row.tag, row.pushed) for row in rows if not row.keep
    ]
    return rows, removals


def _decide(
    contents: Contents, rule: Rule, untagged_keep: float | None, now: float
) -> dict[str, tuple[bool, str]]:
    """Whether each tag stays, and why."""
    decided: dict[str, tuple[bool, str]] = {}
    belonging = signatures(contents)
    ordinary: dict[str, Tag] = {}
    referrers: dict[str, str] = {}
    for name, tag in contents.tags.items():
        revision = contents.revisions.get(tag.digest)
        if revision is None or not revision.readable:
            decided[name] = (True, "its manifest cannot be read")
        elif name in belonging:
            continue
        elif (subject := subject_of(name)) is not None:
            if subject == tag.digest:
                reason = "keeps the digest in its name"
            elif subject in contents.revisions:
                reason = f"has the name of a list of {subject}, but is none"
            else:
                reason = f"{subject} is not here"
            decided[name] = (True, reason)
        elif revision.subject is not None and revision.subject in contents.revisions:
            referrers[name] = revision.subject
        elif tag.pushed > now + _CLOCKS_DIFFER:
            # Counted as the newest, it would keep out what is pushed from now on.
            decided[name] = (True, "pushed in the future, by a clock that was wrong")
        else:
            ordinary[name] = tag
    newest = _newest(ordinary, rule.newest)
    for name, tag in ordinary.items():
        decided[name] = _by_conditions(name, tag, rule, now, counted=name in newest)
    for name in referrers:
        # Not counted; but what the inventory keeps by its name or age stays.
        decision = _by_conditions(name, contents.tags[name], rule, now, counted=False)
        if decision[0]:
            decided[name] = decision
    # Those of the tags that go now too: their manifests stay for registry_untagged_keep, and who
    # leads a tag to one again finds it signed.
    roots = {contents.tags[name].digest for name in decided}
    kept = needed(contents, roots | recent(contents.revisions, untagged_keep, now))
    for name, subject in {**belonging, **referrers}.items():
        if name not in decided:
            decided[name] = (contents.damaged or subject in kept, f"belongs to {subject}")
    return decided


def _newest(tags: Mapping[str, Tag], number: int | None) -> set[str]:
    """The `number` tags pushed last, and all that were pushed at the same moment as the last."""
    if not number:
        return set()
    times = sorted((tag.pushed for tag in tags.values()), reverse=True)
    limit = times[min(number, len(times)) - 1] if times else 0.0
    return {name for name, tag in tags.items() if tag.pushed >= limit}


def _by_conditions(
    name: str, tag: Tag, rule: Rule, now: float, *, counted: bool
) -> tuple[bool, str]:
    """Whether one of the rule's conditions keeps the tag, and the reason."""
    if counted:
        return True, f"among the newest {rule.newest}"
    age = now - tag.pushed
    if rule.newer_than is not None and age <= rule.newer_than:
        return True, f"pushed {duration(age)} ago"
    for pattern in rule.matching:
        if fnmatchcase(name, pattern):
            return True, f"matches {pattern}"
    return False, rule.otherwise


def _newest_first(item: tuple[str, Tag]) -> tuple[float, list[tuple[int, str]]]:
    name, tag = item
    return -tag.pushed, [
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in re.split(r"([0-9]+)", name)
        if part
    ]


def duration(seconds: float) -> str:
    """A time in its largest whole unit: `3 days`, `1 hour`."""
    if seconds < 60:
        return "less than a minute"
    return in_words(seconds, ("day", "hour", "minute"), least=1)
