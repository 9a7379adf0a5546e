"""Random inventories for hypothesis, small enough that their rules often meet."""

from __future__ import annotations

import ipaddress
import itertools
from typing import Any

from hypothesis import strategies as st

from wharfinger.access import VERIFICATION_ACCOUNT, Policy, Robot, Rule

USERS = ("alice", "bob", "ci.robot", "a-b", "cixrobot")
ROBOTS = ("nodes", "ci.job")
NETWORKS = ("10.0.0.0/8", "10.0.0.7/32", "192.0.2.0/25", "2001:db8::/32", "::/0")
# Some addresses are in each network, one is in none.
ADDRESSES = ("10.0.0.7", "10.200.0.1", "192.0.2.127", "192.0.2.128", "2001:db8::7", "127.0.0.1")
SEGMENTS = ("*", "**", "{user}", "alice", "ci.robot", "nodes", "team", "x", VERIFICATION_ACCOUNT)
# Names that appear in no pattern; RE2 or a glob would read some of them as more than letters.
REPOSITORY_SEGMENTS = (*USERS, *ROBOTS, "team", "x", "y", "te.m", "", VERIFICATION_ACCOUNT)

names = st.sampled_from(USERS)
groups = st.fixed_dictionaries(
    {
        "g": st.lists(names, unique=True, max_size=3).map(tuple),
        "h.h": st.lists(names, unique=True, max_size=2).map(tuple),
    }
)
WORDS = (*USERS, "group:g", "group:h.h", "everyone", "anonymous")
ROBOT_WORDS = tuple(f"robot:{name}" for name in ROBOTS)
robots = st.fixed_dictionaries(
    dict.fromkeys(
        ROBOTS,
        st.lists(st.sampled_from(NETWORKS).map(ipaddress.ip_network), unique=True, max_size=2)
        .map(tuple)
        .map(Robot),
    )
)
verbs = st.lists(st.sampled_from(("pull", "push", "delete")), unique=True).map(tuple)


def patterns(segments: tuple[str, ...] = SEGMENTS, longest: int = 3) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(segments), min_size=1, max_size=longest).map("/".join)


@st.composite
def rules(
    draw: Any,
    segments: tuple[str, ...] = SEGMENTS,
    longest: int = 3,
    words: tuple[str, ...] = WORDS,
) -> list[Rule]:
    rules = []
    who = st.lists(st.sampled_from(words), unique=True, min_size=1, max_size=2).map(tuple)
    for number in range(1, draw(st.integers(0, 6)) + 1):
        may = draw(verbs)
        if draw(st.integers(0, 4)) == 0:
            on: tuple[str, ...] = ("all",)
            may = draw(st.sampled_from([("all",), may, (*may, "list")]))
        else:
            some = st.lists(patterns(segments, longest), unique=True, min_size=1, max_size=2)
            on = tuple(draw(some))
            may = draw(st.sampled_from([("all",), may]))
        rules.append(Rule(number, draw(who), may, on))
    return rules


@st.composite
def policies(draw: Any) -> Policy:
    """With or without robots, because `everyone` is compiled in two ways."""
    if draw(st.booleans()):
        return Policy(USERS, draw(groups), tuple(draw(rules())))
    words = (*WORDS, *ROBOT_WORDS, *ROBOT_WORDS)
    return Policy(USERS, draw(groups), tuple(draw(rules(words=words))), draw(robots))


repositories = st.lists(st.sampled_from(REPOSITORY_SEGMENTS), min_size=1, max_size=5).map("/".join)


def every_repository(segments: tuple[str, ...], longest: int) -> list[str]:
    return [
        "/".join(path)
        for length in range(1, longest + 1)
        for path in itertools.product(segments, repeat=length)
    ]
