"""Passwords: which ones bcrypt checks, which are remembered, and which wait."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import bcrypt
import pytest

from support.token_server import hashed
from wharfinger.token_server.login import passwords
from wharfinger.token_server.login.limits import RateLimited
from wharfinger.token_server.login.passwords import DUMMY, Passwords, check, is_generated

from .conftest import Clock

HOME = ipaddress.ip_address("192.0.2.1")
AWAY = ipaddress.ip_address("198.51.100.1")


@pytest.fixture
def verifier(clock: Clock) -> Iterator[Passwords]:
    made = Passwords(clock)
    yield made
    made.close()


class Checked:
    """A stand-in for bcrypt. Records the thread of each check; only b"right" is right."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes, bytes]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, password: bytes, stored: bytes) -> bool:
        self.calls.append((threading.current_thread().name, password, stored))
        assert self.gate.wait(60)
        return password == b"right"


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Checked:
    check = Checked()
    monkeypatch.setattr(passwords, "check", check)
    return check


async def until(condition: Callable[[], bool]) -> None:
    """Lets the other coroutines run until the condition holds."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


def attempt(
    verifier: Passwords,
    user: str = "u",
    password: bytes = b"right",
    stored: bytes = b"hash",
    known: bool = True,
    address: Any = HOME,
) -> Coroutine[Any, Any, bool]:
    return verifier.verify(user, password, (stored,) if known else (), address)


@pytest.mark.parametrize(
    ("password", "right"),
    [
        (b"pw", True),
        (b"pW", False),
        (b"", False),
        (b"pw\0", False),
        (b"\0", False),
        (b"\xff", False),
        (b"pw" + b"x" * 71, False),
    ],
)
def test_check_accepts_only_the_password(password: bytes, right: bool) -> None:
    assert check(password, hashed("pw").encode()) is right


def test_a_password_over_72_bytes_is_wrong_even_where_bcrypt_would_cut_it() -> None:
    stored = hashed("x" * 72).encode()
    assert check(b"x" * 72, stored)
    assert not check(b"x" * 73, stored)


def test_a_hash_that_bcrypt_refuses_has_no_password() -> None:
    assert not check(b"pw", b"$2b$04$" + b"z" * 53)


def test_a_right_password_costs_bcrypt_once(verifier: Passwords, checked: Checked) -> None:
    async def twice() -> list[bool]:
        return [await attempt(verifier), await attempt(verifier)]

    assert run(twice()) == [True, True]
    assert len(checked.calls) == 1


@pytest.mark.parametrize("known", [True, False])
def test_the_same_wrong_password_again_costs_nothing_and_counts_once(
    verifier: Passwords, checked: Checked, known: bool
) -> None:
    async def often() -> list[bool]:
        return [await attempt(verifier, password=b"wrong", known=known) for _ in range(500)]

    assert run(often()) == [False] * 500
    assert len(checked.calls) == 1


def test_an_unknown_user_costs_the_same_bcrypt_and_is_never_right(
    verifier: Passwords, checked: Checked
) -> None:
    assert run(attempt(verifier, known=False)) is False
    assert len(checked.calls) == 1
    assert run(attempt(verifier, known=True, stored=b"made since")) is True


def test_a_wrong_password_that_becomes_right_is_right_at_once(
    verifier: Passwords, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def changed() -> list[bool]:
        before = await attempt(verifier, password=b"next", stored=b"old hash")
        monkeypatch.setattr(passwords, "check", lambda password, stored: True)
        return [before, await attempt(verifier, password=b"next", stored=b"new hash")]

    assert run(changed()) == [False, True]


def test_one_of_several_hashes_is_enough(verifier: Passwords) -> None:
    stored = (hashed("new").encode(), hashed("old").encode())

    async def each() -> list[bool]:
        return [
            await verifier.verify("u", password, stored, HOME)
            for password in (b"new", b"old", b"other")
        ]

    assert run(each()) == [True, True, False]


def test_passwords_are_forgotten_in_time(
    verifier: Passwords, checked: Checked, clock: Clock
) -> None:
    for password in (b"right", b"wrong"):
        checked.calls.clear()
        run(attempt(verifier, password=password))
        clock.now += passwords.REMEMBERED_FOR - 1
        run(attempt(verifier, password=password))
        assert len(checked.calls) == 1
        clock.now += passwords.REMEMBERED_FOR + 1
        run(attempt(verifier, password=password))
        assert len(checked.calls) == 2


def test_only_right_passwords_are_remembered_longer_when_used(
    verifier: Passwords, checked: Checked, clock: Clock
) -> None:
    for password, cost in ((b"right", 1), (b"wrong", 2)):
        checked.calls.clear()
        for _ in range(3):
            run(attempt(verifier, password=password))
            clock.now += passwords.REMEMBERED_FOR * 0.6
        assert len(checked.calls) == cost


@pytest.mark.parametrize(
    "other", [{"stored": b"new hash"}, {"user": "v"}, {"password": b"wrong"}], ids=str
)
def test_only_the_very_same_login_is_remembered(
    verifier: Passwords, checked: Checked, other: dict[str, Any]
) -> None:
    run(attempt(verifier))
    run(attempt(verifier, **other))
    assert len(checked.calls) == 2


def test_the_memory_does_not_contain_the_password(verifier: Passwords, checked: Checked) -> None:
    run(attempt(verifier))
    run(attempt(verifier, password=b"wrong"))
    for remembered, password in ((verifier._right, "right"), (verifier._wrong, "wrong")):
        assert len(remembered._until) == 1
        assert password not in repr(vars(remembered))


# Generated secrets


def sha256(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


def test_a_generated_secret_is_known_by_its_digest() -> None:
    digests = (sha256(b"present"), sha256(b"former"))
    generated = [
        is_generated(password, digests) for password in (b"present", b"former", b"other", b"")
    ]
    assert generated == [True, True, False, False]
    assert not is_generated(b"anything", ())


# Guessing


async def guesses(
    verifier: Passwords, count: int, account: str = "u", address: Any = AWAY
) -> list[str]:
    """Different wrong passwords. "" for each that was checked, else the limit that was reached."""
    limits = []
    for number in range(count):
        try:
            assert await attempt(verifier, account, b"%d" % number, address=address) is False
            limits.append("")
        except RateLimited as error:
            limits.append(error.limit)
    return limits


def test_no_more_than_the_limit_is_checked(
    verifier: Passwords, checked: Checked, clock: Clock
) -> None:
    for _ in range(3):
        assert run(guesses(verifier, 400)) == [""] * 100 + ["account"] * 300
        clock.now += 3600
        verifier._wrong._until.clear()
    assert len(checked.calls) == 300


def test_parallel_guesses_are_limited_like_sequential_ones(
    verifier: Passwords, checked: Checked
) -> None:
    async def flood() -> list[Any]:
        tries = (
            attempt(verifier, "u", b"%d" % number, address=ipaddress.ip_address(number))
            for number in range(500)
        )
        return await asyncio.gather(*tries, return_exceptions=True)

    answers = run(flood())
    refused = [answer for answer in answers if isinstance(answer, RateLimited)]
    assert len(checked.calls) == 100 == answers.count(False)
    assert {answer.limit for answer in refused} == {"account"}
    assert len(refused) == 400


@pytest.mark.parametrize("word", [b"right", b"last year's"])
def test_a_refused_login_is_not_compared_with_the_memory(
    verifier: Passwords, checked: Checked, word: bytes
) -> None:
    """Ten thousand guesses, the owner's password among them: none of them is compared."""

    async def stranger() -> list[str]:
        await attempt(verifier, password=word, address=HOME)
        await guesses(verifier, 100)
        refused = await guesses(verifier, 10_000)
        with pytest.raises(RateLimited, match="too many wrong passwords"):
            await attempt(verifier, password=word, address=AWAY)
        return refused

    assert set(run(stranger())) == {"account"}
    assert len(checked.calls) <= 101


def test_a_refused_login_from_the_owners_address_is_not_compared_with_the_memory(
    verifier: Passwords, checked: Checked, clock: Clock
) -> None:
    async def neighbour() -> None:
        await attempt(verifier, address=HOME)
        assert await guesses(verifier, 1000, address=HOME) == [""] * 20 + ["account"] * 980
        with pytest.raises(RateLimited, match="too many wrong passwords for this account"):
            await attempt(verifier, address=HOME)
        assert await attempt(verifier, "another", address=HOME) is True
        clock.now += 3600
        assert await attempt(verifier, address=HOME) is True

    run(neighbour())


def test_a_guess_at_the_moment_of_the_owners_login_is_counted_first(
    verifier: Passwords, checked: Checked
) -> None:
    async def beside_the_owner() -> None:
        await guesses(verifier, 100)
        verifier.guard.know("u", str(HOME))
        checked.gate.clear()
        before = len(checked.calls)
        owner = asyncio.ensure_future(attempt(verifier, address=HOME))
        await until(lambda: len(checked.calls) > before)
        with pytest.raises(RateLimited):
            await attempt(verifier, address=AWAY)
        checked.gate.set()
        assert await owner is True

    run(beside_the_owner())


def test_the_owner_gets_in_from_a_known_network_while_others_guess(
    verifier: Passwords, checked: Checked, clock: Clock
) -> None:
    async def hours() -> None:
        await attempt(verifier, address=HOME)
        for _ in range(5):
            await guesses(verifier, 500)
            # And at every account from that network.
            for account in range(400):
                with contextlib.suppress(RateLimited):
                    await attempt(verifier, f"x{account}", b"wrong", address=HOME)
            assert await attempt(verifier, address=HOME) is True
            assert await attempt(verifier, password=b"right", stored=b"new", address=HOME) is True
            with pytest.raises(RateLimited):
                await attempt(verifier, address=ipaddress.ip_address("203.0.113.1"))
            clock.now += 1800

    run(hours())


def test_the_same_login_many_times_at_once_costs_a_bcrypt_per_core(
    verifier: Passwords, checked: Checked
) -> None:
    async def at_once() -> list[bool]:
        tries = (attempt(verifier, address=ipaddress.ip_address(number)) for number in range(500))
        return await asyncio.gather(*tries)

    assert run(at_once()) == [True] * 500
    assert len(checked.calls) <= (os.cpu_count() or 1)


def test_too_many_waiting_logins_are_refused_for_a_time(
    verifier: Passwords, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "MOST_WAITING", 30)

    async def crowd() -> list[Any]:
        checked.gate.clear()
        logins = [
            asyncio.ensure_future(attempt(verifier, f"u{number}", address=HOME))
            for number in range(60)
        ]
        await until(lambda: verifier.waiting >= 30)
        assert verifier.waiting == 30
        checked.gate.set()
        return await asyncio.gather(*logins, return_exceptions=True)

    answers = run(crowd())
    refused = [answer for answer in answers if isinstance(answer, RateLimited)]
    assert answers.count(True) == 60 - len(refused)
    assert len(refused) == 60 - 30 - (os.cpu_count() or 1)
    assert (str(refused[0]), refused[0].limit) == ("too many logins wait to be verified", "queue")
    assert verifier.waiting == 0


def test_memory_is_bounded(
    verifier: Passwords, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "MOST_REMEMBERED", 5)

    async def many() -> None:
        for number in range(20):
            address = ipaddress.ip_address(number)
            await attempt(verifier, f"u{number}", address=address)
            await attempt(verifier, f"u{number}", b"wrong", address=address)

    run(many())
    assert len(verifier._right._until) == 5
    assert len(verifier._wrong._until) == 5


def test_an_unknown_account_is_checked_against_a_hash_that_no_password_has() -> None:
    assert bcrypt.checkpw(b"pw", DUMMY) is False
    assert DUMMY.startswith(b"$2b$10$")
