"""Only load balancers in front of nginx may say what a client's address is."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from local.stack import NAME, Answer, Stack, running
from tests.proxy.test_log import logged

INSIDE, OUTSIDE = "10.1.2.3", "192.0.2.1"
# What the client itself wrote comes first. The load balancers appended the rest.
CHAIN = f"{INSIDE}, {OUTSIDE}, 172.16.0.9"


def accounts() -> dict[str, Any]:
    stored = bcrypt.hashpw(b"pw", bcrypt.gensalt(4)).decode()
    return {
        "users": {"ci": {"password": stored, "addresses": ["10.0.0.0/8"]}},
        "acl": [{"match": {"account": "ci"}, "actions": ["pull"]}],
        "limits": {"account_failures": 1000, "known_failures": 5, "address_failures": 3},
    }


@pytest.fixture(scope="module")
def behind(registry: Path, _possible: None) -> Iterator[Stack]:
    """A stack behind load balancers, the nearest of which is this machine."""
    trusted = ["127.0.0.0/8", "172.16.0.0/12"]
    with running("token", registry, accounts=accounts(), trusted=trusted) as started:
        yield started


@pytest.fixture(scope="module")
def alone(registry: Path, _possible: None) -> Iterator[Stack]:
    """A stack with nothing in front of it: X-Forwarded-For is only the client's own claim."""
    with running("token", registry, accounts=accounts()) as started:
        yield started


def answer(stack: Stack, forwarded: str, password: str) -> Answer:
    credentials = base64.b64encode(f"ci:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "X-Forwarded-For": forwarded}
    return stack.proxied("GET", "/auth?service=x", headers=headers)


def login(stack: Stack, forwarded: str, password: str = "pw") -> int:
    return answer(stack, forwarded, password).status


def begun(stack: Stack, address: str) -> ssl.SSLSocket:
    """A login from this address whose body never comes."""
    plain = socket.create_connection(("127.0.0.1", stack.port), 60)
    tls = stack.trust.wrap_socket(plain, server_hostname=NAME)
    head = f"POST /auth HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 9999\r\n"
    tls.sendall(f"{head}X-Forwarded-For: {address}\r\n\r\n".encode())
    return tls


@pytest.mark.parametrize(
    ("addresses", "same", "other"),
    [
        ("2001:db8:0:1::{:x}", "2001:db8:0:1:ffff::1", "2001:db8:0:2::1"),
        # An address may contain any byte, even that of a line break.
        ("2001:db8:a0a:d0a:0:{:x}::a0a", "2001:db8:a0a:d0a::", "2001:db8:a0a:d0b::a0a"),
        ("198.51.100.7", "198.51.100.7", "198.51.100.8"),
        ("::ffff:198.51.100.7", "198.51.100.7", "::ffff:198.51.100.8"),
    ],
)
def test_a_64_has_a_hundred_logins_in_hand_as_an_ipv4_address_has(
    behind: Stack, addresses: str, same: str, other: str
) -> None:
    held = [begun(behind, addresses.format(number)) for number in range(1, 101)]
    try:
        deadline = time.monotonic() + 60
        while (refusal := answer(behind, same, "x")).status != 429 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert b"too many requests at once from one address" in refusal.body
        assert login(behind, other, "x") == 401
    finally:
        for connection in held:
            connection.close()


def decisions(stack: Stack, number: int) -> list[dict[str, Any]]:
    """The decisions in decisions.log, as soon as it has this number of them."""
    deadline = time.monotonic() + 60
    while len(lines := (stack.folder / "decisions.log").read_text().splitlines()) < number:
        assert time.monotonic() < deadline, lines
        time.sleep(0.05)
    return [json.loads(line) for line in lines]


def test_nginx_keeps_every_decision_and_the_client_sees_none(registry: Path) -> None:
    with running("token", registry, accounts=accounts(), trusted=["127.0.0.0/8"]) as stack:
        for password in ("pw", "wrong"):
            assert answer(stack, INSIDE, password)["wharfinger-decision"] is None
        # A client that does not wait for the answer is recorded as well.
        plain = socket.create_connection(("127.0.0.1", stack.port), 60)
        with stack.trust.wrap_socket(plain, server_hostname=NAME) as tls:
            credentials = base64.b64encode(b"ci:gone").decode()
            head = f"GET /auth HTTP/1.1\r\nHost: {NAME}\r\nX-Forwarded-For: {INSIDE}\r\n"
            tls.sendall(f"{head}Authorization: Basic {credentials}\r\n\r\n".encode())
        entries = decisions(stack, 3)
        assert [(entry["account"], entry["client"], entry["result"]) for entry in entries] == [
            ("ci", INSIDE, result) for result in ("granted", "wrong_password", "wrong_password")
        ]
        assert [entry["number"] for entry in entries] == [1, 2, 3]
        assert '"event":"token"' not in (stack.folder / "tokens.log").read_text()


def test_requests_of_one_address_are_bounded_and_others_are_not(registry: Path) -> None:
    with running("token", registry, trusted=["127.0.0.0/8"], requests=20) as stack:
        head = f"GET /v2/ HTTP/1.1\r\nHost: {NAME}\r\nX-Forwarded-For: 2001:db8::1\r\n"
        upload = f"POST /v2/a/b/blobs/uploads/ HTTP/1.1\r\nHost: {NAME}\r\n"
        token = stack.signer.token(("repository", "a/b", ["pull", "push"]))
        upload += f"Authorization: Bearer {token}\r\nX-Forwarded-For: 2001:db8::2\r\n"
        held = []
        for _ in range(20):
            plain = socket.create_connection(("127.0.0.1", stack.port), 60)
            held.append(stack.trust.wrap_socket(plain, server_hostname=NAME))
            held[-1].sendall(f"{upload}Content-Length: 9999\r\n\r\n".encode())
        deadline = time.monotonic() + 60
        close = "Connection: close\r\n\r\n"
        while b" 429 " not in (said := stack.raw((head + close).encode())[:2000]):
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        message = "too many requests at once from one address"
        assert json.loads(said.partition(b"\r\n\r\n")[2])["errors"] == [
            {"code": "TOOMANYREQUESTS", "message": message}
        ]
        for path in ("/auth", "/nowhere"):
            headers = {"X-Forwarded-For": "2001:db8::3"}
            assert stack.proxied("GET", path, headers=headers).status == 429
            headers = {"X-Forwarded-For": "2001:db8:0:1::1"}
            assert stack.proxied("GET", path, headers=headers).status in (200, 404)
        for connection in held:
            connection.close()


def clients(stack: Stack) -> set[str]:
    """The client addresses that nginx has logged."""
    return {entry["client"] for entry in stack.access_log()}


def test_a_forged_header_changes_nothing(alone: Stack) -> None:
    for forged in (INSIDE, CHAIN, f"{INSIDE}, 127.0.0.1"):
        assert login(alone, forged) == 401
        line = logged(alone, "GET", "/v2/", headers={"X-Forwarded-For": forged})
        assert line["client"] == "127.0.0.1"
    # A new address each time does not make a new client, either.
    statuses = [login(alone, f"203.0.113.{number}", f"guess {number}") for number in range(8)]
    assert statuses[-1] == 429
    assert clients(alone) == {"127.0.0.1"}


def test_the_log_limits_and_robots_see_the_client_behind_trusted_networks(behind: Stack) -> None:
    assert login(behind, f"{INSIDE}, 172.16.0.9") == 200
    assert login(behind, OUTSIDE) == 401
    # What the client itself wrote before that does not count.
    assert login(behind, CHAIN) == 401
    line = logged(behind, "GET", "/v2/", headers={"X-Forwarded-For": CHAIN})
    assert line["client"] == OUTSIDE
    statuses = [login(behind, "203.0.113.1", f"guess {number}") for number in range(8)]
    assert statuses == [401] * 3 + [429] * 5
    assert login(behind, "203.0.113.2", "guess") == 401
    assert clients(behind) >= {INSIDE, OUTSIDE, "203.0.113.1"}
    assert "127.0.0.1" not in clients(behind)
