"""Logins, patience, and what is said where something goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from tests.unit.client.conftest import Wharf
from tests.unit.client.registry import HOST, REALM, Fake, errors, image
from wharfinger.client.api import Registry
from wharfinger.client.credentials import Credentials
from wharfinger.client.transport import Settings, Transport

BOB = ("--user", "bob", "--password-stdin")
REPOSITORY = f"{HOST}/team/app"


def using(fake: Fake, settings: Settings, work: Callable[[Registry], Any]) -> Any:
    """The result of `work` with the registry."""

    async def main() -> Any:
        client = httpx.AsyncClient(transport=fake.transport)
        async with Transport(HOST, settings, client=client) as transport:
            return await work(Registry(transport))

    return asyncio.run(main())


def filled(fake: Fake, auth: str = "none") -> Fake:
    fake.push("team/app", "1", image(("a", 5)))
    fake.auth = auth
    return fake


# Logins


@pytest.mark.parametrize("auth", ["none", "basic", "bearer"])
def test_each_kind_of_login_leads_to_the_tags(fake: Fake, wharf: Wharf, auth: str) -> None:
    filled(fake, auth)
    ran = wharf("tags", REPOSITORY, *BOB, input="pw\n")
    assert (ran.code, ran.out, ran.err) == (0, "1\n", "")


def test_of_several_schemes_the_token_is_taken(fake: Fake, wharf: Wharf) -> None:
    filled(fake, "bearer").challenges = [
        f'Negotiate, Basic realm="x", Bearer realm="{REALM}",service="s"'
    ]
    assert wharf("tags", REPOSITORY, *BOB, input="pw").out == "1\n"


def test_a_token_is_asked_for_what_the_registry_wants_not_for_what_we_guess(
    fake: Fake, wharf: Wharf
) -> None:
    # As registries do that name repositories otherwise than in the address.
    theirs = "repository:elsewhere/team/app:pull"
    filled(fake).before = [
        lambda request: (
            None
            if not request.url.path.startswith("/v2/team")
            or theirs in fake.tokens.get(request.headers.get("authorization", "")[7:], [])
            else httpx.Response(
                401, headers={"WWW-Authenticate": f'Bearer realm="{REALM}",scope="{theirs}"'}
            )
        )
    ]
    assert wharf("tags", REPOSITORY, *BOB, input="pw").out == "1\n"
    assert [one.url.params.get_list("scope") for one in fake.asked if "auth" in one.url.path] == [
        [theirs]
    ]


def test_one_token_is_asked_for_many_repositories(fake: Fake, wharf: Wharf) -> None:
    fake.auth = "bearer"
    for number in range(60):
        fake.push(f"team/{number:02}", "1", image())
    ran = wharf("repositories", HOST, "--tags", *BOB, input="pw")
    assert len(ran.lines) == 60
    # One for the catalog, three for the repositories, at most 25 each.
    assert fake.counts["GET /auth"] == 4


def test_a_token_for_many_that_holds_too_little_is_made_good_one_by_one(
    fake: Fake, wharf: Wharf
) -> None:
    fake.auth = "bearer"
    for name in ("a", "b", "c"):
        fake.push(name, "1", image())
    together = lambda request: (  # noqa: E731
        httpx.Response(401, json=errors("DENIED", "not all of these"))
        if request.url.path == "/auth" and len(request.url.params.get_list("scope")) > 1
        else None
    )
    fake.before = [together]
    ran = wharf("repositories", HOST, "--tags", *BOB, input="pw")
    assert ran.lines == ["a\t1", "b\t1", "c\t1"]


def test_a_token_that_held_too_little_is_not_tried_again(fake: Fake, wharf: Wharf) -> None:
    fake.auth = "bearer"
    fake.push("a", "1", image())
    for tag in "1234":
        fake.push("b", tag, image())
    fake.page = 2

    def only_the_first(request: httpx.Request) -> httpx.Response | None:
        scopes = request.url.params.get_list("scope")
        if request.url.path != "/auth" or len(scopes) < 2:
            return None
        fake.tokens["little"] = scopes[:1]
        return httpx.Response(200, json={"token": "little"})

    fake.before = [only_the_first]
    ran = wharf("repositories", HOST, "--tags", *BOB, input="pw")
    assert ran.lines == ["a\t1", "b\t1", "b\t2", "b\t3", "b\t4"]
    # Refused once, then both pages.
    assert fake.counts["GET /v2/b/tags/list"] == 3


def test_a_token_is_renewed_when_it_has_ended(fake: Fake) -> None:
    filled(fake, "bearer")

    async def twice(api: Registry) -> list[str]:
        await api.tags("team/app")
        fake.tokens.clear()  # as if its time were over
        return await api.tags("team/app")

    assert using(fake, Settings(Credentials("bob", "pw")), twice) == ["1"]


def test_a_token_is_renewed_before_it_ends(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(fake, "bearer")
    now = [1000.0]
    monkeypatch.setattr("wharfinger.client.transport.time.monotonic", lambda: now[0])

    async def often(api: Registry) -> list[int]:
        counts = []
        for seconds in (0, 294, 2):  # it lasts 300 s, and is renewed 5 s before
            now[0] += seconds
            await api.tags("team/app")
            counts.append(fake.counts["GET /auth"])
        return counts

    assert using(fake, Settings(Credentials("bob", "pw")), often) == [1, 1, 2]


def test_one_question_for_many_is_never_too_long(fake: Fake, wharf: Wharf) -> None:
    fake.auth = "bearer"
    for number in range(20):
        fake.push(f"{'long/' * 40}{number:02}", "1", image())
    assert len(wharf("repositories", HOST, "--tags", *BOB, input="pw").lines) == 20
    asked = [one for one in fake.asked if one.url.path == "/auth"]
    assert all(len("".join(one.url.params.get_list("scope"))) <= 2000 for one in asked)
    assert len(asked) == 4


def test_an_identity_token_is_exchanged_by_oauth2(fake: Fake) -> None:
    filled(fake, "bearer")
    forms = []

    def exchange(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/auth":
            return None
        forms.append((request.method, parse_qs(request.content.decode())))
        fake.tokens["t"] = ["repository:team/app:pull"]
        return httpx.Response(200, json={"access_token": "t"})

    fake.before = [exchange]
    settings = Settings(Credentials("<token>", "", "identity"))
    assert using(fake, settings, lambda api: api.tags("team/app")) == ["1"]
    ((method, form),) = forms
    assert method == "POST"
    assert form == {
        "grant_type": ["refresh_token"],
        "client_id": ["wharf"],
        "refresh_token": ["identity"],
        "service": ["the service"],
        "scope": ["repository:team/app:pull"],
    }


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_wrong_password_is_said_to_be_one(fake: Fake, wharf: Wharf, auth: str) -> None:
    filled(fake, auth)
    ran = wharf("tags", REPOSITORY, *BOB, input="wrong")
    place = " (asked at tokens.test)" if auth == "bearer" else ""
    said = "wrong user or password" if auth == "bearer" else "authentication required"
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == (
        f"wharf: registry.test does not accept the login of bob{place} (UNAUTHORIZED: {said}): a "
        "wrong or changed password? wharf login registry.test\n"
    )
    assert "wrong\n" not in ran.err


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_without_a_login_one_is_asked_for(fake: Fake, wharf: Wharf, auth: str) -> None:
    filled(fake, auth)
    ran = wharf("tags", REPOSITORY)
    place = " (asked at tokens.test)" if auth == "bearer" else ""
    assert (ran.code, ran.err) == (
        3,
        f"wharf: registry.test wants a login{place}: wharf login registry.test, or --user NAME\n",
    )


def test_a_right_that_is_missing_is_named(fake: Fake, wharf: Wharf) -> None:
    filled(fake, "bearer").allowed = lambda scope: False
    ran = wharf("tags", REPOSITORY, *BOB, input="pw")
    assert (ran.code, ran.err) == (
        3,
        "wharf: bob may not pull team/app on registry.test (UNAUTHORIZED: authentication "
        "required)\n",
    )


@pytest.mark.parametrize(
    ("challenge", "message"),
    [
        (
            'Digest realm="x"',
            "registry.test wants a login by digest; wharf knows Bearer and Basic",
        ),
        (
            'Bearer service="x"',
            "registry.test wants a token and does not say from where (realm): its configuration is "
            "wrong",
        ),
        (
            'Bearer realm="http://tokens.test/auth"',
            "registry.test sends its users for tokens to http://tokens.test/auth, without TLS, "
            "where passwords would travel in clear: wharf does not go there; correct the realm in "
            "the registry's configuration",
        ),
    ],
)
def test_a_login_that_cannot_be_is_explained(
    fake: Fake, wharf: Wharf, challenge: str, message: str
) -> None:
    filled(fake, "bearer").challenges = [challenge]
    ran = wharf("tags", REPOSITORY, *BOB, input="pw")
    assert (ran.code, ran.err) == (1, f"wharf: {message}\n")
    assert {one.url.host for one in fake.asked} == {HOST}


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"token": ""}', b'{"token": "a\\nb"}'])
def test_what_is_no_token_is_not_taken_for_one(fake: Fake, wharf: Wharf, body: bytes) -> None:
    filled(fake, "bearer").before = [
        lambda request: httpx.Response(200, content=body) if request.url.path == "/auth" else None
    ]
    ran = wharf("tags", REPOSITORY, *BOB, input="pw")
    assert (ran.code, ran.err) == (
        1,
        "wharf: tokens.test answers with something else than a token: is the realm of "
        "registry.test right?\n",
    )


def test_a_token_server_that_fails_is_named(fake: Fake, wharf: Wharf) -> None:
    filled(fake, "bearer").before = [
        lambda request: httpx.Response(500, text="boom") if request.url.path == "/auth" else None
    ]
    ran = wharf("tags", REPOSITORY, *BOB, input="pw")
    assert (ran.code, ran.err) == (
        1,
        "wharf: tokens.test, which gives tokens for registry.test, answers 500 Internal Server "
        "Error (boom)\n",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--password-stdin",), "--password-stdin goes with --user NAME"),
        (BOB, "--password-stdin: standard input is empty"),
        (
            ("--user", "bob"),
            "nobody can be asked for the password here: give it on standard input, with "
            "--password-stdin",
        ),
    ],
)
def test_passwords_come_from_people_or_standard_input(
    fake: Fake, wharf: Wharf, arguments: tuple[str, ...], message: str
) -> None:
    ran = wharf("tags", REPOSITORY, *arguments)
    assert (ran.code, ran.err) == (2, f"wharf: {message}\n")


# Patience


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, [1.0, 2.0]), ("7", [7.0, 7.0]), ("no number", [1.0, 2.0])],
)
def test_a_busy_registry_is_asked_again_after_a_pause(
    fake: Fake, wharf: Wharf, pauses: list[float], header: str | None, expected: list[float]
) -> None:
    filled(fake)
    headers = {"Retry-After": header} if header else {}
    answers = iter([httpx.Response(429, headers=headers), httpx.Response(503, headers=headers)])
    fake.before = [lambda request: next(answers, None)]
    assert wharf("tags", REPOSITORY).out == "1\n"
    assert pauses == expected


def test_a_date_says_how_long_too(fake: Fake, wharf: Wharf, pauses: list[float]) -> None:
    past = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
    answers = iter([httpx.Response(503, headers=past)])
    filled(fake).before = [lambda request: next(answers, None)]
    assert wharf("tags", REPOSITORY).out == "1\n"
    assert pauses == [0.0]


def test_patience_has_an_end(fake: Fake, wharf: Wharf, pauses: list[float]) -> None:
    filled(fake).before = [
        lambda request: httpx.Response(429, json=errors("TOOMANYREQUESTS", "slow down"))
    ]
    ran = wharf("tags", REPOSITORY)
    assert (ran.code, ran.err) == (
        1,
        "wharf: registry.test answers 429 Too Many Requests where /v2/team/app/tags/list is read "
        "(TOOMANYREQUESTS: slow down); it was asked several times: wait, log in, or lower "
        "--max-requests\n",
    )
    assert pauses == [1.0, 2.0, 4.0, 8.0]
    assert sum(pauses) <= 30


def test_a_registry_that_wants_too_long_a_pause_is_not_waited_for(
    fake: Fake, wharf: Wharf, pauses: list[float]
) -> None:
    filled(fake).before = [lambda request: httpx.Response(429, headers={"Retry-After": "3600"})]
    assert wharf("tags", REPOSITORY).code == 1
    assert pauses == []


def test_closed_writes_are_explained(fake: Fake, wharf: Wharf, pauses: list[float]) -> None:
    name = filled(fake).push("team/app", "2", image(("b", 1)))
    fake.before = [
        lambda request: (
            httpx.Response(503, json=errors("UNAVAILABLE", "being cleaned up"))
            if request.method == "DELETE"
            else None
        )
    ]
    ran = wharf("rm", f"{REPOSITORY}@{name}", "--yes")
    assert ran.code == 1
    assert ran.err.splitlines()[-1] == (
        f"wharf: registry.test answers 503 Service Unavailable where team/app@{name} is deleted "
        "(UNAVAILABLE: being cleaned up); it was asked several times: writes are closed for now, "
        "as they are while a registry is cleaned up; nothing was changed, try again later"
    )
    assert len(pauses) == 4


def test_a_connection_that_was_closed_meanwhile_is_replaced(fake: Fake, wharf: Wharf) -> None:
    filled(fake)
    failures = iter([1])

    def lost(request: httpx.Request) -> None:
        if next(failures, None):
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")

    fake.before = [lost]
    assert wharf("tags", REPOSITORY).out == "1\n"


def test_a_deletion_is_never_sent_twice(fake: Fake, wharf: Wharf) -> None:
    name = filled(fake).push("team/app", "2", image(("b", 1)))

    def lost(request: httpx.Request) -> None:
        if request.method == "DELETE":
            raise httpx.ReadError("reset")

    fake.before = [lost]
    ran = wharf("rm", f"{REPOSITORY}@{name}", "--yes")
    assert ran.err.splitlines()[-1] == "wharf: registry.test has broken off its answer: reset"
    assert [one.method for one in fake.asked].count("DELETE") == 1


# What goes wrong


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(500, json=errors("UNKNOWN", "disk")), " (UNKNOWN: disk)"),
        (httpx.Response(500, text="plain\x1b[31m text\n"), " (plain [31m text)"),
        (httpx.Response(500), ""),
        (httpx.Response(500, json={"message": "odd"}), " (odd)"),
        (httpx.Response(500, json=["odd"]), ' (["odd"])'),
        (
            httpx.Response(500, html="<html><h1>no</h1>"),
            " (a page of HTML, so perhaps from a proxy)",
        ),
    ],
)
def test_what_an_error_says_is_shown_on_one_clean_line(
    fake: Fake, wharf: Wharf, answer: httpx.Response, said: str
) -> None:
    filled(fake).before = [lambda request: answer]
    ran = wharf("tags", REPOSITORY)
    assert (ran.code, ran.err) == (
        1,
        "wharf: registry.test answers 500 Internal Server Error where /v2/team/app/tags/list is "
        f"read{said}\n",
    )


@pytest.mark.parametrize("body", [b"<html>welcome", b"[1]", b"", b"[" * 100_000])
def test_what_is_no_registry_is_not_taken_for_one(fake: Fake, wharf: Wharf, body: bytes) -> None:
    filled(fake).before = [lambda request: httpx.Response(200, content=body)]
    ran = wharf("tags", REPOSITORY)
    assert (ran.code, ran.err) == (
        1,
        "wharf: registry.test answers /v2/team/app/tags/list with something else than JSON: is it "
        "a registry?\n",
    )


@pytest.mark.parametrize("tags", ["text", [1], {"a": 1}])
def test_a_list_must_be_one(fake: Fake, wharf: Wharf, tags: object) -> None:
    filled(fake).before = [lambda request: httpx.Response(200, json={"tags": tags})]
    assert wharf("tags", REPOSITORY).err == (
        "wharf: registry.test answers /v2/team/app/tags/list without a list of tags: is it a "
        "registry?\n"
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (httpx.ConnectTimeout(""), "registry.test cannot be reached: no connection within 15 s"),
        (httpx.ReadTimeout(""), "registry.test has not answered within 60 s"),
        (httpx.ConnectError("no route"), "registry.test cannot be reached: no route"),
        (
            httpx.ProxyError("403"),
            "registry.test cannot be reached through the proxy that the environment names: 403",
        ),
        (httpx.WriteError("pipe"), "registry.test has broken off its answer: pipe"),
        (httpx.DecodingError("gzip"), "registry.test has broken off its answer: gzip"),
    ],
)
def test_no_answer_is_one_sentence(
    fake: Fake, wharf: Wharf, error: Exception, message: str
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    fake.before = [fail]
    ran = wharf("tags", REPOSITORY)
    assert (ran.code, ran.out, ran.err) == (1, "", f"wharf: {message}\n")


def test_an_answer_without_end_is_cut(
    fake: Fake, wharf: Wharf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wharfinger.client.transport.MOST_BYTES", 1 << 20)
    filled(fake).before = [lambda request: httpx.Response(200, content=b" " * (2 << 20))]
    assert wharf("tags", REPOSITORY).err == "wharf: registry.test answers with more than 1 MB\n"


# Redirects


def test_a_redirect_is_followed_without_the_login(fake: Fake, wharf: Wharf) -> None:
    filled(fake, "basic")

    def elsewhere(request: httpx.Request) -> httpx.Response | None:
        if request.url.host == "storage.test":
            return httpx.Response(200, json={"tags": ["moved"]})
        if "authorization" in request.headers:
            return httpx.Response(307, headers={"Location": "https://storage.test/x"})
        return None

    fake.before = [elsewhere]
    assert wharf("tags", REPOSITORY, *BOB, input="pw").out == "moved\n"
    assert "authorization" not in fake.asked[-1].headers


@pytest.mark.parametrize(
    ("location", "message"),
    [
        (
            "http://storage.test/x",
            "registry.test sends on to http://storage.test, without TLS: wharf does not go there; "
            "the registry's own address (host, X-Forwarded-Proto) may be set wrongly",
        ),
        ("/v2/again", "registry.test redirects without end"),
    ],
)
def test_a_redirect_that_leads_nowhere_good_is_refused(
    fake: Fake, wharf: Wharf, location: str, message: str
) -> None:
    filled(fake).before = [lambda request: httpx.Response(307, headers={"Location": location})]
    assert wharf("tags", REPOSITORY).err == f"wharf: {message}\n"


# Concurrency


def test_no_more_requests_run_at_once_than_asked_for(fake: Fake, wharf: Wharf) -> None:
    for number in range(40):
        fake.push(f"r{number:02}", "1", image())
    running, most = 0, 0
    ordinary = fake.answer

    async def slow(request: httpx.Request) -> httpx.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return await ordinary(request)

    fake.answer = slow  # type: ignore[method-assign]
    ran = wharf("repositories", HOST, "--tags", "--max-requests", "3", "--json")
    assert len(json.loads(ran.out)) == 40
    assert most == 3
