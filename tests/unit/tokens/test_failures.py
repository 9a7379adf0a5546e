"""Counting wrong passwords: the limits hold whatever is tried, in memory of a bounded size."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wharfinger.tokens import failures
from wharfinger.tokens.configuration import Limits
from wharfinger.tokens.failures import (
    Allowance,
    Failures,
    Guard,
    KnownAddresses,
    Later,
    neighbourhood,
)

from .conftest import Clock

HOUR = 3600.0


def risk(counted: Failures, key: str, allowance: Allowance) -> bool:
    """One attempt that fails; whether it was let through."""
    if counted.wait(key, allowance):
        return False
    counted.begin(key)
    counted.end(key, allowance, failed=True)
    return True


def guess(guard: Guard, account: str, network: str) -> float:
    """One guess that is wrong: 0 where it reached bcrypt, else Retry-After."""
    try:
        budgets = guard.admit(account, network)
    except Later as error:
        return error.retry_after
    guard.begin(budgets)
    guard.end(budgets, failed=True)
    return 0


@given(
    limit=st.integers(1, 120),
    pauses=st.lists(st.sampled_from([0.0, 0.1, 1.0, 10.0, 35.9, 36.1, 90.0, 720.0, 4000.0])),
)
def test_no_hour_has_more_than_the_limit(limit: int, pauses: Sequence[float]) -> None:
    clock = Clock()
    counted = Failures(clock, 64)
    allowance = Allowance(limit)
    reached: list[float] = []
    for pause in [*pauses, *[1.0] * 200, *[60.0] * 100]:
        clock.now += pause
        if risk(counted, "u", allowance):
            reached.append(clock.now)
    for begun in reached:
        assert sum(begun <= other < begun + HOUR for other in reached) <= limit


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 100, 300])
def test_most_of_the_limit_can_be_used(limit: int, clock: Clock) -> None:
    counted = Failures(clock)
    reached = 0
    for _ in range(int(HOUR)):
        reached += risk(counted, "u", Allowance(limit))
        clock.now += 1
    assert limit * 0.5 <= reached <= limit


def test_the_pause_grows_and_then_stays(clock: Clock) -> None:
    counted = Failures(clock)
    allowance = Allowance(80)
    waited: list[int] = []
    for _ in range(40):
        wait = counted.wait("u", allowance)
        waited.append(round(wait))
        clock.now += wait
        assert risk(counted, "u", allowance)
    assert waited[:28] == [0] * 21 + [1, 2, 4, 8, 16, 32, 64]
    assert waited == sorted(waited)
    assert waited[-1] == 90


def test_what_is_under_way_counts_before_it_has_failed(clock: Clock) -> None:
    counted = Failures(clock)
    allowance = Allowance(10)
    begun = 0
    while not counted.wait("u", allowance):
        counted.begin("u")
        begun += 1
    # From the third on there would be a pause.
    assert begun == 3
    assert counted.wait("u", allowance, own=1) == 0
    counted.end("u", allowance, failed=False)
    assert counted.wait("u", allowance) == 0


def test_many_first_logins_behind_one_address_may_wait_until_some_have_failed(
    clock: Clock,
) -> None:
    counted = Failures(clock, patient=True)
    allowance = Allowance(100)
    for _ in range(500):
        assert counted.wait("nat", allowance) == 0
        counted.begin("nat")
    for _ in range(25):
        assert counted.wait("nat", allowance, own=1) == 0
        counted.end("nat", allowance, failed=True)
    assert counted.wait("nat", allowance) > 0
    assert counted.wait("nat", allowance, own=1) > 0


def test_a_flood_of_a_million_keys_grows_nothing_and_forgets_nothing(clock: Clock) -> None:
    counted = Failures(clock)
    allowance = Allowance(100)
    for _ in range(10):
        assert risk(counted, "victim", allowance)
    before = sys.getsizeof(counted._counts) + sys.getsizeof(counted._last)
    for number in range(1_000_000):
        counted.add(str(number), allowance)
    assert sys.getsizeof(counted._counts) + sys.getsizeof(counted._last) == before < 5 << 20
    assert counted.count("victim", allowance) >= 10


def test_known_addresses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "MOST_KNOWN", 4)
    monkeypatch.setattr(failures, "MOST_KNOWN_IN_ALL", 10)
    known = KnownAddresses()
    for account in range(5):
        for network in (*range(6), 5):
            known.add(f"u{account}", f"n{network}")
    assert [known.has("u4", f"n{network}") for network in range(6)] == [False] * 2 + [True] * 4
    assert sum(map(len, known._by_account.values())) == known._size <= 10
    assert not known.has("u0", "n5")
    assert not known.has("nobody", "n5")


def test_one_user_with_many_addresses_takes_nothing_from_another() -> None:
    known = KnownAddresses()
    known.add("owner", "home")
    for network in range(failures.MOST_KNOWN_IN_ALL + 10):
        known.add("insider", str(network))
    assert known.has("owner", "home")


# The guard


@pytest.fixture
def guard(clock: Clock) -> Guard:
    return Guard(clock)


@pytest.mark.parametrize("known", [False, True])
def test_an_account_has_a_hundred_guesses_an_hour_from_all_addresses_together(
    guard: Guard, clock: Clock, known: bool
) -> None:
    if known:
        for number in range(64):
            guard.known.add("victim", f"address {number}")
    begun, reached, guesses = clock.now, 0, 0
    while clock.now < begun + HOUR:
        for _ in range(5):
            guesses += 1
            reached += not guess(guard, "victim", f"address {guesses % 1000}")
        clock.now += 1
    assert 60 <= reached <= 100


def test_an_unknown_account_is_refused_just_as_a_known_one(guard: Guard) -> None:
    def guesses(account: str) -> list[float]:
        return [guess(guard, account, f"{account} {number}") for number in range(100)]

    assert guesses("somebody") == guesses("nobody")


def test_the_owner_gets_in_from_where_she_was_right_while_strangers_guess(guard: Guard) -> None:
    guard.known.add("owner", "home")
    for number in range(1000):
        guess(guard, "owner", f"stranger {number}")
    with pytest.raises(Later):
        guard.admit("owner", "away")
    guard.admit("owner", "home")
    assert guess(guard, "owner", "home") == 0
    # A typing error or two are no end.
    assert guess(guard, "owner", "home") == 0
    guard.admit("owner", "home")


def test_each_of_a_hundred_nodes_gets_in_while_strangers_guess_their_robots_secret(
    guard: Guard,
) -> None:
    nodes = [f"node {number}" for number in range(300)]
    for node in nodes:
        guard.known.add("nodes", node)
    for number in range(200):
        guess(guard, "nodes", f"stranger {number}")
    for node in nodes:
        assert guard.trusts("nodes", node)
        guard.admit("nodes", node)


def test_a_bad_neighbour_behind_a_known_address_leaves_the_other_known_ones_half(
    guard: Guard, clock: Clock
) -> None:
    for network in ("home", "office"):
        guard.known.add("owner", network)
    for number in range(1000):
        guess(guard, "owner", f"stranger {number}")
        guess(guard, "owner", "office")
        clock.now += 0.01
    with pytest.raises(Later):
        guard.admit("owner", "office")
    guard.admit("owner", "home")


def test_an_address_has_its_own_limit_for_all_accounts_together(guard: Guard, clock: Clock) -> None:
    begun, reached, guesses = clock.now, 0, 0
    while clock.now < begun + HOUR:
        guesses += 1
        reached += not guess(guard, f"account {guesses}", "one")
        clock.now += 0.5
    assert 200 <= reached <= 300
    with pytest.raises(Later) as refused:
        guard.admit("yet another", "one")
    assert refused.value.limit == "address"
    guard.admit("yet another", "two")


def test_who_was_right_from_an_address_is_not_shut_out_by_its_neighbours(guard: Guard) -> None:
    guard.known.add("owner", "one")
    for number in range(400):
        guess(guard, f"account {number}", "one")
    with pytest.raises(Later):
        guard.admit("stranger", "one")
    guard.admit("owner", "one")


@pytest.mark.parametrize(
    ("limits", "account", "message", "limit"),
    [
        (Limits(4, 0, 300), "u", "too many wrong passwords for this account: try again in ", ""),
        (Limits(100, 20, 2), "", "too many wrong passwords from your address: try again in ", ""),
    ],
)
def test_a_refusal_says_what_was_reached_and_for_how_long(
    guard: Guard, limits: Limits, account: str, message: str, limit: str
) -> None:
    guard.use(limits)
    for number in range(5):
        guess(guard, account or f"account {number}", "one")
    with pytest.raises(Later) as refused:
        guard.admit(account or "u", "one")
    assert str(refused.value) == f"{message}{refused.value.retry_after} seconds"
    assert refused.value.retry_after >= 1
    assert refused.value.limit == ("account" if account else "address")


def test_other_limits_count_at_once_and_keep_what_was_counted(guard: Guard) -> None:
    for _ in range(10):
        guess(guard, "u", "one")
    guard.admit("u", "one")
    guard.use(Limits(10, 2, 300))
    with pytest.raises(Later):
        guard.admit("u", "one")


def test_lower_limits_shut_nobody_out_for_longer_than_the_hour_and_a_little(
    guard: Guard, clock: Clock
) -> None:
    guard.use(Limits(9999, 20, 300))
    for number in range(2400):
        assert guess(guard, "u", f"address {number}") == 0
    guard.use(Limits())
    with pytest.raises(Later) as refused:
        guard.admit("u", "one")
    assert refused.value.retry_after <= 1.1 * HOUR
    clock.now += refused.value.retry_after
    guard.admit("u", "one")


def test_a_thousand_who_wait_behind_one_address_are_refused_as_a_few_are(guard: Guard) -> None:
    waiting = [guard.admit(f"account {number}", "one") for number in range(2000)]
    for budgets in waiting:
        guard.begin(budgets)
    for budgets in waiting[:75]:
        guard.end(budgets, failed=True)
    with pytest.raises(Later, match="from your address"):
        guard.still(waiting[75])
    with pytest.raises(Later, match="from your address"):
        guard.admit("u", "one")


def test_a_flood_behind_a_known_address_is_forgiven_within_hours(
    guard: Guard, clock: Clock
) -> None:
    guard.known.add("u", "home")
    for number in range(20_000):
        guess(guard, "u", "home" if number > 100 else f"address {number}")
    assert not guard.trusts("u", "home")
    clock.now += HOUR
    assert guard.trusts("u", "home")


def test_who_has_failed_less_goes_first(guard: Guard) -> None:
    assert guard.rank("u", "one") == 0
    guess(guard, "u", "one")
    guess(guard, "v", "one")
    assert (guard.rank("u", "one"), guard.rank("u", "two"), guard.rank("w", "two")) == (2, 1, 0)
    guard.known.add("u", "one")
    assert guard.rank("u", "one") == -1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_one_ipv6_customer_is_one_address(one: str, other: str, same: bool) -> None:
    found: list[Any] = [neighbourhood(ipaddress.ip_address(text)) for text in (one, other)]
    assert (found[0] == found[1]) is same
