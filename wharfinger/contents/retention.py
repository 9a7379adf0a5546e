"""registry_retention: finds all mistakes in it at once, and reads its rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from wharfinger.access import coverage
from wharfinger.access.compiler import anchored
from wharfinger.access.patterns import mistake
from wharfinger.access.policy import ALL, EVERYONE, SEGMENTS, USER, Rule
from wharfinger.deployment.problems import Problem, Report
from wharfinger.values import duration, kind
from wharfinger.wording import (
    answered_before,
    known_fields,
    quoted,
    texts,
)

RETENTION = "registry_retention"
CRITERIA = ("newest", "newer_than", "matching")
_KEYS = ("on", *CRITERIA)
# A wrong name that is often used → the right one.
_USUAL_KEYS = {
    "repository": "on",
    "repositories": "on",
    "pattern": "on",
    "name": "on",
    "keep": "newest",
    "count": "newest",
    "last": "newest",
    "latest": "newest",
    "age": "newer_than",
    "days": "newer_than",
    "newer": "newer_than",
    "younger_than": "newer_than",
    "older_than": "newer_than",
    "tag": "matching",
    "tags": "matching",
    "match": "matching",
}
_EXAMPLES = {"on": '"team/**"', "newest": "10", "newer_than": "30d", "matching": '["v*", latest]'}
_DURATIONS = "write 12h, 30d or 2w"

# OCI distribution specification 1.1, `<reference>` as a tag, with the wildcards * and ?.
_TAG_PATTERN = re.compile(r"[A-Za-z0-9_*?][A-Za-z0-9._*?-]*")
_LONGEST_TAG = 128
# Tags that cosign and others name after the digest of the manifest that they sign.
_SIGNATURES = re.compile(r"sha256-.*|\*\.(sig|att|sbom)")


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """One entry of registry_retention. number: its place there, from 1. newer_than: in seconds."""

    number: int
    on: tuple[str, ...]
    newest: int | None
    newer_than: int | None
    matching: tuple[str, ...]

    def compiled(self) -> dict[str, object]:
        """The rule as the host reads it, with patterns as anchored regular expressions."""
        return {
            "number": self.number,
            "on": [anchored(SEGMENTS if pattern == ALL else pattern) for pattern in self.on],
            "newest": self.newest,
            "newer_than": self.newer_than,
            "matching": list(self.matching) or None,
        }


def examine(retention: object) -> tuple[list[RetentionRule], Report]:
    """The rules, and all errors and warnings. The rules are complete only if there are no errors.

    retention: anything that YAML can say. Warnings are given only if there are no errors. Never
    raises.
    """
    if not isinstance(retention, list | tuple):
        wrong = (
            f'is {kind(retention)}: write a list of rules, as in `- {{on: "team/**", newest: 10}}`,'
            " or [] to keep every tag"
        )
        return [], Report([Problem(RETENTION, "", wrong)])
    errors: list[Problem] = []
    rules = []
    for number, entry in enumerate(retention, 1):
        rule, wrongs = _rule(number, entry)
        errors += [Problem(RETENTION, f"rule {number}", wrong) for wrong in wrongs]
        if not wrongs and rule is not None:
            rules.append(rule)
    errors += _useless(rules)
    return rules, Report(errors, [] if errors else _warnings(rules))


def _rule(number: int, entry: object) -> tuple[RetentionRule | None, list[str]]:
    if not isinstance(entry, Mapping):
        return None, [
            f"is {kind(entry)}: write a mapping of on and what to keep, as in "
            '`{on: "team/**", newest: 10}`'
        ]
    fields, wrong = known_fields(entry, _KEYS, _USUAL_KEYS)
    if not wrong:
        if "on" not in fields:
            wrong.append(f"on is missing: write, for example, on: {_EXAMPLES['on']}")
        if not fields.keys() & set(CRITERIA):
            wrong.append(
                "does not say what to keep, so every tag would be removed: write newest, "
                "newer_than or matching"
            )
    on = _on(fields["on"], wrong) if "on" in fields else ()
    newest = _newest(fields["newest"], wrong) if "newest" in fields else None
    newer_than = _newer_than(fields["newer_than"], wrong) if "newer_than" in fields else None
    matching = _matching(fields["matching"], wrong) if "matching" in fields else ()
    return RetentionRule(number, on, newest, newer_than, matching), wrong


def _on(value: object, wrong: list[str]) -> tuple[str, ...]:
    words, mistakes = texts("on", value, _EXAMPLES["on"])
    wrong += mistakes
    for word in words:
        message = _placeholder(word) or mistake(word)
        if message:
            wrong.append(f"on: {message}")
    if ALL in words and len(words) > 1:
        wrong.append("on has all, which includes the others: write on: all alone")
    return words


def _placeholder(pattern: str) -> str | None:
    """What is wrong with a pattern that has `{user}`: no user is signed in here."""
    if USER not in pattern:
        return None
    return (
        f"{quoted(pattern)} has {USER}, and no user is signed in when tags are removed: write "
        f"{quoted(pattern.replace(USER, '*'))}, or the name itself"
    )


def _newest(value: object, wrong: list[str]) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        shown = quoted(value) if isinstance(value, str) else kind(value)
        wrong.append(f"newest is {shown}: write a whole number, for example newest: 10")
    elif value < 1:
        wrong.append(
            f"newest is {value}: write 1 or more, or leave it out and write what to keep as "
            "newer_than or matching"
        )
    else:
        return int(value)
    return None


def _newer_than(value: object, wrong: list[str]) -> int | None:
    shown = quoted(value) if isinstance(value, str) else kind(value)
    try:
        seconds = duration(value)
    except ValueError:
        wrong.append(f"newer_than is {shown}, which is not a duration: {_DURATIONS}")
        return None
    if seconds == 0:
        wrong.append(f"newer_than is 0, which keeps nothing: {_DURATIONS}, or leave it out")
        return None
    # In every other duration a bare number means seconds; here people mean days.
    if str(value).strip().isdigit():
        wrong.append(
            f"newer_than is {value} without a unit, which would be seconds: "
            f"write {value}d for days, or {value}s"
        )
        return None
    return seconds


def _matching(value: object, wrong: list[str]) -> tuple[str, ...]:
    words, mistakes = texts("matching", value, _EXAMPLES["matching"], no_text=_no_tag)
    wrong += mistakes
    wrong += [f"matching: {mistake}" for word in words if (mistake := _tag_mistake(word))]
    return words


def _no_tag(value: object) -> str | None:
    if isinstance(value, bool | int | float):
        return f"matching has {kind(value)} to YAML: write the tag in quotation marks"
    return None


def _tag_mistake(pattern: str) -> str | None:
    """What is wrong with a pattern of tags and what to write instead; None if it is right."""
    shown = quoted(pattern)
    if not pattern:
        return 'an empty pattern matches nothing: write "*" for every tag'
    if pattern != pattern.strip():
        return f"{shown} has spaces around it: write {quoted(pattern.strip())}"
    if re.search(r"[\^$+()|\\]", pattern):
        return (
            f"{shown} looks like a regular expression, which patterns are not: "
            'write * for any characters and ? for one, as in "v*"'
        )
    if re.search(r"[\s,]", pattern):
        return f'{shown} has several patterns: write a list, as in ["v*", latest]'
    if re.search(r"[\[\]{}!]", pattern):
        return (
            f"{shown} has a wildcard that patterns do not know: "
            "write * for any characters and ? for one"
        )
    if "@" in pattern:
        return f"{shown} has a digest: write a tag's name, as in latest"
    if "/" in pattern or ":" in pattern:
        tag = re.split("[/:]", pattern)[-1]
        better = f"write {quoted(tag)}" if _TAG_PATTERN.fullmatch(tag) else 'write "v*"'
        return f"{shown} names a repository, which on does: {better}"
    if not _TAG_PATTERN.fullmatch(pattern):
        return (
            f"{shown} cannot be a tag: tags are letters, digits, dots, hyphens and underscores, "
            "and do not begin with a dot or hyphen"
        )
    if len(pattern.replace("*", "")) > _LONGEST_TAG:
        return f"{shown} is longer than the {_LONGEST_TAG} characters of a tag: write a shorter one"
    return None


def _useless(rules: list[RetentionRule]) -> list[Problem]:
    """Rules that earlier rules always answer. They are compared as access rules for everyone."""
    by_number = {rule.number: rule for rule in rules}
    patterns = [
        Rule(rule.number, (EVERYONE,), (), (SEGMENTS,) if rule.on == (ALL,) else rule.on)
        for rule in rules
    ]
    problems = []
    for number, earlier in coverage.examine([], {}, patterns).useless.items():
        first = by_number[earlier[0]]
        same = first.number if _content(first) == _content(by_number[number]) else None
        problems.append(Problem(RETENTION, f"rule {number}", answered_before(same, earlier)))
    return problems


def _content(rule: RetentionRule) -> tuple[object, ...]:
    return frozenset(rule.on), rule.newest, rule.newer_than, frozenset(rule.matching)


def _warnings(rules: list[RetentionRule]) -> list[Problem]:
    return [
        Problem(
            RETENTION,
            f"rule {rule.number}",
            f"matching: {quoted(word)} names signatures, which stay and go with what they sign: "
            "remove it, or write the pattern of the tags themselves",
        )
        for rule in rules
        for word in rule.matching
        if _SIGNATURES.fullmatch(word)
    ]
