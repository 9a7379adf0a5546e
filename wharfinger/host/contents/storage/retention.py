"""Which tags of a repository the rules keep, and why. Pure.

The first rule whose pattern matches the repository decides. A tag stays if any of the rule's
conditions keeps it. Tags that belong to a revision (signatures, attestations, referrers) are not
counted: they stay or go with the revision.
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

# Seconds by which clocks may reasonably differ.
_CLOCKS_DIFFER = 86400.0


@dataclass(frozen=True)
class Rule:
    """Which tags stay in the repositories that `on` matches (regular expressions for the whole
    name).

    `newest`: this many tags, those pushed last. `newer_than`: tags pushed within so many seconds.
    `matching`: tags whose names match (`*`, `?`).
    """

    number: int
    on: tuple[re.Pattern[str], ...]
    newest: int | None = None
    newer_than: float | None = None
    matching: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Rule:
        """A rule from the settings on the host."""
        return cls(
            number=settings["number"],
            on=tuple(re.compile(pattern) for pattern in settings["on"]),
            newest=settings.get("newest"),
            newer_than=settings.get("newer_than"),
            matching=tuple(settings.get("matching") or ()),
        )

    @property
    def otherwise(self) -> str:
        """Why a tag is removed that no condition keeps."""
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
    """The rule that applies to this repository."""
    for rule in rules:
        if any(pattern.fullmatch(repository) for pattern in rule.on):
            return rule
    return None


def plan(
    contents: Contents, rules: Sequence[Rule], untagged_keep: float | None, now: float
) -> tuple[list[Row], list[Removal]]:
    """Each tag's row, the newest first, and the tags to remove.

    Tags pushed at the same moment (which some ways of restoring a backup do to all tags) have no
    order: if the limit of `newest` falls among them, all of them stay. Their rows are in natural
    order (v2 before v10).

    If something in the repository cannot be read, no tag that belongs to a revision goes. A tag of
    an unreadable manifest never goes, and is not counted.
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
                reason = f"is named like a list of {subject}, but is not one"
            else:
                reason = f"{subject} is not in this repository"
            decided[name] = (True, reason)
        elif revision.subject is not None and revision.subject in contents.revisions:
            referrers[name] = revision.subject
        elif tag.pushed > now + _CLOCKS_DIFFER:
            # If it counted, it would stay the newest, whatever is pushed from now on.
            decided[name] = (True, "pushed in the future, by a clock that was wrong")
        else:
            ordinary[name] = tag
    newest = _newest(ordinary, rule.newest)
    for name, tag in ordinary.items():
        decided[name] = _by_conditions(name, tag, rule, now, counted=name in newest)
    for name in referrers:
        # Not counted among the newest, but its name or age may keep it.
        decision = _by_conditions(name, contents.tags[name], rule, now, counted=False)
        if decision[0]:
            decided[name] = decision
    # Also the manifests of tags that go now: they stay for registry_untagged_keep, and if a tag is
    # set to one again, its signatures are still there.
    roots = {contents.tags[name].digest for name in decided}
    kept = needed(contents, roots | recent(contents.revisions, untagged_keep, now))
    for name, subject in {**belonging, **referrers}.items():
        if name not in decided:
            decided[name] = (contents.damaged or subject in kept, f"belongs to {subject}")
    return decided


def _newest(tags: Mapping[str, Tag], number: int | None) -> set[str]:
    """The `number` tags pushed last, and all that were pushed at the same moment as the oldest of
    them."""
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
