"""Passwords: what costs a bcrypt, what is remembered, who waits for whom."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from wharfinger.tokens import passwords
from wharfinger.tokens.passwords import Busy, Decoys, Passwords, check

from .conftest import hashed

HOME = ipaddress.ip_address("192.0.2.1")
AWAY = ipaddress.ip_address("198.51.100.1")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier(clock: Clock) -> Iterator[Passwords]:
    made = Passwords(clock)
    yield made
    made.close()


class Checked:
    """Stands in for bcrypt: notes which thread checked what; right is what is called so."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes, bytes]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, password: bytes, stored: bytes) -> bool:
        self.calls.append((threading.current_thread().name, password, stored))
        assert self.gate.wait(10)
        return password == b"right"

    @property
    def lanes(self) -> list[str]:
        return [name.rpartition("_")[0] for name, _, _ in self.calls]


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Checked:
    found = Checked()
    monkeypatch.setattr(passwords, "check", found)
    return found


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


Try = Callable[..., Coroutine[Any, Any, bool]]


def attempt(
    verifier: Passwords,
    user: str = "u",
    password: bytes = b"right",
    stored: bytes = b"hash",
    known: bool = True,
    address: Any = HOME,
) -> Coroutine[Any, Any, bool]:
    return verifier.verify(user, password, (stored,), known=known, address=address)


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
def test_check_knows_the_password_from_all_others(password: bytes, right: bool) -> None:
    assert check(password, hashed("pw").encode()) is right


def test_a_password_over_72_bytes_is_wrong_even_where_bcrypt_would_cut_it() -> None:
    stored = hashed("x" * 72).encode()
    assert check(b"x" * 72, stored)
    assert not check(b"x" * 73, stored)


def test_a_hash_that_bcrypt_refuses_is_nobodys() -> None:
    assert not check(b"pw", b"$2b$04$" + b"z" * 53)


def test_a_right_password_costs_bcrypt_once(verifier: Passwords, checked: Checked) -> None:
    async def twice() -> list[bool]:
        return [await attempt(verifier), await attempt(verifier)]

    assert run(twice()) == [True, True]
    assert len(checked.calls) == 1


def test_a_wrong_password_costs_bcrypt_each_time(verifier: Passwords, checked: Checked) -> None:
    async def thrice() -> list[bool]:
        return [await attempt(verifier, password=b"wrong") for _ in range(3)]

    assert run(thrice()) == [False] * 3
    assert len(checked.calls) == 3


def test_an_unknown_user_costs_the_same_bcrypt_and_is_never_right(
    verifier: Passwords, checked: Checked
) -> None:
    async def twice() -> list[bool]:
        return [await attempt(verifier, known=False) for _ in range(2)]

    assert run(twice()) == [False] * 2
    assert len(checked.calls) == 2


def test_one_of_several_hashes_is_enough(verifier: Passwords) -> None:
    stored = (hashed("new").encode(), hashed("old").encode())

    async def each() -> list[bool]:
        return [
            await verifier.verify("u", password, stored, known=True, address=HOME)
            for password in (b"new", b"old", b"other")
        ]

    assert run(each()) == [True, True, False]


def test_what_is_remembered_is_forgotten_in_time(
    verifier: Passwords, checked: Checked, clock: Clock
) -> None:
    run(attempt(verifier))
    clock.now += passwords.REMEMBERED_FOR - 1
    run(attempt(verifier))
    assert len(checked.calls) == 1
    clock.now += 2
    run(attempt(verifier))
    assert len(checked.calls) == 2


@pytest.mark.parametrize(
    "other", [{"stored": b"new hash"}, {"user": "v"}, {"password": b"wrong"}], ids=str
)
def test_only_the_very_same_login_is_remembered(
    verifier: Passwords, checked: Checked, other: dict[str, Any]
) -> None:
    run(attempt(verifier))
    run(attempt(verifier, **other))
    assert len(checked.calls) == 2


def test_what_is_remembered_does_not_have_the_password_in_it(
    verifier: Passwords, checked: Checked
) -> None:
    run(attempt(verifier))
    assert "right" not in repr(vars(verifier))


def test_the_same_login_many_times_at_once_is_one_bcrypt(
    verifier: Passwords, checked: Checked
) -> None:
    async def at_once() -> list[bool]:
        return await asyncio.gather(*(attempt(verifier) for _ in range(50)))

    assert run(at_once()) == [True] * 50
    assert len(checked.calls) == 1


def test_after_a_few_failures_an_address_waits_apart_from_the_others(
    verifier: Passwords, checked: Checked
) -> None:
    async def flood() -> None:
        for number in range(4):
            await attempt(verifier, f"x{number}", b"wrong", address=AWAY)
        await attempt(verifier, "u", address=HOME)

    run(flood())
    assert checked.lanes == ["bcrypt"] * 3 + ["bcrypt-suspect", "bcrypt"]


def test_after_a_few_failures_an_account_waits_apart_unless_it_was_right_from_there(
    verifier: Passwords, checked: Checked
) -> None:
    async def flood() -> None:
        await attempt(verifier, "u", address=HOME)
        for number in range(3):
            await attempt(verifier, "u", b"wrong", address=ipaddress.ip_address(number))
        await attempt(verifier, "u", stored=b"another", address=AWAY)
        await attempt(verifier, "u", stored=b"a third", address=HOME)

    run(flood())
    assert checked.lanes == ["bcrypt"] * 4 + ["bcrypt-suspect", "bcrypt"]


def test_having_been_right_once_is_no_licence_to_guess(
    verifier: Passwords, checked: Checked
) -> None:
    async def flood() -> None:
        await attempt(verifier)
        for _ in range(4):
            await attempt(verifier, password=b"wrong")

    run(flood())
    assert checked.lanes[-1] == "bcrypt-suspect"


def test_suspicion_ends(verifier: Passwords, checked: Checked, clock: Clock) -> None:
    async def fail() -> None:
        for _ in range(4):
            await attempt(verifier, password=b"wrong")

    run(fail())
    clock.now += passwords.SUSPECT_FOR + 1
    run(attempt(verifier, password=b"wrong"))
    assert checked.lanes[-2:] == ["bcrypt-suspect", "bcrypt"]


def test_one_ipv6_customer_is_one_address(verifier: Passwords, checked: Checked) -> None:
    async def flood() -> None:
        for number in range(4):
            address = ipaddress.ip_address(f"2001:db8::{number}")
            await attempt(verifier, f"x{number}", b"wrong", address=address)

    run(flood())
    assert checked.lanes[-1] == "bcrypt-suspect"


def test_a_flood_is_told_to_come_back_while_others_get_in(
    verifier: Passwords, checked: Checked
) -> None:
    async def flood() -> tuple[list[Any], bool]:
        for _ in range(3):
            await attempt(verifier, "victim", b"wrong", address=AWAY)
        checked.gate.clear()
        guesses = [
            asyncio.ensure_future(attempt(verifier, "victim", b"%d" % number, address=AWAY))
            for number in range(100)
        ]
        await asyncio.sleep(0.1)
        checked.gate.set()
        right = await attempt(verifier, "u", address=HOME)
        return await asyncio.gather(*guesses, return_exceptions=True), right

    answers, right = run(flood())
    refused = [found for found in answers if isinstance(found, Busy)]
    assert right is True
    assert len(refused) == 100 - passwords.MOST_SUSPECT_WAITING - 1
    assert refused[0].retry_after > 0
    assert str(refused[0]) == "too many logins wait to be verified"


def test_memory_is_bounded(
    verifier: Passwords, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "MOST_REMEMBERED", 5)
    monkeypatch.setattr(passwords, "MOST_COUNTED", 5)

    async def many() -> None:
        for number in range(20):
            address = ipaddress.ip_address(number)
            await attempt(verifier, f"u{number}", address=address)
            await attempt(verifier, f"u{number}", b"wrong", address=address)

    run(many())
    assert len(verifier._remembered) == 5
    assert len(verifier._succeeded) == 5
    for failures in (verifier._addresses, verifier._accounts, verifier._pairs):
        assert len(failures._counts) == 5
    assert verifier._under_way == {}


def test_an_unknown_name_keeps_its_cost_and_all_known_costs_occur() -> None:
    decoys = Decoys()
    costs = ((10,), (12,), (4, 4))
    found = {name: decoys.hashes_for(name, costs) for name in map(str, range(200))}
    assert {tuple(int(one[4:6]) for one in stored) for stored in found.values()} == set(costs)
    assert all(decoys.hashes_for(name, costs) == stored for name, stored in found.items())
    assert decoys.hashes_for("x", ())[0][:7] == b"$2b$10$"


def test_a_decoy_is_a_hash_that_bcrypt_works_on_and_refuses() -> None:
    import bcrypt

    assert bcrypt.checkpw(b"pw", Decoys().hashes_for("x", ((4,),))[0]) is False
