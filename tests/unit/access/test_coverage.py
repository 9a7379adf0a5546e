"""Messages about useless rules and users without access are true, and none is missing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.access import inventories
from wharfinger.access import Policy, Robot, Rule, coverage, examine

# `y` and the newcomer stand for anything that no pattern and no rule names.
SEGMENTS = ("*", "**", "{user}", "alice", "x")
NEWCOMER = "newcomer"
# Patterns of two segments differ on one of these, if they differ at all.
REPOSITORIES = inventories.every_repository(("alice", "bob", NEWCOMER, "x", "y"), 4)
MEMBERS = ("alice", "bob")
ROBOT = "x"  # patterns use this name, too
groups = st.fixed_dictionaries({"g": st.sampled_from([("alice",), ("bob",), MEMBERS])})


@st.composite
def small_rules(draw: Any) -> list[Rule]:
    """Rules of at most two segments, so that the repositories above tell all of them apart."""
    who = st.lists(
        st.sampled_from((*MEMBERS, f"robot:{ROBOT}", "group:g", "everyone", "anonymous")),
        unique=True,
        min_size=1,
        max_size=2,
    ).map(tuple)
    pattern = inventories.patterns(SEGMENTS, 2)
    on = st.one_of(
        st.just(("all",)),
        st.lists(pattern, unique=True, min_size=1, max_size=2).map(tuple),
        st.lists(pattern, unique=True, min_size=1, max_size=2).map(tuple),
    )
    may = st.sampled_from([(), ("pull",), ("all",)])
    rules = []
    for number in range(1, draw(st.integers(2, 6)) + 1):
        rule = Rule(number, draw(who), draw(may), draw(on))
        if rule.everything and draw(st.booleans()):
            rule = replace(rule, may=("list",))
        nameless = any("{user}" in pattern for pattern in rule.on) and "anonymous" in rule.who
        # Such a rule is an error of its own and is never compared with others.
        rules.append(replace(rule, who=("everyone",)) if nameless else rule)
    return rules


@settings(max_examples=60, deadline=None)
@given(members=groups, rules=small_rules())
def test_a_rule_is_called_useless_exactly_when_it_never_decides(
    members: dict[str, tuple[str, ...]], rules: list[Rule]
) -> None:
    policy = Policy((*MEMBERS, NEWCOMER), members, tuple(rules), {ROBOT: Robot()})
    deciding, given_something = set(), set()
    for user in (*policy.users, ROBOT, None):
        for repository in REPOSITORIES:
            decision = policy.decide(user, "pull", repository)
            deciding.add(decision.rule)
            if decision.allowed:
                given_something.add(user)
        decision = policy.decide(user, "list", None)
        deciding.add(decision.rule)
        if decision.allowed:
            given_something.add(user)
    result = coverage.examine(MEMBERS, members, rules, [ROBOT])
    assert set(result.useless) == {rule.number for rule in rules} - deciding
    assert set(result.empty_handed) == set(MEMBERS) - given_something
    assert set(result.idle_robots) == {ROBOT} - given_something
    for number, earlier in result.useless.items():
        assert earlier
        assert all(other < number for other in earlier)


def rule(number: int, who: str, on: str) -> Rule:
    return Rule(number, (who,), ("pull",), (on,))


def test_a_pattern_is_compared_with_all_earlier_ones_together_however_long_it_gets() -> None:
    short = ["/".join("*" * length) for length in range(1, 9)]
    rules = [rule(number, "everyone", on) for number, on in enumerate(short, 1)]
    left = [*rules, rule(9, "everyone", "**")]
    assert coverage.examine((), {}, left).useless == {}
    full = [*rules, rule(9, "everyone", "/".join("*" * 8) + "/**"), rule(10, "everyone", "**")]
    assert coverage.examine((), {}, full).useless == {10: list(range(1, 10))}


def test_a_rule_is_not_called_useless_where_that_would_take_too_long_to_know() -> None:
    many = "/".join(["**", "x"] * 6)
    rules = [rule(1, "everyone", "/".join(["**", "x"] * 6 + ["x"])), rule(2, "everyone", many)]
    assert coverage.examine((), {}, rules).useless == {}
    assert coverage.examine((), {}, [rule(1, "everyone", "all"), rules[1]]).useless == {2: [1]}


SHAPES: dict[str, Callable[[int], tuple[object, object, object]]] = {
    "a rule for each user": lambda n: (
        {f"u{i}": {} for i in range(n)},
        {},
        [{"who": f"u{i}", "may": ["pull"], "on": ["{user}/**", f"p{i}/*"]} for i in range(n)],
    ),
    "every rule for everyone": lambda n: (
        {f"u{i}": {} for i in range(n)},
        {},
        [{"who": "everyone", "may": ["pull"], "on": f"team/*/p{i}"} for i in range(n)],
    ),
    "every rule for a group of all": lambda n: (
        {f"u{i}": {} for i in range(n)},
        {"all-of-us": [f"u{i}" for i in range(n)]},
        [{"who": "group:all-of-us", "may": ["pull"], "on": f"team/p{i}/*"} for i in range(n)],
    ),
    "denials for everyone first": lambda n: (
        {f"u{i}": {} for i in range(n)},
        {},
        [{"who": "everyone", "may": [], "on": f"*/p{i}"} for i in range(n)],
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_thousand_users_and_rules_take_no_more_than_linear_time(shape: str) -> None:
    """Ten times as many take about ten times as long; a hundred times would be quadratic."""

    def seconds(count: int) -> float:
        inventory = SHAPES[shape](count)
        best = float("inf")
        for _ in range(3):
            begin = time.process_time()
            _, review = examine(*inventory)
            best = min(best, time.process_time() - begin)
            assert review.errors == []
        return best

    assert seconds(1000) < 40 * seconds(100)
