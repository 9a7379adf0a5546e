"""The matcher, in addition to docker_auth's recorded decisions (test_golden)."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wharfinger.token_server import patterns
from wharfinger.token_server.acl import AccessControlList, Entry, Question
from wharfinger.token_server.patterns import (
    PatternError,
    check_pattern,
    literal_prefix,
    matches,
)

HOME = ipaddress.ip_address("192.0.2.1")


def decide(
    patterns: Mapping[str, str],
    *,
    name: str = "team/app",
    account: str = "someuser",
    labels: Mapping[str, Sequence[str]] | None = None,
    wanted_labels: Mapping[str, str] | None = None,
    network: str | None = None,
    ip: str = "192.0.2.1",
    type: str = "repository",
) -> bool:
    entry = Entry(
        patterns, wanted_labels or {}, ipaddress.ip_network(network) if network else None, ("*",)
    )
    question = Question(
        *(account, type, name, "reg", ipaddress.ip_address(ip), ("pull",)),
        labels=tuple((label, tuple(values)) for label, values in (labels or {}).items()),
    )
    return AccessControlList([entry]).decide(question).actions == ("pull",)


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        # As documented for Go's path.Match, character by character.
        ("*", "a", True),
        ("*", "", True),
        ("*", "a/b", False),
        ("a*", "ab/c", False),
        ("a*/b", "axc/b", True),
        ("?", "a", True),
        ("?", "/", False),
        ("a?b", "a☺b", True),
        ("[a-c]", "b", True),
        ("[^a-c]", "b", False),
        ("[^a]", "/", True),
        ("[a-ζ]*", "α", True),
        ("*[a-ζ]", "A", False),
        (r"a\*b", "a*b", True),
        (r"a\*b", "axb", False),
        (r"[\]a]", "]", True),
        (r"[\-x]", "-", True),
        ("[z-a]", "m", False),
        ("[^z-a]", "m", True),
        ("a.b", "axb", False),
        ("a", "a\n", False),
        ("*", "a\nb", True),
        ("", "", True),
        ("", "a", False),
        ("**", "a/b", False),
        ("{a,b}", "{a,b}", True),
        # An expression begins and ends with a slash and is not empty.
        ("//", "//", True),
        ("/b/", "abc", True),
        ("/^b/", "abc", False),
        ("/a$/", "a\n", False),
        ("/a.b/", "a\nb", False),
        # A malformed pattern matches nothing.
        ("[a", "a", False),
        ("[]a]", "a", False),
        ("[-a]", "a", False),
        ("[a-]", "a", False),
        ("a\\", "a", False),
        ("/(/", "(", False),
    ],
)
def test_patterns(pattern: str, value: str, expected: bool) -> None:
    assert matches(pattern, value) is expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("[a", "has a '[' that is not closed"),
        ("[", "has a '[' that is not closed, or a stray '-' or ']' after it"),
        ("[]a]", "has a '[' that is not closed, or a stray '-' or ']' after it"),
        ("a\\", "ends with a backslash"),
        ("/(/", "is not an RE2 expression: missing ): ("),
        (r"/(a)\1/", r"is not an RE2 expression: invalid escape sequence: \1"),
        ("/(?=a)/", "is not an RE2 expression: invalid perl operator: (?="),
        pytest.param(
            *("?" * 100_000, "is not an RE2 expression: pattern too large - compile failed"),
            id="too large",
        ),
    ],
)
def test_a_malformed_pattern_says_what_is_wrong(pattern: str, message: str) -> None:
    with pytest.raises(PatternError) as caught:
        check_pattern(pattern)
    assert str(caught.value) == message


GLOBS = st.text("ab/*?.x", max_size=8)
NAMES = st.text("ab/.x", max_size=8)


def by_hand(pattern: str, value: str) -> bool:
    """`*` and `?` of path.Match, without any regular expression."""
    if not pattern:
        return not value
    if pattern[0] == "*":
        return by_hand(pattern[1:], value) or (
            bool(value) and value[0] != "/" and by_hand(pattern, value[1:])
        )
    if not value or (value[0] == "/" if pattern[0] == "?" else value[0] != pattern[0]):
        return False
    return by_hand(pattern[1:], value[1:])


@given(GLOBS, NAMES)
def test_globs_match_as_a_matcher_written_by_hand(pattern: str, value: str) -> None:
    if len(pattern) > 2 and pattern[0] == pattern[-1] == "/":
        pattern = "a" + pattern
    assert matches(pattern, value) is by_hand(pattern, value)


@given(
    st.one_of(
        st.text("ab/*?[]\\^.", max_size=8),
        st.text("ab/*+?{}2,()|^$.[]\\", max_size=10).map(lambda text: f"/^{text}/"),
    ),
    NAMES,
)
@example("/^ab*/", "a")
@example("/^ab{0}/", "a")
@example("/^a|b/", "b")
@example("/^ab?/", "a")
@example("/^(a|b)/", "b")
def test_every_match_begins_with_the_literal_prefix(pattern: str, value: str) -> None:
    if matches(pattern, value):
        assert value.startswith(literal_prefix(pattern))


@given(NAMES, st.text("ab.+*\\/[](){}^$|-é", max_size=6))
def test_an_accounts_name_stands_only_for_itself(name: str, account: str) -> None:
    allowed = decide({"name": "/^${account}/x$/"}, name=name, account=account)
    assert allowed is (name == f"{account}/x")
    assert decide({"name": "${account}/x"}, name=f"{account}/x", account=account)


def test_a_dot_in_an_account_is_not_a_wildcard() -> None:
    pattern = {"name": "/^${account}(/[^/]+)+$/"}
    assert decide(pattern, account="ci.robot", name="ci.robot/app")
    assert not decide(pattern, account="ci.robot", name="cixrobot/app")


def test_a_placeholder_in_an_account_is_not_filled() -> None:
    assert not decide({"name": "${account}/app"}, account="${name}", name="team/app")


def test_labels_are_tried_in_every_combination() -> None:
    labels = {"group": ["a", "b"], "stage": ["x", "y"]}
    pattern = {"name": "${labels:group}/${labels:stage}"}
    for name in ("a/x", "a/y", "b/x", "b/y"):
        assert decide(pattern, name=name, labels=labels)
    assert not decide(pattern, name="c/x", labels=labels)
    assert not decide(pattern, name="a/x", labels={"group": ["a"]})


def test_every_label_of_an_entry_must_match() -> None:
    wanted = {"group": "dev*", "stage": "/^prod$/"}
    assert decide({}, wanted_labels=wanted, labels={"group": ["ops", "devel"], "stage": ["prod"]})
    assert not decide({}, wanted_labels=wanted, labels={"group": ["devel"]})
    assert not decide({}, wanted_labels=wanted, labels={"group": ["ops"], "stage": ["prod"]})


def test_captured_groups_are_those_of_the_same_entry() -> None:
    patterns = {"name": "/^([^/]+)/([^/]+)$/", "account": "/^${name:1}$/"}
    assert decide(patterns, account="team", name="team/app")
    assert not decide(patterns, account="app", name="team/app")


@pytest.mark.parametrize(
    ("network", "ip", "expected"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("2001:db8::/32", "2001:db8::1", True),
        ("2001:db8::/32", "2001:db9::1", False),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("::/0", "10.0.0.1", False),
    ],
)
def test_addresses(network: str, ip: str, expected: bool) -> None:
    assert decide({}, network=network, ip=ip) is expected


def test_the_same_user_from_another_address_is_decided_again() -> None:
    entries = AccessControlList([Entry({}, {}, ipaddress.ip_network("10.0.0.0/8"), ("*",))])
    for ip, entry in (("10.0.0.1", 0), ("11.0.0.1", None), ("10.0.0.1", 0)):
        question = Question("u", "repository", "a", "reg", ipaddress.ip_address(ip), ("pull",))
        assert entries.decide(question).entry == entry


def test_the_same_account_with_other_labels_is_decided_again() -> None:
    entries = AccessControlList([Entry({}, {"group": "a"}, None, ("*",))])
    for group, entry in (("a", 0), ("b", None)):
        labels = (("group", (group,)),)
        question = Question("u", "repository", "a", "reg", HOME, ("pull",), labels)
        assert entries.decide(question).entry == entry


def test_an_expression_that_backtracks_elsewhere_is_quick() -> None:
    begun = time.process_time()
    assert not decide({"name": "/^(a+)+$/"}, name="a" * 5000 + "b")
    assert time.process_time() - begun < 1


def test_a_thousand_entries_are_decided_quickly() -> None:
    entries = [
        Entry({"account": "/.+/", "name": f"/^team{number}(/[^/]+)+$/"}, {}, None, ("pull",))
        for number in range(1000)
    ]
    acl = AccessControlList(entries)
    question = Question("u", "repository", "team999/a", "reg", HOME, ("pull",))
    assert acl.decide(question).entry == 999
    begun = time.process_time()
    for _ in range(20):
        acl.decide(question)
    assert (time.process_time() - begun) / 20 < 0.005


@pytest.mark.parametrize("field", ["type", "name", "service", "actions"])
def test_a_long_question_is_answered_and_not_kept(field: str) -> None:
    entries = AccessControlList([Entry({"account": "u"}, {}, None, ("*",))])
    question = Question("u", "repository", "a/b", "reg", HOME, ("pull",))
    long: dict[str, Any] = {field: ("x" * 2000,) if field == "actions" else "x" * 2000}
    assert entries.decide(question._replace(**long)).entry == 0
    assert entries._decided.cache_info().currsize == 0
    assert entries.decide(question).entry == 0
    assert entries._decided.cache_info().currsize == 1


@pytest.mark.parametrize("pattern", ["${service}/*", "/^${service}(/[^/]+)+$/"])
def test_a_pattern_with_a_long_value_from_a_client_is_not_kept(pattern: str) -> None:
    entries = AccessControlList([Entry({"name": pattern}, {}, None, ("*",))])
    service = "x" * 5000
    kept = patterns.compiled.cache_info().currsize
    question = Question("u", "repository", f"{service}/a", service, HOME, ("pull",))
    assert entries.decide(question).entry == 0
    assert patterns.compiled.cache_info().currsize == kept
