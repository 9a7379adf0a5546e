"""Passwords: what costs a bcrypt, what is remembered, who waits for whom."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from wharfinger.tokens import passwords
from wharfinger.tokens.configuration import Limits
from wharfinger.tokens.failures import Later
from wharfinger.tokens.passwords import Decoys, Passwords, Shape, check

from .conftest import Clock, hashed

HOME = ipaddress.ip_address("192.0.2.1")
AWAY = ipaddress.ip_address("198.51.100.1")


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
            await verifier.verify("u", password, stored, known=True, address=HOME)
            for password in (b"new", b"old", b"other")
        ]

    assert run(each()) == [True, True, False]


def test_what_is_remembered_is_forgotten_in_time(
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


def test_only_what_is_right_is_remembered_longer_for_being_used(
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


def test_what_is_remembered_does_not_have_the_password_in_it(
    verifier: Passwords, checked: Checked
) -> None:
    run(attempt(verifier))
    run(attempt(verifier, password=b"wrong"))
    for remembered, password in ((verifier._right, "right"), (verifier._wrong, "wrong")):
        assert len(remembered._until) == 1
        assert password not in repr(vars(remembered))


def test_the_same_login_many_times_at_once_is_one_bcrypt(
    verifier: Passwords, checked: Checked
) -> None:
    async def at_once() -> list[bool]:
        return await asyncio.gather(*(attempt(verifier) for _ in range(50)))

    assert run(at_once()) == [True] * 50
    assert len(checked.calls) == 1


def test_who_has_failed_waits_behind_who_has_not(verifier: Passwords, checked: Checked) -> None:
    async def flood() -> list[bool]:
        for number in range(2):
            await attempt(verifier, f"x{number}", b"wrong", address=AWAY)
        checked.calls.clear()
        checked.gate.clear()
        guesses = [
            asyncio.ensure_future(attempt(verifier, "x", b"%d" % number, address=AWAY))
            for number in range(20)
        ]
        await asyncio.sleep(0.05)
        right = asyncio.ensure_future(attempt(verifier, "u", address=HOME))
        await asyncio.sleep(0.05)
        checked.gate.set()
        await right
        order = [password for _, password, _ in checked.calls]
        await asyncio.gather(*guesses, return_exceptions=True)
        return [b"right" in order, len(order) < 20]

    assert run(flood()) == [True, True]


def test_a_flood_at_once_reaches_bcrypt_no_oftener_than_is_allowed(
    verifier: Passwords, checked: Checked
) -> None:
    verifier.guard.use(Limits(20, 4, 300))

    async def flood() -> list[Any]:
        checked.gate.clear()
        guesses = [
            asyncio.ensure_future(
                attempt(verifier, "u", b"%d" % number, address=ipaddress.ip_address(number))
            )
            for number in range(200)
        ]
        await asyncio.sleep(0.05)
        checked.gate.set()
        return await asyncio.gather(*guesses, return_exceptions=True)

    answers = run(flood())
    refused = [found for found in answers if isinstance(found, Later)]
    assert 4 <= len(checked.calls) == 200 - len(refused) <= 8
    assert answers.count(False) == len(checked.calls)


async def guesses(verifier: Passwords, count: int, address: Any) -> None:
    for number in range(count):
        with contextlib.suppress(Later):
            await attempt(verifier, password=b"%d" % number, address=address)
    with pytest.raises(Later):
        await attempt(verifier, password=b"unheard of", address=address)


def test_who_is_refused_does_not_wait_in_the_queue(verifier: Passwords, checked: Checked) -> None:
    async def besieged() -> list[Any]:
        for number in range(20):
            await attempt(verifier, "victim", b"%d" % number, address=ipaddress.ip_address(number))
        checked.gate.clear()
        # The queue is long.
        others = [
            asyncio.ensure_future(attempt(verifier, f"u{number}", address=HOME))
            for number in range(20)
        ]
        await asyncio.sleep(0.05)
        guesses = [
            asyncio.ensure_future(
                attempt(verifier, "victim", b"x%d" % number, address=ipaddress.ip_address(number))
            )
            for number in range(50)
        ]
        done, _ = await asyncio.wait(guesses, timeout=0.5)
        checked.gate.set()
        await asyncio.gather(*others, *guesses, return_exceptions=True)
        return [guess.exception() for guess in done]

    refused = run(besieged())
    # One may be verified, in its turn.
    assert len(refused) == 49
    assert all(isinstance(found, Later) and found.limit == "account" for found in refused)


def test_a_remembered_password_is_served_where_it_was_right_whatever_strangers_do(
    verifier: Passwords, checked: Checked
) -> None:
    async def besieged() -> bool:
        await attempt(verifier, address=HOME)
        await guesses(verifier, 5000, AWAY)
        return await attempt(verifier, address=HOME)

    assert run(besieged()) is True


def test_who_may_not_guess_any_more_is_not_told_what_is_remembered(
    verifier: Passwords, checked: Checked
) -> None:
    async def stranger() -> None:
        await attempt(verifier, address=HOME)
        await guesses(verifier, 500, AWAY)
        await attempt(verifier, address=AWAY)

    with pytest.raises(Later, match="too many wrong passwords"):
        run(stranger())
    assert len(checked.calls) < 100


def test_nor_is_one_told_which_wrong_passwords_others_have_tried(
    verifier: Passwords, checked: Checked
) -> None:
    async def stranger() -> None:
        assert await attempt(verifier, password=b"last year's", address=HOME) is False
        await guesses(verifier, 500, AWAY)
        await attempt(verifier, password=b"last year's", address=AWAY)

    with pytest.raises(Later, match="too many wrong passwords"):
        run(stranger())


def test_a_neighbour_behind_the_owners_address_has_a_thousand_tries_at_what_is_remembered(
    verifier: Passwords, checked: Checked, clock: Clock
) -> None:
    async def neighbour() -> None:
        await attempt(verifier, address=HOME)
        await guesses(verifier, 900, HOME)
        assert await attempt(verifier, address=HOME) is True
        await guesses(verifier, 300, HOME)
        with pytest.raises(Later, match="too many wrong passwords"):
            await attempt(verifier, address=HOME)
        assert await attempt(verifier, "other", address=HOME) is True
        clock.now += 3600
        assert await attempt(verifier, address=HOME) is True

    run(neighbour())


def test_the_same_wrong_password_again_is_no_new_try_at_what_is_remembered(
    verifier: Passwords, checked: Checked
) -> None:
    async def job_with_an_old_secret() -> bool:
        await attempt(verifier, address=HOME)
        await attempt(verifier, password=b"last year's", address=HOME)
        await guesses(verifier, 500, HOME)
        for _ in range(2000):
            with pytest.raises(Later):
                await attempt(verifier, password=b"last year's", address=HOME)
        return await attempt(verifier, address=HOME)

    assert run(job_with_an_old_secret()) is True


def test_being_remembered_makes_an_address_known(verifier: Passwords, checked: Checked) -> None:
    async def both() -> None:
        await attempt(verifier, address=HOME)
        await attempt(verifier, address=AWAY)

    run(both())
    assert verifier.guard.known.has("u", str(AWAY))


def test_too_many_who_wait_are_told_to_come_back(
    verifier: Passwords, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "MOST_STRANGERS_WAITING", 30)
    checked.gate.clear()

    async def crowd() -> list[Any]:
        logins = [
            asyncio.ensure_future(attempt(verifier, f"u{number}", address=HOME))
            for number in range(60)
        ]
        await asyncio.sleep(0.05)
        checked.gate.set()
        return await asyncio.gather(*logins, return_exceptions=True)

    answers = run(crowd())
    refused = [found for found in answers if isinstance(found, Later)]
    assert answers.count(True) == 60 - len(refused)
    assert len(refused) == 60 - 30 - ((os.cpu_count() or 1) + 1)
    assert (str(refused[0]), refused[0].limit) == ("too many logins wait to be verified", "queue")


def test_who_is_known_has_a_place_in_the_queue_before_strangers(
    verifier: Passwords, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "MOST_STRANGERS_WAITING", 20)
    monkeypatch.setattr(passwords, "MOST_WAITING", 25)

    async def crowd() -> bool:
        verifier.guard.known.add("owner", str(HOME))
        checked.gate.clear()
        strangers = [
            asyncio.ensure_future(
                attempt(verifier, f"u{number}", b"wrong", address=ipaddress.ip_address(number))
            )
            for number in range(60)
        ]
        await asyncio.sleep(0.05)
        owner = asyncio.ensure_future(attempt(verifier, "owner", address=HOME))
        await asyncio.sleep(0.05)
        checked.gate.set()
        await asyncio.gather(*strangers, return_exceptions=True)
        return await owner

    assert run(crowd()) is True
    # Only those who were with a thread, or at hand for it, went before.
    passwords_checked = [password for _, password, _ in checked.calls]
    assert passwords_checked.index(b"right") <= (os.cpu_count() or 1) + 1


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
    assert verifier._under_way == {}


def test_an_unknown_name_keeps_its_shape_and_all_known_shapes_occur() -> None:
    decoys = Decoys()
    networks = (ipaddress.ip_network("10.0.0.0/8"),)
    known = (Shape((4, 4), networks), Shape((10,)), Shape((12,)))
    found = {name: decoys.shape_of(name, known) for name in map(str, range(200))}
    assert set(found.values()) == set(known)
    assert all(decoys.shape_of(name, known) == shape for name, shape in found.items())
    assert decoys.shape_of("x", ()) == Shape((10,), ())


def test_decoys_have_the_costs_of_their_shape() -> None:
    assert [one[:7] for one in Decoys.hashes(Shape((4, 12)))] == [b"$2b$04$", b"$2b$12$"]


def test_hardly_an_unknown_name_changes_its_shape_when_a_user_comes() -> None:
    decoys = Decoys()
    before = [Shape((4,))] * 50 + [Shape((10,))] * 50
    changed = [
        name
        for name in map(str, range(1000))
        if decoys.shape_of(name, before) != decoys.shape_of(name, [*before, Shape((10,))])
    ]
    assert len(changed) < 30


def test_a_decoy_is_a_hash_that_bcrypt_works_on_and_refuses() -> None:
    import bcrypt

    assert bcrypt.checkpw(b"pw", Decoys.hashes(Shape((4,)))[0]) is False
