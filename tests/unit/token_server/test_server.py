"""The token server over real HTTP, as registry clients use it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import itertools
import json
import re
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc.jwk import ECKey, RSAKey

from support.token_server import (
    Answer,
    Key,
    Running,
    Start,
    basic,
    call,
    hashed,
    make_key,
    settings,
)

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def form(**fields: str) -> bytes:
    return urlencode(fields).encode()


# Logins


def test_a_login_gives_a_token_that_the_registry_can_verify(server: Running, keys: Path) -> None:
    begun = time.time()
    answer = server.login("someuser", "someuser-pw", "repository:someuser/app:push,pull")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json
    assert body["token"] == body["access_token"]
    assert body["expires_in"] == 300
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["issued_at"])
    certificate = x509.load_pem_x509_certificate((keys / "signing.crt").read_bytes())
    claims = jwt.decode(
        body["token"],
        certificate.public_key(),  # type: ignore[arg-type]
        algorithms=["ES256"],
        audience="reg",
        issuer="the issuer",
    )
    assert claims["sub"] == "someuser"
    assert abs(claims["iat"] - begun) < 5
    assert claims["exp"] == claims["iat"] + 300
    assert claims["nbf"] == claims["iat"] - 10
    assert len(claims["jti"]) >= 16
    assert claims["access"] == [
        {"type": "repository", "name": "someuser/app", "actions": ["pull", "push"]}
    ]


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("ES256", lambda: ec.generate_private_key(ec.SECP256R1())),
        # Its y begins with two zero bytes.
        ("ES256", lambda: ec.derive_private_key(2376, ec.SECP256R1())),
        ("RS256", lambda: rsa.generate_private_key(65537, 2048)),
        ("RS256", lambda: rsa.generate_private_key(3, 3072)),
    ],
)
def test_a_token_says_its_algorithm_and_the_rfc_7638_thumbprint_of_its_key(
    start: Start, tmp_path: Path, algorithm: str, key: Callable[[], Key]
) -> None:
    made = key()
    make_key(tmp_path, key=made)
    token = start(settings(tmp_path)).login("someuser", "someuser-pw").json["token"]
    kind = ECKey if algorithm == "ES256" else RSAKey
    expected = kind.import_key((tmp_path / "signing.key").read_bytes()).thumbprint()
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "typ": "JWT", "kid": expected}
    jwt.decode(token, made.public_key(), algorithms=[algorithm], audience="reg")


def test_each_token_has_an_identifier_of_its_own(server: Running) -> None:
    identifiers = {server.login("someuser", "someuser-pw").claims["jti"] for _ in range(5)}
    assert len(identifiers) == 5


def test_a_wrong_password_is_401_in_the_registrys_shape(server: Running) -> None:
    answer = server.login("someuser", "wrong")
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="the issuer"'
    assert answer.json == {
        "errors": [{"code": "UNAUTHORIZED", "message": "wrong user or password", "detail": None}],
        "error": "invalid_grant",
        "error_description": "wrong user or password",
    }


def test_an_unknown_user_gets_the_very_same_answer_as_a_wrong_password(server: Running) -> None:
    wrong, unknown = server.login("someuser", "wrong"), server.login("nobody", "wrong")
    assert (unknown.status, unknown.body) == (wrong.status, wrong.body)


# Keys that docker_auth does not have


def instant(seconds: float) -> str:
    return f"{datetime.fromtimestamp(time.time() + seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def test_the_previous_password_is_right_until_its_time_is_over(start: Start, keys: Path) -> None:
    def rotated(seconds: float) -> dict[str, Any]:
        previous = {"password": hashed("old"), "until": instant(seconds)}
        return {"ci": {"password": hashed("new"), "previous_password": previous}}

    running = start(settings(keys, users=rotated(3600)))
    assert [running.login("ci", password).status for password in ("new", "old", "x")] == [
        *(200, 200, 401)
    ]
    running.write(settings(keys, users=rotated(-1)))
    wait_until_in_force(running)
    assert [running.login("ci", password).status for password in ("new", "old")] == [200, 401]


def test_a_remembered_password_ends_with_its_time_without_a_reload(
    start: Start, keys: Path
) -> None:
    running = start(settings(keys))
    lasts = 15
    begun = time.time()
    previous = {"password": hashed("old"), "until": instant(lasts)}
    users = {"ci": {"password": hashed("new"), "previous_password": previous}}
    running.write(settings(keys, users=users))
    wait_until_in_force(running)
    status = running.login("ci", "old").status
    # Unless the machine was so busy that the time is over.
    assert status == 200 or time.time() > begun + lasts - 1
    end = time.monotonic() + 60
    while running.login("ci", "old").status == 200 and time.monotonic() < end:
        time.sleep(0.1)
    assert running.login("ci", "old").status == 401
    assert running.login("ci", "new").status == 200


def test_only_the_right_password_learns_that_the_user_has_expired(start: Start, keys: Path) -> None:
    gone = instant(-60)
    users = {"ci": {"password": hashed("pw"), "expires": gone}}
    running = start(settings(keys, users=users))
    right, wrong = running.login("ci", "pw"), running.login("ci", "wrong")
    assert (right.status, wrong.status) == (401, 401)
    assert right.json["errors"][0]["message"] == f"ci expired at {gone}"
    assert wrong.json["errors"][0]["message"] == "wrong user or password"
    logged = [running.wait_for("token") for _ in range(2)]
    assert logged[0]["reason"] == f"ci expired at {gone}"
    assert (logged[1]["reason"], logged[1]["shut"]) == (
        "wrong user or password",
        f"expired at {gone}",
    )


def test_a_user_who_expires_later_is_let_in(start: Start, keys: Path) -> None:
    users = {"ci": {"password": hashed("pw"), "expires": instant(3600)}}
    assert start(settings(keys, users=users)).login("ci", "pw").status == 200


def test_a_user_with_addresses_is_let_in_only_from_there(start: Start, keys: Path) -> None:
    users = {"ci": {"password": hashed("pw"), "addresses": ["10.0.0.0/8", "2001:db8::/32"]}}
    running = start(settings(keys, users=users))

    def login(address: str, password: str = "pw") -> Answer:
        return running.ask("/auth", basic("ci", password) | {"X-Real-IP": address})

    for address in ("10.1.1.1", "::ffff:10.1.1.1", "2001:db8:7::1"):
        assert login(address).status == 200
    for address in ("192.0.2.1", "2001:db9::1"):
        answer = login(address)
        assert answer.status == 401
        assert answer.json["errors"][0]["message"] == "wrong user or password"
    logged = [running.wait_for("token") for _ in range(5)]
    assert [(line["result"], line["shut"]) for line in logged[3:]] == [
        ("not_let_in", "may not log in from 192.0.2.1"),
        ("not_let_in", "may not log in from 2001:db9::1"),
    ]


def test_outside_its_addresses_a_robot_looks_like_an_unknown_account_and_is_not_locked(
    start: Start, keys: Path
) -> None:
    users = {
        "ci": {"password": hashed("pw"), "addresses": ["10.0.0.0/8"]},
        "someuser": {"password": hashed("pw")},
    }
    running = start(settings(keys, users=users, limits={"account_failures": 8}))

    def login(account: str, address: str, password: str) -> Answer:
        return running.ask("/auth", basic(account, password) | {"X-Real-IP": address})

    def guesses(account: str, network: str) -> list[Answer]:
        words = [*map(str, range(20)), "pw"]
        return [login(account, f"{network}.{n}", word) for n, word in enumerate(words)]

    robot, nobody = guesses("ci", "192.0.2"), guesses("nobody", "198.51.100")
    assert [answer.status for answer in robot] == [answer.status for answer in nobody]
    assert {answer.status for answer in robot} == {401, 429}
    assert robot[0].body == nobody[0].body
    for answer, other in zip(robot, nobody, strict=True):
        passing = ("content-length", "date", "retry-after")
        assert {k: v for k, v in answer.headers.items() if k not in passing} == {
            k: v for k, v in other.headers.items() if k not in passing
        }
        assert ("retry-after" in answer.headers) == ("retry-after" in other.headers)
    assert login("ci", "10.0.0.1", "pw").status == 200


# Guessing


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def generated(secret: str, **more: Any) -> dict[str, Any]:
    """A user with a generated secret. The bcrypt hash is of another one: nothing may use it."""
    labels = {"secret_sha256": [digest(secret), *map(digest, more.pop("before", []))]}
    return {"password": hashed("not asked"), "labels": labels, **more}


def test_a_generated_secret_is_compared_only_by_its_digest(start: Start, keys: Path) -> None:
    previous = {"password": hashed("not asked either"), "until": instant(3600)}
    users = {
        "ci": generated("present", before=["former"], previous_password=previous),
        "gone": generated("present", before=["former"], previous_password=previous)
        | {"expires": instant(-60)},
        "over": generated("present", before=["former"])
        | {"previous_password": previous | {"until": instant(-60)}},
        "someuser": {"password": hashed("pw")},
    }
    running = start(settings(keys, users=users))

    def statuses(account: str) -> list[int]:
        words = ("present", "former", "other", "not asked", "not asked either", digest("present"))
        return [running.login(account, word).status for word in words]

    assert statuses("ci") == [200, 200, 401, 401, 401, 401]
    assert statuses("over") == [200, 401, 401, 401, 401, 401]
    assert statuses("gone") == [401] * 6
    assert running.login("gone", "present").json["errors"][0]["message"].startswith("gone expired")


def test_120_new_nodes_of_a_robot_all_get_in_under_guessing(start: Start, keys: Path) -> None:
    limits = {"account_failures": 8, "known_failures": 4, "address_failures": 8}
    running = start(settings(keys, users={"nodes": generated("secret")}, limits=limits))

    def login(address: str, password: str) -> int:
        return running.ask("/auth", basic("nodes", password) | {"X-Real-IP": address}).status

    for number in range(120):
        # Guesses from the node's own address, from another one, and from many.
        for stranger in (f"10.0.0.{number}", "192.0.2.1", f"198.51.100.{number}"):
            assert login(stranger, f"guess {number}") in (401, 429)
        assert login(f"10.0.0.{number}", "secret") == 200
    assert login("192.0.2.1", "another guess") == 429
    assert login("192.0.2.1", "secret") == 200


def test_guesses_at_a_generated_secret_are_answered_like_those_at_an_unknown_account(
    start: Start, keys: Path
) -> None:
    limits = {"account_failures": 4, "known_failures": 2}
    running = start(settings(keys, users={"ci": generated("secret")}, limits=limits))

    def guesses(account: str, network: str) -> list[Answer]:
        addresses = ({"X-Real-IP": f"{network}.{number}"} for number in range(8))
        return [
            running.ask("/auth", basic(account, f"guess {number}") | address)
            for number, address in enumerate(addresses)
        ]

    robot, nobody = guesses("ci", "192.0.2"), guesses("nobody", "198.51.100")
    assert (
        [answer.status for answer in robot]
        == [answer.status for answer in nobody]
        == [401] * 4 + [429] * 4
    )
    assert [answer.body for answer in robot[:4]] == [answer.body for answer in nobody[:4]]
    times = [line["ms"] for line in (running.wait_for("token") for _ in range(16))]
    # bcrypt of cost 10 takes tens of milliseconds, even if the account's own hash has cost 4.
    assert min(times[:4] + times[8:12]) > 10


def test_guesses_are_refused_at_once_and_the_owner_gets_in_from_known_networks(
    start: Start, keys: Path
) -> None:
    content = settings(keys, limits={"account_failures": 8, "known_failures": 4})
    content["users"]["owner"] = {"password": hashed("pw")}
    running = start(content)

    def login(address: str, account: str, password: str) -> Answer:
        return running.ask("/auth", basic(account, password) | {"X-Real-IP": address})

    assert login("10.0.0.1", "owner", "pw").status == 200
    for account in ("owner", "nobody"):
        answers = [login(f"10.1.0.{number}", account, f"{number}") for number in range(30)]
        assert [answer.status for answer in answers] == [401] * 8 + [429] * 22
        refused = answers[-1]
        assert 3500 < int(refused.headers["retry-after"]) <= 3600
        error = refused.json["errors"][0]
        assert error["code"] == "TOOMANYREQUESTS"
        assert error["message"] == (
            "too many wrong passwords for this account: try again in "
            f"{refused.headers['retry-after']} seconds"
        )
        while (logged := running.wait_for("token"))["status"] != 429 or (
            logged["account"] != account
        ):
            pass
        assert logged["limit"] == "account"
        assert logged["reason"].startswith("too many wrong passwords for this account")
    # A new network may be refused, even with the right password, which is remembered.
    assert login("10.0.0.2", "owner", "pw").status == 429
    assert login("10.0.0.1", "owner", "pw").status == 200
    # Also with a password that is not remembered.
    content["users"]["owner"] = {"password": hashed("new")}
    running.write(content)
    wait_until_in_force(running)
    assert login("10.0.0.2", "owner", "new").status == 429
    assert login("10.0.0.1", "owner", "new").status == 200


def test_a_neighbour_behind_the_owners_address_has_the_known_failures_and_no_more(
    start: Start, keys: Path
) -> None:
    running = start(settings(keys, limits={"account_failures": 8, "known_failures": 4}))
    assert running.login("someuser", "someuser-pw").status == 200
    guesses = [running.login("someuser", f"guess {number}").status for number in range(2000)]
    assert guesses == [401] * 4 + [429] * 1996
    # The right password is refused too: it is not compared with the memory.
    assert running.login("someuser", "someuser-pw").status == 429
    assert running.login("admin", "admin-pw").status == 200


@pytest.mark.parametrize("limit", ["account", "known", "address"])
def test_a_guesser_has_each_limit_once_a_window_by_a_running_clock(
    start: Start, keys: Path, limit: str
) -> None:
    most, window = 4, 4
    limits = {"account_failures": 1000, "known_failures": 900, "address_failures": 1000}
    limits[f"{limit}_failures"] = most
    if limit == "account":
        limits["known_failures"] = most - 1
    running = start(settings(keys, limits=limits), hour=window)
    if limit == "known":
        assert running.login("someuser", "someuser-pw").status == 200
    guesses = itertools.count()

    def account() -> str:
        return "someuser" if limit != "address" else f"name-{next(guesses)}"

    for _ in range(3):
        begun, compared = time.monotonic(), 0
        while (guess := running.login(account(), f"guess {next(guesses)}")).status == 401:
            compared += 1
        # On a busy machine, one window may end and the next begin here.
        assert compared <= most * (1 + (time.monotonic() - begun) // window)
        assert guess.status == 429
        wait, told_at = int(guess.headers["retry-after"]), time.monotonic()
        assert 1 <= wait <= window
        status = running.login("someuser", "someuser-pw").status
        # Unless the machine was so busy that the window has ended.
        assert status == 429 or time.monotonic() - told_at > wait - 1
        time.sleep(wait)
    assert running.login("someuser", "someuser-pw").status == 200


def test_an_address_is_refused_for_every_account_and_a_64_is_one(start: Start, keys: Path) -> None:
    running = start(settings(keys, limits={"address_failures": 6}))

    def login(number: int, network: str, account: str, password: str) -> int:
        address = f"2001:db8:1:{network}::{number}"
        return running.ask("/auth", basic(account, password) | {"X-Real-IP": address}).status

    guesses = [login(number, "1", f"name {number}", "guess") for number in range(1, 21)]
    assert guesses == [401] * 6 + [429] * 14
    assert login(99, "1", "someuser", "someuser-pw") == 429
    assert login(99, "2", "someuser", "someuser-pw") == 200


@pytest.mark.parametrize(
    ("labels", "more"),
    [
        (["short"], {}),
        (["0" * 64, "1" * 64], {}),
        (["0" * 64, "1" * 64, "2" * 64], {"previous_password": True}),
        (["G" * 64], {}),
    ],
)
def test_a_malformed_digest_is_refused_and_not_shown(
    keys: Path, labels: list[str], more: dict[str, Any]
) -> None:
    from wharfinger.token_server import config

    if more:
        more = {"previous_password": {"password": hashed("x"), "until": instant(60)}}
    user = {"password": hashed("x"), "labels": {"secret_sha256": labels}, **more}
    with pytest.raises(config.ConfigurationError) as refused:
        config.load(yaml.safe_dump(settings(keys, users={"ci": user})))
    (problem,) = refused.value.problems
    assert problem.key == "users.ci.labels.secret_sha256"
    assert problem.message == (
        "is not the SHA-256 of the user's secret, followed by that of the previous secret if there "
        "is a previous_password: write 64 hexadecimal digits each"
    )


def test_a_job_with_an_old_password_locks_nobody_out(start: Start, keys: Path) -> None:
    running = start(settings(keys, limits={"account_failures": 6, "address_failures": 6}))
    assert {running.login("someuser", "old").status for _ in range(50)} == {401}
    assert running.login("someuser", "someuser-pw").status == 200


# Anonymous, and scopes


@pytest.mark.parametrize("path", ["/auth", "/auth/token"])
def test_without_a_login_the_rules_for_the_anonymous_user_apply(server: Running, path: str) -> None:
    answer = server.ask(
        f"{path}?service=reg&scope=repository:public/a:pull,push&scope=repository:team/a:pull"
    )
    assert answer.status == 200
    assert answer.claims["sub"] == ""
    assert answer.granted == [("public/a", ["pull"]), ("team/a", [])]


@pytest.mark.parametrize("offered", [{}, {"Authorization": "Basic Og=="}])
def test_without_a_login_and_an_anonymous_user_the_answer_is_401(
    start: Start, keys: Path, offered: dict[str, str]
) -> None:
    users = {"someuser": {"password": hashed("pw")}}
    answer = start(settings(keys, users=users)).ask("/auth?service=reg", offered)
    message = "log in first: nothing here is allowed without a login"
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="the issuer"'
    assert answer.json == {
        "errors": [{"code": "UNAUTHORIZED", "message": message, "detail": None}],
        "error": "invalid_grant",
        "error_description": message,
    }


def test_several_scopes_are_answered_in_their_order(server: Running) -> None:
    answer = server.login(
        "someuser",
        "someuser-pw",
        "repository:someuser/b:pull%20repository:other/a:pull"
        "&scope=repository(plugin):someuser/a:push,delete&scope=registry:catalog:*",
    )
    assert answer.claims["access"] == [
        {"type": "repository", "name": "someuser/b", "actions": ["pull"]},
        {"type": "repository", "name": "other/a", "actions": []},
        {"type": "repository", "name": "someuser/a", "actions": ["delete", "push"]},
        {"type": "registry", "name": "catalog", "actions": []},
    ]


def test_a_request_without_scopes_gives_a_token_without_access(server: Running) -> None:
    assert server.login("someuser", "someuser-pw").claims["access"] == []


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/auth?scope=repository:a", "invalid scope 'repository:a': a scope is type:name:actions"),
        ("/auth?scope=::", "invalid scope '::': a scope is type:name:actions"),
        ("/auth?scope=a:b:c:d:e", "invalid scope 'a:b:c:d:e': a scope is type:name:actions"),
        ("/auth?account=other", "the user and the account parameter differ"),
        ("/auth?service=%ff", "the parameters are not form data in UTF-8"),
        ("/auth?service=a%00b", "a parameter has a NUL byte in it"),
        (
            "/auth?scope=" + "%20".join(["repository:a:pull"] * 101),
            "more than 100 scopes in one request",
        ),
    ],
)
def test_a_malformed_token_request_is_400(server: Running, target: str, message: str) -> None:
    answer = server.ask(target, basic("someuser", "someuser-pw"))
    assert answer.status == 400
    assert answer.json["errors"][0]["message"] == message
    assert answer.json["error"] == "invalid_request"


@pytest.mark.parametrize("header", [None, "", "nonsense", "999.1.1.1", "10.0.0.1,"])
def test_a_request_without_the_proxys_address_is_400(server: Running, header: str | None) -> None:
    connection = server.connect()
    connection.request("GET", "/auth", headers={} if header is None else {"X-Real-IP": header})
    assert connection.getresponse().status == 400
    connection.close()


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"nocolon").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:pw").decode(),
        "Bearer abc",
        "Digest username=someuser",
    ],
)
def test_credentials_that_cannot_be_read_are_401_and_not_anonymous(
    server: Running, header: str
) -> None:
    assert server.ask("/auth?service=reg", {"Authorization": header}).status == 401


@pytest.mark.parametrize(
    "password",
    [b"x" * 73, b"x" * 60000, b"a\0b", b"\0", b"\xff\xfe", b"", b"someuser-pw\0", "ü".encode()],
    ids=["73 bytes", "60000 bytes", "NUL", "only NUL", "no UTF-8", "empty", "NUL behind", "ü"],
)
def test_odd_passwords_are_401(server: Running, password: bytes) -> None:
    assert server.ask("/auth", basic("someuser", password)).status in (401, 431)
    if len(password) < 40000:
        assert server.ask("/auth", basic("someuser", password)).status == 401


def test_a_password_that_is_right_in_its_first_72_bytes_is_wrong(start: Start, keys: Path) -> None:
    long = "p" * 72
    running = start(settings(keys, users={"u": {"password": hashed(long)}}))
    assert running.login("u", long).status == 200
    assert running.login("u", long + "p").status == 401


@pytest.mark.parametrize("user", ["", "a\0b", "ü", "x" * 5000, "some user"])
def test_odd_user_names_are_handled(server: Running, user: str) -> None:
    # An empty name means no login, with any password, as in docker_auth.
    assert server.login(user, "pw").status == (200 if user == "" else 401)


def test_an_account_without_credentials_is_not_anonymous(server: Running) -> None:
    assert server.ask("/auth?account=someuser").status == 401


def test_the_first_colon_ends_the_user_name(start: Start, keys: Path) -> None:
    running = start(settings(keys, users={"u": {"password": hashed("a:b:c")}}))
    assert running.login("u", "a:b:c").status == 200


# The OAuth2 form


def test_the_oauth2_form_gives_a_token(server: Running) -> None:
    body = form(
        grant_type="password",
        username="someuser",
        password="someuser-pw",
        service="reg",
        client_id="containerd",
        scope="repository:someuser/a:pull repository:someuser/b:pull",
    )
    answer = server.ask("/auth/token", FORM, method="POST", body=body)
    assert answer.status == 200
    assert answer.granted == [("someuser/a", ["pull"]), ("someuser/b", ["pull"])]
    assert answer.claims["aud"] == "reg"
    assert "refresh_token" not in answer.json


def test_a_wrong_password_in_the_form_is_401(server: Running) -> None:
    body = form(grant_type="password", username="someuser", password="wrong", service="reg")
    answer = server.ask("/auth", FORM, method="POST", body=body)
    assert answer.status == 401
    assert answer.json["error"] == "invalid_grant"


def test_another_grant_type_is_400(server: Running) -> None:
    body = form(grant_type="refresh_token", refresh_token="secret-token", service="reg")
    answer = server.ask("/auth", FORM, method="POST", body=body)
    assert answer.status == 400
    assert answer.json["error"] == "unsupported_grant_type"
    assert answer.json["error_description"] == (
        "grant_type 'refresh_token' is not offered, only 'password'"
    )


def test_a_form_without_credentials_is_anonymous(server: Running) -> None:
    body = form(grant_type="password", service="reg", scope="repository:public/a:pull")
    assert server.ask("/auth", FORM, method="POST", body=body).granted == [("public/a", ["pull"])]


# HTTP


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_405(server: Running, method: str) -> None:
    answer = server.ask("/auth", method=method)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"
    assert answer.json["errors"][0]["message"] == "this address accepts GET, HEAD, POST"


@pytest.mark.parametrize("target", ["/healthz", "/auth?service=reg"])
def test_head_answers_without_a_body(server: Running, target: str) -> None:
    answer = server.ask(target, method="HEAD")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("target", ["/", "/auth/", "/AUTH", "//auth", "/metrics/", "/auth%00"])
def test_other_addresses_are_404(server: Running, target: str) -> None:
    answer = server.ask(target)
    assert answer.status == 404
    assert answer.json["errors"][0]["message"] == "there is nothing at this address"


def test_the_path_prefix_is_respected(start: Start, keys: Path) -> None:
    content = settings(keys)
    content["server"]["path_prefix"] = "/tokens"
    running = start(content)
    assert running.ask("/tokens/auth").status == 200
    assert running.ask("/auth").status == 404
    assert running.ask("/healthz").status == 200


def raw(server: Running, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionResetError:
            pass
        return received


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /auth HTTP/9.9\r\n\r\n",
        b"GET /auth HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /auth HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked"
        b"\r\n\r\n0\r\n\r\n",
        b"GET /auth HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    ],
)
def test_bytes_that_are_not_http_are_refused_and_the_server_goes_on(
    server: Running, request_bytes: bytes
) -> None:
    assert raw(server, request_bytes)[9:12] in (b"400", b"")
    assert server.ask("/healthz").status == 200


# The log


def test_a_decision_is_logged_with_who_where_what_and_why(server: Running) -> None:
    server.ask(
        "/auth?service=reg&scope=repository:someuser/logged:pull,push,list",
        basic("someuser", "someuser-pw") | {"X-Real-IP": "10.1.1.1, 2001:db8::7"},
    )
    while not (decision := server.wait_for("token")).get("asked") or (
        decision["asked"][0]["name"] != "someuser/logged"
    ):
        pass
    assert decision["ms"] >= 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", decision["time"])
    del decision["ms"], decision["time"]
    resource = {"type": "repository", "name": "someuser/logged"}
    assert decision == {
        "event": "token",
        "client": "2001:db8::7",
        "account": "someuser",
        "service": "reg",
        "scopes": 1,
        "asked": [resource | {"actions": ["list", "pull", "push"]}],
        "result": "granted",
        "status": 200,
        "granted": [resource | {"actions": ["pull", "push"]}],
        "rules": ["acl[2] rule 3"],
    }


def test_a_line_of_the_log_is_bounded_whatever_is_sent(server: Running) -> None:
    long = "x" * 5000
    scopes = "&".join([f"scope=repository:{long}/a:{','.join([long] * 3)}"] * 3)
    few = "&".join([f"scope=repository:someuser/{number}:pull" for number in range(99)])
    sent = len(server.text)
    assert server.ask(f"/auth?service={long}&{scopes}", basic(long, "pw")).status == 401
    assert server.ask(f"/auth?scope={long}&service=bounded", basic(long, "pw")).status == 400
    answer = server.login("someuser", "someuser-pw", f"a:b:c&{few}&service=bounded")
    assert len(answer.claims["access"]) == 100
    while (decision := server.wait_for("token")).get("scopes") != 100:
        assert len(decision.get("account", "")) <= 257
    assert len(decision["asked"]) == len(decision["granted"]) == len(decision["rules"]) == 5
    assert decision["asked"][0] == {"type": "a", "name": "b", "actions": ["c"]}
    assert max(map(len, server.text[sent:])) < 6_000


def test_no_secret_reaches_the_log(start: Start, keys: Path) -> None:
    running = start(settings(keys))
    planted = "planted-secret"
    token = running.login("someuser", "someuser-pw").json["token"]
    running.login("someuser", planted)
    running.login("nobody", planted)
    running.login("someuser", planted + "x" * 80)
    running.ask("/auth?scope=nonsense", basic("someuser", planted))
    running.ask("/auth", {"Authorization": f"Bearer {planted}"})
    fields = {"username": "someuser", "password": planted}
    running.ask("/auth", FORM, method="POST", body=form(grant_type="password", **fields))
    running.ask("/auth", FORM, method="POST", body=form(grant_type="x", **fields))
    running.ask(f"/auth?password={planted}&account=someuser")
    raw(running, f"GET /auth HTTP/1.1\r\nAuthorization: {planted}\r\nBad Header\r\n\r\n".encode())
    content = settings(keys)
    content["users"]["someuser"] = {"pasword": planted, "password": planted}
    running.write(content)
    running.wait_for("rejected")
    log = "".join(running.text)
    assert len(running.log) >= 10
    assert planted not in log
    assert "someuser-pw" not in log
    assert token not in log
    assert token.split(".")[2] not in log
    assert "$2b$04$" not in log
    assert planted not in json.dumps(running.health())


# Reload


def wait_until_in_force(running: Running, seconds: float = 60) -> None:
    wanted = hashlib.sha256(running.file.read_bytes()).hexdigest()
    end = time.monotonic() + seconds
    while running.health()["configuration"] != wanted:
        assert time.monotonic() < end, "the new configuration was not put in force"
        time.sleep(0.02)


def test_health_names_the_configuration_in_force(start: Start, keys: Path) -> None:
    running = start(settings(keys))
    wait_until_in_force(running)
    assert running.health() == {
        "status": "ok",
        "configuration": running.health()["configuration"],
        "rejected": None,
    }


def test_a_reload_applies_new_users_and_keeps_an_open_connection(start: Start, keys: Path) -> None:
    content = settings(keys)
    running = start(content)
    connection = running.connect()
    assert running.login("newcomer", "pw", connection=connection).status == 401
    opened = connection.sock
    content["users"]["newcomer"] = {"password": hashed("pw")}
    running.write(content)
    wait_until_in_force(running)
    answer = running.login("newcomer", "pw", "repository:newcomer/a:pull", connection=connection)
    assert answer.status == 200
    assert answer.granted == [("newcomer/a", ["pull"])]
    assert connection.sock is opened
    connection.close()


def test_no_request_fails_during_reloads(start: Start, keys: Path) -> None:
    content = settings(keys)
    running = start(content)

    def ask(_: int) -> int:
        connection = running.connect()
        statuses = {
            running.login("someuser", "someuser-pw", connection=connection).status
            for _ in range(100)
        }
        connection.close()
        return statuses.pop() if len(statuses) == 1 else 0

    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(ask, range(4))
        for number in range(4):
            content["users"][f"another{number}"] = {"password": hashed("pw")}
            running.write(content)
            wait_until_in_force(running)
        assert list(answers) == [200] * 4


def test_a_removed_user_is_refused_at_once_although_remembered(start: Start, keys: Path) -> None:
    content = settings(keys)
    running = start(content)
    assert running.login("someuser", "someuser-pw").status == 200
    assert running.login("readonly", "readonly-pw").status == 200
    del content["users"]["someuser"]
    running.write(content)
    wait_until_in_force(running)
    assert running.login("someuser", "someuser-pw").status == 401
    assert running.login("readonly", "readonly-pw").status == 200


def test_a_changed_password_counts_at_once(start: Start, keys: Path) -> None:
    content = settings(keys)
    running = start(content)
    assert running.login("someuser", "someuser-pw").status == 200
    content["users"]["someuser"] = {"password": hashed("changed")}
    running.write(content)
    wait_until_in_force(running)
    assert running.login("someuser", "someuser-pw").status == 401
    assert running.login("someuser", "changed").status == 200


def test_an_invalid_file_is_rejected_and_the_old_one_stays_in_force(
    start: Start, keys: Path
) -> None:
    content = settings(keys)
    running = start(content)
    before = running.health()["configuration"]
    running.write("users: {}\nserver: {addr: ':1', adr: 2}\n")
    event = running.wait_for("rejected")
    health = running.health()
    assert health["configuration"] == before == event["in_force"]
    rejected = hashlib.sha256(running.file.read_bytes()).hexdigest()
    assert health["rejected"]["configuration"] == rejected == event["configuration"]
    assert health["rejected"]["message"].splitlines() == [
        f"{running.file}:1: token: is missing",
        f"{running.file}:1: acl: is missing",
        f"{running.file}:2: server.adr: is not a key: did you mean addr?",
    ]
    assert running.login("someuser", "someuser-pw").status == 200
    running.write(content | {"users": {"someuser": {"password": hashed("other")}}})
    wait_until_in_force(running)
    assert running.health()["rejected"] is None


def test_a_new_signing_key_is_put_in_force(start: Start, tmp_path: Path) -> None:
    make_key(tmp_path / "keys")
    running = start(settings(tmp_path / "keys"))

    def identifier() -> Any:
        token = running.login("someuser", "someuser-pw").json["token"]
        return jwt.get_unverified_header(token)["kid"]

    before = identifier()
    make_key(tmp_path / "keys")
    running.wait_for("reload")
    assert identifier() != before


def test_a_certificate_of_another_key_is_rejected(start: Start, tmp_path: Path, keys: Path) -> None:
    make_key(tmp_path / "keys")
    running = start(settings(tmp_path / "keys"))
    crt = tmp_path / "keys" / "signing.crt"
    crt.write_bytes((keys / "signing.crt").read_bytes())
    assert running.wait_for("rejected")["problems"] == [
        f"{running.file}:{line_of(running.file, 'certificate')}: token.certificate: "
        f"{crt} does not belong to the key {tmp_path / 'keys' / 'signing.key'}"
    ]
    assert running.login("someuser", "someuser-pw").status == 200


def line_of(file: Path, word: str) -> int:
    lines = file.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if word in line)


def test_an_expired_certificate_is_a_warning_and_not_an_outage(
    start: Start, tmp_path: Path
) -> None:
    make_key(tmp_path / "keys", days=-1)
    running = start(settings(tmp_path / "keys"))
    message = running.wait_for("warning")["message"]
    assert re.fullmatch(r".*/signing.crt expired on \d{4}-\d\d-\d\d: renew it", message)
    assert running.login("someuser", "someuser-pw").status == 200


def test_a_failure_of_the_program_is_500_and_tells_only_where(
    keys: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from wharfinger.token_server import config
    from wharfinger.token_server.app import Application
    from wharfinger.token_server.issue import Issuer

    def fail(*_: object) -> None:
        raise RuntimeError("planted-secret")

    monkeypatch.setattr("wharfinger.token_server.issue.read_request", fail)
    content = settings(keys)
    del content["server"]["real_ip_header"]
    issuer = Issuer(config.load(yaml.safe_dump(content), check_keys=True))
    status, body = asyncio.run(call(Application(issuer), {}))
    issuer.close()
    assert status == 500
    assert body["errors"][0]["message"] == "the token server has failed"
    logged = json.loads(capfd.readouterr().out)
    assert (logged["event"], logged["error"]) == ("error", "RuntimeError")
    assert "planted" not in json.dumps([logged, body])


# The end


def test_sigterm_answers_requests_in_progress_and_ends_with_0(start: Start, keys: Path) -> None:
    users = {"slow": {"password": hashed("pw", 12)}}
    running = start(settings(keys, users=users))
    idle, slow = running.connect(), running.connect()
    for opened in (idle, slow):
        assert running.ask("/healthz", connection=opened).status == 200
    login = {"X-Real-IP": "192.0.2.1"} | basic("slow", "pw")
    slow.request("GET", "/auth?service=reg", headers=login)
    # This request came after the login. It is answered, so the login is in progress.
    assert running.ask("/healthz", connection=idle).status == 200
    running.process.send_signal(signal.SIGTERM)
    assert slow.getresponse().status == 200
    assert running.process.wait(60) == 0
    assert running.log[-1]["event"] != "error"
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        running.ask("/healthz", connection=idle)
