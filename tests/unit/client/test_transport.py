"""Retries, redirects, and messages about errors."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from tests.unit.client.conftest import Wharf
from tests.unit.client.registry import BOB, HOST, REPOSITORY, Fake, errors, filled, image

# Retries


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


def test_retries_have_an_end(fake: Fake, wharf: Wharf, pauses: list[float]) -> None:
    filled(fake).before = [
        lambda request: httpx.Response(429, json=errors("TOOMANYREQUESTS", "slow down"))
    ]
    ran = wharf("tags", REPOSITORY)
    assert (ran.code, ran.err) == (
        1,
        "wharf: registry.test answers 429 Too Many Requests when /v2/team/app/tags/list is read "
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
        f"wharf: registry.test answers 503 Service Unavailable when team/app@{name} is deleted "
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
    assert [request.method for request in fake.requests].count("DELETE") == 1


# Errors


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
def test_an_error_message_is_shown_on_one_clean_line(
    fake: Fake, wharf: Wharf, answer: httpx.Response, said: str
) -> None:
    filled(fake).before = [lambda request: answer]
    ran = wharf("tags", REPOSITORY)
    assert (ran.code, ran.err) == (
        1,
        "wharf: registry.test answers 500 Internal Server Error when /v2/team/app/tags/list is "
        f"read{said}\n",
    )


@pytest.mark.parametrize("body", [b"<html>welcome", b"[1]", b"", b"[" * 100_000])
def test_an_answer_that_is_not_a_registrys_is_an_error(
    fake: Fake, wharf: Wharf, body: bytes
) -> None:
    filled(fake).before = [lambda request: httpx.Response(200, content=body)]
    ran = wharf("tags", REPOSITORY)
    assert (ran.code, ran.err) == (
        1,
        "wharf: registry.test answers /v2/team/app/tags/list with something other than JSON: is it "
        "a registry?\n",
    )


@pytest.mark.parametrize("tags", ["text", [1], {"a": 1}])
def test_a_list_of_tags_must_be_a_list(fake: Fake, wharf: Wharf, tags: object) -> None:
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
    assert "authorization" not in fake.requests[-1].headers


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
def test_a_redirect_without_tls_or_end_is_refused(
    fake: Fake, wharf: Wharf, location: str, message: str
) -> None:
    filled(fake).before = [lambda request: httpx.Response(307, headers={"Location": location})]
    assert wharf("tags", REPOSITORY).err == f"wharf: {message}\n"


# Malformed addresses

BAD_ADDRESS = "https://[bad/auth"


def test_a_realm_that_is_not_an_address_is_explained(fake: Fake, wharf: Wharf) -> None:
    filled(fake, "bearer").challenges = [f'Bearer realm="{BAD_ADDRESS}"']
    ran = wharf("tags", REPOSITORY, *BOB, input="pw")
    assert (ran.code, ran.err) == (
        1,
        "wharf: registry.test wants a token and does not say from where (realm): its configuration "
        "is wrong\n",
    )


def test_a_next_page_that_is_not_an_address_is_explained(fake: Fake, wharf: Wharf) -> None:
    link = {"Link": '<https://registry.test:port/>; rel="next"'}
    filled(fake).before = [lambda request: httpx.Response(200, json={"tags": []}, headers=link)]
    ran = wharf("tags", REPOSITORY)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "wharf: registry.test names a next page of /v2/team/app/tags/list that is not an address: "
        "is it a registry?\n"
    )


def test_an_upload_that_is_not_an_address_is_explained(fake: Fake, wharf: Wharf) -> None:
    filled(fake).before = [
        lambda request: (
            httpx.Response(202, headers={"Location": BAD_ADDRESS})
            if request.method == "POST"
            else httpx.Response(404)
            if "/other/blobs/" in request.url.path
            else None
        )
    ]
    ran = wharf("copy", f"{REPOSITORY}:1", f"{HOST}/other:1")
    assert ran.code == 1
    assert ran.err.startswith("wharf: registry.test leads to something that is not an address: ")


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
