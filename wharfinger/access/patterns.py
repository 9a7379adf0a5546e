"""What a pattern of registry_access may look like, and what to write instead of a wrong pattern."""

from __future__ import annotations

import re

from wharfinger.oci.names import COMPONENT, LONGEST_REPOSITORY
from wharfinger.suggestions import nearest
from wharfinger.wording import quoted

from .policy import ALL, ONE_SEGMENT, SEGMENTS, USER

_EXAMPLE = '"team/*"'
_COMPONENT_WORDS = (
    "lower-case letters and digits, with single dots, one or two underscores, or hyphens between"
)


def mistake(pattern: str) -> str | None:
    """What is wrong with a pattern and what to write instead; None if it is right or `all`."""
    if pattern == ALL:
        return None
    if not pattern:
        return 'an empty pattern matches nothing: write "**" for every repository, or all'
    shown = quoted(pattern)
    if pattern != pattern.strip():
        return f"{shown} has spaces around it: write {quoted(pattern.strip())}"
    if re.search(r"[\^$+()|\\]", pattern) and "${" not in pattern:
        return (
            f"{shown} looks like a regular expression, which patterns are not: "
            'write segments, as in "team/*" (one more segment) or "team/**" (one or more)'
        )
    if "://" in pattern:
        return f"{shown} is an address: write the repository's name alone, as in {_EXAMPLE}"
    if pattern.startswith("/") or pattern.endswith("/") or "//" in pattern:
        plain = re.sub("/+", "/", pattern).strip("/")
        instead = f"write {quoted(plain)}" if plain else 'write "**" for every repository'
        if pattern.endswith("/") and COMPONENT.fullmatch(plain.rpartition("/")[2]):
            instead = f"write {quoted(plain + '/**')} for everything below {plain}"
        return f"{shown} has an empty segment: {instead}"
    return _whole(pattern) or next(filter(None, map(_segment, pattern.split("/"))), None)


def _whole(pattern: str) -> str | None:
    shown = quoted(pattern)
    if re.search(r"[\s,]", pattern):
        return f'{shown} has several patterns: write a list, as in ["team/*", "shared/**"]'
    if "@" in pattern:
        return f"{shown} has a digest: rules are about repositories, write it without @…"
    if ":" in pattern and "/" in pattern[pattern.index(":") :]:
        return f"{shown} has a host: write the repository's name alone, as in {_EXAMPLE}"
    if ":" in pattern:
        return (
            f"{shown} has a tag: rules are about repositories, "
            f"write {quoted(pattern.partition(':')[0])}"
        )
    if len(pattern) > LONGEST_REPOSITORY:
        return (
            f"{shown} is longer than the {LONGEST_REPOSITORY} characters of a repository's name: "
            "write a shorter one"
        )
    return None


def _segment(segment: str) -> str | None:
    """What is wrong with one segment of a pattern."""
    if segment in (ONE_SEGMENT, SEGMENTS, USER) or COMPONENT.fullmatch(segment):
        return None
    shown = quoted(segment)
    if "{" in segment or "}" in segment:
        if USER in segment and "${" not in segment:
            return (
                f"in {shown}, {USER} is only a part of a segment, where one user's name could run "
                f'into another\'s: write it as a segment of its own, as in "{USER}/**"'
            )
        return f"{shown} is not a placeholder: the only one is {USER}, the signed-in name"
    if segment.strip("*") == "":
        return f'{shown} is not a wildcard: write "*" for one segment, "**" for one or more'
    if "*" in segment:
        return (
            f"in {shown}, * is only a part of a segment: * is one whole segment and ** one or "
            f"more, so write {_without_star(segment)} or each name"
        )
    if "?" in segment or "[" in segment:
        return f'{shown} has a wildcard that patterns do not know: write "*" for a whole segment'
    if segment != segment.lower() and COMPONENT.fullmatch(segment.lower()):
        return f"{shown} has capitals, which no repository has: write {quoted(segment.lower())}"
    return (
        f"{shown} cannot be part of a repository's name: a segment is {_COMPONENT_WORDS}, "
        f"as in {quoted(_cleaned(segment))}"
    )


def _without_star(segment: str) -> str:
    """A namespace instead of a prefix: "team/*" for `team-*`."""
    literal = _cleaned(segment.rstrip("*"))
    return '"*"' if "*" in segment.rstrip("*") else quoted(f"{literal}/*")


def _cleaned(segment: str) -> str:
    """A valid segment that is similar to the wrong one."""
    near = re.sub(r"[^a-z0-9._-]+", "-", segment.lower())
    near = re.sub(r"\.[._-]*|_{3,}", lambda match: match[0][0], near)
    near = near.strip("._-")
    return near if COMPONENT.fullmatch(near) else "team"


def verb_meant(verb: str, verbs: tuple[str, ...]) -> str | None:
    """The verb that was probably meant; None if the word is like no verb."""
    usual = {
        "read": "pull",
        "download": "pull",
        "get": "pull",
        "write": "push",
        "upload": "push",
        "remove": "delete",
        "rm": "delete",
        "catalog": "list",
        "ls": "list",
        "*": ALL,
        "any": ALL,
        "everything": ALL,
        "admin": ALL,
    }
    return usual.get(verb.lower()) or nearest(verb.lower(), (*verbs, ALL))
