"""An update of mirror.lock: what upstream has now, compared with the lock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wharfinger.deployment.mirror_lock import Locked

from .rows import Mirror

# Characters of a tag that its dated tag keeps: a tag has at most 128.
_LONGEST = 112


@dataclass(frozen=True, slots=True)
class Update:
    """The new lines of the lock; what has changed, a sentence a line, for the operator; and what
    could not be looked at, which fails the playbook once everything else is done."""

    lines: list[Locked]
    changes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def updated(
    lock: Iterable[Locked],
    mirrors: Sequence[Mirror],
    answers: Sequence[Mapping[str, Any]],
    today: str,
) -> Update:
    """The lock after an update on the day `today` (`2026-12-01`).

    answers: what the host's look_upstream answered, for each mirror in order: `tags` (tag →
    digest), `gone`, `problem`. A tag that upstream has moved gets its new digest, and the old one a
    dated tag. A tag that upstream has no longer keeps its line.
    """
    lines = {(line.repository, line.tag): line for line in lock}
    changes: list[str] = []
    problems: list[str] = []
    for mirror, answer in zip(mirrors, answers, strict=True):
        if answer.get("problem"):
            problems.append(f"{mirror.place}: {answer['problem']}")
        else:
            changes += _compare(lines, mirror, answer["tags"], today)
            problems += _absent(lines, mirror, answer["tags"])
    return Update(sorted(lines.values()), changes, problems)


def _compare(
    lines: dict[tuple[str, str], Locked], mirror: Mirror, tags: Mapping[str, str], today: str
) -> list[str]:
    changes = []
    for tag, digest in sorted(tags.items()):
        old = lines.get((mirror.to, tag))
        new = Locked(mirror.to, tag, digest, today, mirror.origin)
        if old is None:
            changes.append(f"new    {mirror.to}:{tag} is {digest}")
        elif old.digest == digest and old.source == mirror.origin:
            continue
        elif old.digest == digest:
            changes.append(
                f"source {mirror.to}:{tag} comes from {mirror.origin} now, with the same digest"
            )
        else:
            kept = _dated(lines, old)
            lines[mirror.to, kept] = Locked(mirror.to, kept, old.digest, old.date, old.source)
            changes.append(
                f"moved  {mirror.to}:{tag} from {old.digest} to {digest}; the old one stays as "
                f"{mirror.to}:{kept}"
            )
        lines[mirror.to, tag] = new
    for repository, tag in sorted(lines):
        line = lines[repository, tag]
        if (
            (repository, line.source) == (mirror.to, mirror.origin)
            and tag not in tags
            and mirror.selects(tag)
            and not _is_dated(lines, line)
        ):
            changes.append(
                f"gone   {mirror.to}:{tag} is no longer at {mirror.origin}; it stays here"
            )
    return changes


def _dated(lines: Mapping[tuple[str, str], Locked], old: Locked) -> str:
    """The tag that keeps what a moving tag had: `13-20261201`, and `13-20261201.2` if that is
    taken by another digest."""
    first = f"{old.tag[:_LONGEST]}-{old.date.replace('-', '')}"
    number, tag = 1, first
    while (line := lines.get((old.repository, tag))) is not None and line.digest != old.digest:
        number += 1
        tag = f"{first}.{number}"
    return tag


def _is_dated(lines: Mapping[tuple[str, str], Locked], line: Locked) -> bool:
    """Whether an update made this tag: the tag before the date has a line, too."""
    return line.is_dated and (line.repository, line.tag.rpartition("-")[0]) in lines


def _absent(
    lines: Mapping[tuple[str, str], Locked], mirror: Mirror, tags: Mapping[str, str]
) -> list[str]:
    """Names and patterns in `tags` that lead to nothing, neither upstream nor in the lock."""
    problems = []
    for text in mirror.tags:
        known = [
            tag
            for repository, tag in lines
            if repository == mirror.to and lines[repository, tag].source == mirror.origin
        ]
        if not any(Mirror(0, "", "", "", (text,)).selects(tag) for tag in (*tags, *known)):
            problems.append(
                f'{mirror.place}: it has no tag for "{text}": correct it in registry_mirrors'
            )
    return problems
