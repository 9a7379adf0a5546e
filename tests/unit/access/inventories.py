"""Random inventories for hypothesis, small enough that rules meet often."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import strategies as st

from wharfinger.access import VERIFICATION_ACCOUNT, Policy, Rule

USERS = ("alice", "bob", "ci.robot", "a-b", "cixrobot")
SEGMENTS = ("*", "**", "{user}", "alice", "ci.robot", "team", "x", VERIFICATION_ACCOUNT)
# Names that appear in no pattern, among them such as RE2 or a glob would read as more than letters.
REPOSITORY_SEGMENTS = (*USERS, "team", "x", "y", "te.m", "", VERIFICATION_ACCOUNT)

names = st.sampled_from(USERS)
groups = st.fixed_dictionaries(
    {
        "g": st.lists(names, unique=True, max_size=3).map(tuple),
        "h.h": st.lists(names, unique=True, max_size=2).map(tuple),
    }
)
who = st.lists(
    st.sampled_from((*USERS, "group:g", "group:h.h", "everyone", "anonymous")),
    unique=True,
    min_size=1,
    max_size=2,
).map(tuple)
verbs = st.lists(st.sampled_from(("pull", "push", "delete")), unique=True).map(tuple)


def patterns(segments: tuple[str, ...] = SEGMENTS, longest: int = 3) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(segments), min_size=1, max_size=longest).map("/".join)


@st.composite
def rules(draw: Any, segments: tuple[str, ...] = SEGMENTS, longest: int = 3) -> list[Rule]:
    found = []
    for number in range(1, draw(st.integers(0, 6)) + 1):
        may = draw(verbs)
        if draw(st.integers(0, 4)) == 0:
            on: tuple[str, ...] = ("all",)
            may = draw(st.sampled_from([("all",), may, (*may, "list")]))
        else:
            some = st.lists(patterns(segments, longest), unique=True, min_size=1, max_size=2)
            on = tuple(draw(some))
            may = draw(st.sampled_from([("all",), may]))
        found.append(Rule(number, draw(who), may, on))
    return found


@st.composite
def policies(draw: Any) -> Policy:
    return Policy(USERS, draw(groups), tuple(draw(rules())))


repositories = st.lists(st.sampled_from(REPOSITORY_SEGMENTS), min_size=1, max_size=5).map("/".join)


def every_repository(segments: tuple[str, ...], longest: int) -> list[str]:
    return [
        "/".join(path)
        for length in range(1, longest + 1)
        for path in itertools.product(segments, repeat=length)
    ]
