"""Outside its addresses an account looks like an unknown one, by answers and by time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.token_server import basic, hashed, settings
from wharfinger.token_server import config
from wharfinger.token_server.issue import Issuer, Reply
from wharfinger.token_server.login import passwords
from wharfinger.token_server.login.authentication import outsider
from wharfinger.token_server.login.passwords import Passwords

from .conftest import Clock

INSIDE, OUTSIDE = "10.0.0.1", "192.0.2.1"
ADDRESSES = ["10.0.0.0/8", "2001:db8::/32"]
WRONG = "wrong user or password"


class Server:
    """An issuer with recorded bcrypt calls and a clock that stands still."""

    def __init__(self, content: dict[str, Any], clock: Clock) -> None:
        self.issuer = Issuer(config.load(yaml.safe_dump(content), check_keys=True))
        self.issuer.login.passwords.close()
        self.issuer.login.passwords = Passwords(clock)
        self.clock = clock

    def login(self, account: str, password: str, *addresses: str) -> list[Reply]:
        """The same login from each of the addresses."""

        async def one_by_one() -> list[Reply]:
            header = basic(account, password)["Authorization"]
            return [
                await self.issuer.answer(b"service=reg", None, header, address, None)
                for address in addresses
            ]

        return asyncio.run(one_by_one())

    def guesses(self, account: str, network: str, count: int) -> list[Reply]:
        """So many different guesses, each from another address of the network."""
        return [
            self.login(account, f"guess {number}", f"{network}.{number // 250}.{number % 250}")[0]
            for number in range(count)
        ]


def visible(reply: Reply) -> tuple[int, str, str]:
    """What a client sees of an answer."""
    return reply.status, json.dumps(reply.headers), json.dumps(reply.body)


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The hashes that passwords were compared with, one for each call of bcrypt."""
    hashes: list[bytes] = []

    def noted(password: bytes, bcrypt_hash: bytes) -> bool:
        hashes.append(bcrypt_hash)
        return b"secret" in password and b"." * 53 not in bcrypt_hash

    monkeypatch.setattr(passwords, "check", noted)
    return hashes


@pytest.fixture
def server(keys: Path, clock: Clock, stored: list[bytes]) -> Iterator[Server]:
    users = {
        "ci": {"password": hashed("secret"), "addresses": ADDRESSES},
        "owner": {"password": hashed("secret")},
    }
    made = Server(settings(keys, users=users), clock)
    yield made
    made.issuer.close()


def test_from_outside_a_right_and_a_wrong_secret_look_like_an_unknown_name(
    server: Server, stored: list[bytes]
) -> None:
    right, wrong, unknown = (
        server.login(account, password, OUTSIDE)[0]
        for account, password in (("ci", "secret"), ("ci", "no"), ("nobody", "secret"))
    )
    assert visible(right) == visible(wrong) == visible(unknown)
    assert right.body["errors"][0]["message"] == WRONG
    # bcrypt runs as for an unknown name, and never with the robot's own hash.
    assert [bcrypt_hash[7:] for bcrypt_hash in stored] == [b"." * 53] * 3
    assert right.log["shut"] == wrong.log["shut"] == f"may not log in from {OUTSIDE}"
    assert right.log["result"] == wrong.log["result"] == "not_let_in"
    assert unknown.log["result"] == "wrong_password"
    assert "shut" not in unknown.log


def test_from_outside_many_guesses_are_answered_and_delayed_like_those_at_an_unknown_name(
    server: Server,
) -> None:
    def besieged(account: str, network: str) -> list[tuple[int, str, str]]:
        replies = server.guesses(account, network, 120)
        # Then the right secret; an unknown name has none. Time passes, and all of it again.
        replies += server.login(account, "secret", f"{network}.9.9")
        server.clock.now += 3600
        replies += server.guesses(account, network, 130)[120:]
        # One address that tries many names.
        for number in range(400):
            replies += server.login(f"{account}{number}", "x", f"{network}.8.8")
        return [
            *map(visible, replies),
            *map(visible, server.login(account, "secret", f"{network}.8.8")),
        ]

    robot, nobody = besieged("ci", "192.168"), besieged("nobody", "172.16")
    assert robot == nobody
    assert {status for status, _, _ in robot} == {401, 429}
    assert any("Retry-After" in headers for _, headers, _ in robot)


def test_guesses_from_outside_lock_nobody_out_inside(server: Server) -> None:
    server.guesses("ci", "192.168", 200)
    assert server.guesses("ci", "192.168", 201)[-1].status == 429
    # No address is known yet.
    for address in (INSIDE, "::ffff:10.0.0.2", "2001:db8::1"):
        assert server.login("ci", "secret", address)[0].status == 200


def test_guesses_from_inside_count(server: Server) -> None:
    server.guesses("ci", "10.1", 100)
    assert server.login("ci", "secret", INSIDE)[0].status == 429


def test_a_right_secret_from_outside_is_not_remembered_and_does_not_make_the_address_known(
    server: Server, stored: list[bytes]
) -> None:
    server.login("ci", "secret", OUTSIDE)
    assert server.issuer.login.passwords.remembered == {"right": 0, "wrong": 1}
    knows = server.issuer.login.passwords.guard.knows
    assert not any(knows(name, OUTSIDE) for name in ("ci", outsider("ci")))
    # The password is remembered as wrong under the name that counts for outsiders.
    assert server.login("ci", "secret", INSIDE, OUTSIDE)[0].status == 200
    assert server.login("ci", "secret", INSIDE, OUTSIDE)[1].status == 401
    assert server.issuer.login.passwords.remembered == {"right": 1, "wrong": 1}
    assert not knows("ci", OUTSIDE)


def test_a_known_address_that_was_removed_is_outside(server: Server, keys: Path) -> None:
    assert server.login("owner", "secret", OUTSIDE)[0].status == 200
    users = {"owner": {"password": hashed("secret"), "addresses": ADDRESSES}}
    content = yaml.safe_dump(settings(keys, users=users))
    server.issuer.use(config.load(content, check_keys=True))
    server.guesses("owner", "192.168", 100)
    assert server.login("owner", "secret", OUTSIDE, INSIDE)[0].status == 429
    assert server.login("owner", "secret", INSIDE)[0].status == 200


@pytest.mark.parametrize("name", [b"\xed\xa0\x80ci", b"\xed\xb0\x80ci"])
def test_no_client_can_send_the_name_that_counts_for_outsiders(server: Server, name: bytes) -> None:
    header = basic(name, "x")["Authorization"]
    form = b"grant_type=password&password=x&username=" + b"".join(b"%%%02x" % byte for byte in name)

    async def both() -> list[Reply]:
        return [
            await server.issuer.answer(b"", None, header, OUTSIDE, None),
            await server.issuer.answer(b"", form, None, OUTSIDE, None),
        ]

    assert [(reply.status, reply.log["result"]) for reply in asyncio.run(both())] == [
        (401, "malformed"),
        (400, "malformed"),
    ]
    with pytest.raises(UnicodeEncodeError):
        outsider("ci").encode()
