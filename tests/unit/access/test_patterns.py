"""Patterns of registry_access: every message, word for word."""

from __future__ import annotations

import pytest

from .messages import (
    errors,
    rule,
)

COMPONENT = (
    "cannot be part of a repository's name: a segment is lower-case letters and digits, with "
    "single dots, one or two underscores, or hyphens between, as in"
)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", 'an empty pattern matches nothing: write "**" for every repository, or all'),
        (" team/*", '" team/*" has spaces around it: write "team/*"'),
        ("/team/*", '"/team/*" has an empty segment: write "team/*"'),
        ("team//x", '"team//x" has an empty segment: write "team/x"'),
        ("team/*/", '"team/*/" has an empty segment: write "team/*"'),
        (
            "team/",
            '"team/" has an empty segment: write "team/**" for everything below team',
        ),
        ("/", '"/" has an empty segment: write "**" for every repository'),
        *(
            (
                pattern,
                f'"{pattern}" looks like a regular expression, which patterns are not: write '
                'segments, as in "team/*" (one more segment) or "team/**" (one or more)',
            )
            for pattern in ("/^team$/", "team/(a|b)", "team/.+")
        ),
        (
            "https://reg/team",
            '"https://reg/team" is an address: write the repository\'s name alone, as in "team/*"',
        ),
        (
            "reg:5000/team/*",
            '"reg:5000/team/*" has a host: write the repository\'s name alone, as in "team/*"',
        ),
        (
            "team/x:latest",
            '"team/x:latest" has a tag: rules are about repositories, write "team/x"',
        ),
        (
            "team/x@sha256:00",
            '"team/x@sha256:00" has a digest: rules are about repositories, write it without @…',
        ),
        (
            "team/*, shared/**",
            '"team/*, shared/**" has several patterns: write a list, as in ["team/*", "shared/**"]',
        ),
        (
            "team-*/x",
            'in "team-*", * is only a part of a segment: * is one whole segment and ** one or '
            'more, so write "team/*" or each name',
        ),
        (
            "*-x",
            'in "*-x", * is only a part of a segment: * is one whole segment and ** one or more, '
            'so write "*" or each name',
        ),
        (
            "team/***",
            '"***" is not a wildcard: write "*" for one segment, "**" for one or more',
        ),
        (
            "te?m",
            '"te?m" has a wildcard that patterns do not know: write "*" for a whole segment',
        ),
        (
            "[ab]/*",
            '"[ab]" has a wildcard that patterns do not know: write "*" for a whole segment',
        ),
        (
            "{user}-x/*",
            'in "{user}-x", {user} is only a part of a segment, where one user\'s name could run '
            'into another\'s: write it as a segment of its own, as in "{user}/**"',
        ),
        (
            "{name}/*",
            '"{name}" is not a placeholder: the only one is {user}, the signed-in name',
        ),
        (
            "${account}/*",
            '"${account}" is not a placeholder: the only one is {user}, the signed-in name',
        ),
        ("Team/*", '"Team" has capitals, which no repository has: write "team"'),
        ("ALL", '"ALL" has capitals, which no repository has: write "all"'),
        ("a..b/*", f'"a..b" {COMPONENT} "a.b"'),
        ("-a/*", f'"-a" {COMPONENT} "a"'),
        ("a_/*", f'"a_" {COMPONENT} "a"'),
        ("a___b", f'"a___b" {COMPONENT} "a_b"'),
        ("x#y", f'"x#y" {COMPONENT} "x-y"'),
        ("ü/*", f'"ü" {COMPONENT} "team"'),
        (
            "x" * 256,
            f'"{"x" * 79}…" is longer than the 255 characters of a repository\'s name: '
            "write a shorter one",
        ),
    ],
)
def test_a_wrong_pattern_is_reported(pattern: str, message: str) -> None:
    assert errors(access=[rule(on=["fine/*", pattern])]) == [
        f"registry_access, rule 1: on: {message}"
    ]


@pytest.mark.parametrize(
    "pattern",
    ["all", "**", "*", "{user}", "{user}/**", "a.b_c__d---e/*/**/x9", "**/cache", "team/{user}/x"],
)
def test_a_right_pattern_is_accepted(pattern: str) -> None:
    assert errors(access=[rule(on=pattern)]) == []
