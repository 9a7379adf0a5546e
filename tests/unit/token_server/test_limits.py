"""Counters of wrong passwords: fixed windows of an hour, bounded in number."""

from __future__ import annotations

import ipaddress

import pytest

from wharfinger.token_server.addresses import neighbourhood
from wharfinger.token_server.config.model import Limits
from wharfinger.token_server.login import limits
from wharfinger.token_server.login.limits import Counters, Guard, RateLimited

from .conftest import Clock

HOUR = 3600.0
HOME, AWAY = "192.0.2.1", "198.51.100.1"


@pytest.fixture
def guard(clock: Clock) -> Guard:
    return Guard(clock)


def guess(guard: Guard, account: str, network: str) -> str:
    """One wrong password. Returns "" if it may be checked, else the limit that was reached."""
    try:
        guard.ask(account, network)
    except RateLimited as error:
        return error.limit
    guard.count(account, network)
    return ""


def guesses(guard: Guard, count: int, account: str = "", network: str = "") -> list[str]:
    """Without an account or a network, each guess has its own."""
    return [
        guess(guard, account or f"account {number}", network or f"network {number}")
        for number in range(count)
    ]


def test_an_account_has_a_hundred_in_an_hour_from_all_new_networks(
    guard: Guard, clock: Clock
) -> None:
    for _ in range(3):
        assert guesses(guard, 500, account="someuser") == [""] * 100 + ["account"] * 400
        clock.now += HOUR - 1
        assert guess(guard, "someuser", AWAY) == "account"
        clock.now += 1


def test_a_network_has_three_hundred_in_an_hour_for_all_accounts(
    guard: Guard, clock: Clock
) -> None:
    for _ in range(3):
        assert guesses(guard, 500, network=AWAY) == [""] * 300 + ["address"] * 200
        clock.now += HOUR


def test_slow_guesses_are_bounded_by_two_windows(guard: Guard, clock: Clock) -> None:
    reached = []
    for _ in range(4 * 3600):
        clock.now += 1
        if not guess(guard, "someuser", AWAY):
            reached.append(clock.now)
    assert len(reached) <= 4 * 100 + 100
    for begun in reached:
        assert sum(begun <= other < begun + HOUR for other in reached) <= 200


def test_the_limits_are_those_of_the_configuration(guard: Guard) -> None:
    guard.use(Limits(account_failures=5, known_failures=2, address_failures=7))
    guard.know("owner", HOME)
    assert guesses(guard, 20, account="someuser").count("") == 5
    assert guesses(guard, 20, network=AWAY).count("") == 7
    assert guesses(guard, 20, account="owner", network=HOME).count("") == 2


def test_a_refusal_says_how_long_it_lasts(guard: Guard, clock: Clock) -> None:
    guesses(guard, 100, account="someuser")
    clock.now += 600
    with pytest.raises(RateLimited) as refused:
        guard.ask("someuser", AWAY)
    assert str(refused.value) == (
        "too many wrong passwords for this account: try again in 3000 seconds"
    )
    assert refused.value.retry_after == 3000
    guesses(guard, 300, network=HOME)
    with pytest.raises(
        RateLimited, match=r"^too many wrong passwords from your address: try again in "
    ):
        guard.ask("another", HOME)


def test_a_right_password_takes_its_count_back(guard: Guard) -> None:
    for _ in range(1000):
        guard.ask("someuser", HOME)
        guard.forgive(guard.count("someuser", HOME))
    assert guesses(guard, 200, account="someuser").count("") == 100


def test_a_known_network_has_a_counter_of_its_own_for_the_account(
    guard: Guard, clock: Clock
) -> None:
    guard.know("owner", HOME)
    # Guesses by others, from elsewhere or from the same address, do not close it.
    guesses(guard, 500, account="owner")
    guesses(guard, 500, network=HOME)
    for _ in range(3):
        assert guesses(guard, 100, account="owner", network=HOME) == [""] * 20 + ["account"] * 80
        clock.now += HOUR
    # Wrong passwords there do not close the counters of others.
    assert guess(guard, "owner", AWAY) == ""
    assert guess(guard, "another", HOME) == ""


def test_another_login_from_a_known_network_does_not_reset_its_counter(guard: Guard) -> None:
    guard.know("owner", HOME)
    guesses(guard, 20, account="owner", network=HOME)
    guard.know("owner", HOME)
    assert guess(guard, "owner", HOME) == "account"


def test_the_counters_are_bounded_and_the_least_used_goes_first(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(limits, "MOST", 10)
    counters = Counters(clock)
    for number in range(100):
        counters.add("used again and again", 1)
        counters.add(str(number), 1)
    assert len(counters) == 10
    assert counters.wait("used again and again", 100) == HOUR
    assert "99" in counters
    assert "0" not in counters


def test_long_names_take_no_more_memory(clock: Clock) -> None:
    counters = Counters(clock)
    counters.add("x" * 100_000, 1)
    assert [len(key) for key in counters._windows] == [16]


def test_new_limits_leave_what_was_counted(guard: Guard) -> None:
    guesses(guard, 50, account="someuser")
    guard.use(Limits(account_failures=60))
    assert guesses(guard, 50, account="someuser").count("") == 10


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
    ],
)
def test_an_address_of_ipv6_counts_as_its_64(address: str, counted: str) -> None:
    assert neighbourhood(ipaddress.ip_address(address)) == counted
