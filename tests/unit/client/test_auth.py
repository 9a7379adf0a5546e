"""Logins: tokens by scope, and which host sees a password."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from tests.unit.client.conftest import Wharf
from tests.unit.client.registry import BOB, HOST, REALM, REPOSITORY, Fake, errors, filled, image
from wharfinger.client.api import Registry
from wharfinger.client.auth import RegistryAuth
from wharfinger.client.credentials import Credentials
from wharfinger.client.transport import Settings, Transport


def using(fake: Fake, settings: Settings, work: Callable[[Registry], Any]) -> Any:
    """The result of `work` with the registry."""

    async def main() -> Any:
        client = httpx.AsyncClient(transport=fake.transport)
        async with Transport(HOST, settings, client=client) as transport:
            return await work(Registry(transport))

    return asyncio.run(main())


@pytest.mark.parametrize("auth", ["none", "basic", "bearer"])
def test_each_kind_of_login_leads_to_the_tags(fake: Fake, wharf: Wharf, auth: str) -> None:
    filled(fake, auth)
    ran = wharf("tags", REPOSITORY, *BOB, input="pw\n")
    assert (ran.code, ran.out, ran.err) == (0, "1\n", "")


def test_of_several_schemes_bearer_is_used(fake: Fake, wharf: Wharf) -> None:
    filled(fake, "bearer").challenges = [
        f'Negotiate, Basic realm="x", Bearer realm="{REALM}",service="s"'
    ]
    assert wharf("tags", REPOSITORY, *BOB, input="pw").out == "1\n"


def test_a_token_is_asked_for_the_scope_that_the_registry_names(fake: Fake, wharf: Wharf) -> None:
    # Some registries name repositories differently in scopes and in addresses.
    challenged = "repository:elsewhere/team/app:pull"
    filled(fake).before = [
        lambda request: (
            None
            if not request.url.path.startswith("/v2/team")
            or challenged in fake.tokens.get(request.headers.get("authorization", "")[7:], [])
            else httpx.Response(
                401, headers={"WWW-Authenticate": f'Bearer realm="{REALM}",scope="{challenged}"'}
            )
        )
    ]
    assert wharf("tags", REPOSITORY, *BOB, input="pw").out == "1\n"
    assert [
        request.url.params.get_list("scope")
        for request in fake.requests
        if "auth" in request.url.path
    ] == [[challenged]]


def test_one_token_is_asked_for_many_repositories(fake: Fake, wharf: Wharf) -> None:
    fake.auth = "bearer"
    for number in range(60):
        fake.push(f"team/{number:02}", "1", image())
    ran = wharf("repositories", HOST, "--tags", *BOB, input="pw")
    assert len(ran.lines) == 60
    # One request for the catalog, three for the repositories with at most 25 each.
    assert fake.counts["GET /auth"] == 4


def test_if_a_token_for_many_scopes_is_not_enough_each_is_asked_for_alone(
    fake: Fake, wharf: Wharf
) -> None:
    fake.auth = "bearer"
    for name in ("a", "b", "c"):
        fake.push(name, "1", image())

    def not_together(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/auth" and len(request.url.params.get_list("scope")) > 1:
            return httpx.Response(401, json=errors("DENIED", "not all of these"))
        return None

    fake.before = [not_together]
    ran = wharf("repositories", HOST, "--tags", *BOB, input="pw")
    assert ran.lines == ["a\t1", "b\t1", "c\t1"]


def test_a_token_that_was_not_enough_is_not_tried_again(fake: Fake, wharf: Wharf) -> None:
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
    # One refusal, then both pages.
    assert fake.counts["GET /v2/b/tags/list"] == 3


def test_a_token_is_renewed_when_it_has_ended(fake: Fake) -> None:
    filled(fake, "bearer")

    async def twice(api: Registry) -> list[str]:
        await api.tags("team/app")
        fake.tokens.clear()  # as if it had expired
        return await api.tags("team/app")

    assert using(fake, Settings(Credentials("bob", "pw")), twice) == ["1"]


def test_a_token_is_renewed_before_it_ends(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(fake, "bearer")
    now = [1000.0]
    monkeypatch.setattr("wharfinger.client.auth.time.monotonic", lambda: now[0])

    async def often(api: Registry) -> list[int]:
        counts = []
        for seconds in (0, 294, 2):  # it lasts 300 s and is renewed 5 s before its end
            now[0] += seconds
            await api.tags("team/app")
            counts.append(fake.counts["GET /auth"])
        return counts

    assert using(fake, Settings(Credentials("bob", "pw")), often) == [1, 1, 2]


def test_a_token_request_for_many_scopes_is_never_too_long(fake: Fake, wharf: Wharf) -> None:
    fake.auth = "bearer"
    for number in range(20):
        fake.push(f"{'long/' * 40}{number:02}", "1", image())
    assert len(wharf("repositories", HOST, "--tags", *BOB, input="pw").lines) == 20
    token_requests = [request for request in fake.requests if request.url.path == "/auth"]
    assert all(
        len("".join(request.url.params.get_list("scope"))) <= 2000 for request in token_requests
    )
    assert len(token_requests) == 4


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
def test_a_wrong_password_is_named_as_the_cause(fake: Fake, wharf: Wharf, auth: str) -> None:
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
def test_without_a_login_the_message_asks_for_one(fake: Fake, wharf: Wharf, auth: str) -> None:
    filled(fake, auth)
    ran = wharf("tags", REPOSITORY)
    place = " (asked at tokens.test)" if auth == "bearer" else ""
    assert (ran.code, ran.err) == (
        3,
        f"wharf: registry.test wants a login{place}: wharf login registry.test, or --user NAME\n",
    )


def test_a_missing_right_is_named(fake: Fake, wharf: Wharf) -> None:
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
            "where passwords would travel unencrypted: wharf does not go there; correct the realm "
            "in the registry's configuration",
        ),
    ],
)
def test_a_login_that_cannot_be_is_explained(
    fake: Fake, wharf: Wharf, challenge: str, message: str
) -> None:
    filled(fake, "bearer").challenges = [challenge]
    ran = wharf("tags", REPOSITORY, *BOB, input="pw")
    assert (ran.code, ran.err) == (1, f"wharf: {message}\n")
    assert {request.url.host for request in fake.requests} == {HOST}


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"token": ""}', b'{"token": "a\\nb"}'])
def test_an_answer_without_a_token_is_an_error(fake: Fake, wharf: Wharf, body: bytes) -> None:
    filled(fake, "bearer").before = [
        lambda request: httpx.Response(200, content=body) if request.url.path == "/auth" else None
    ]
    ran = wharf("tags", REPOSITORY, *BOB, input="pw")
    assert (ran.code, ran.err) == (
        1,
        "wharf: tokens.test answers with something other than a token: is the realm of "
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
            "there is no terminal to ask for the password: give it on standard input, with "
            "--password-stdin",
        ),
    ],
)
def test_passwords_come_from_people_or_standard_input(
    fake: Fake, wharf: Wharf, arguments: tuple[str, ...], message: str
) -> None:
    ran = wharf("tags", REPOSITORY, *arguments)
    assert (ran.code, ran.err) == (2, f"wharf: {message}\n")


# Which host sees a password


def test_an_upload_elsewhere_never_sees_the_login(fake: Fake, wharf: Wharf) -> None:
    filled(fake, "basic").push("team/app", "1", image(("a", 5)))

    def elsewhere(request: httpx.Request) -> httpx.Response | None:
        if request.url.host == "storage.test":
            return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="storage"'})
        if request.method == "POST" and "authorization" in request.headers:
            return httpx.Response(202, headers={"Location": "https://storage.test/upload"})
        if request.method == "HEAD" and "/other/blobs/" in request.url.path:
            return httpx.Response(404)
        return None

    fake.before = [elsewhere]
    ran = wharf("copy", f"{REPOSITORY}:1", f"{HOST}/other:1", *BOB, input="pw")
    assert ran.code == 3
    requests = [request for request in fake.requests if request.url.host == "storage.test"]
    assert requests
    assert not any("authorization" in request.headers for request in requests)


def test_any_client_of_httpx_can_log_in_with_it(fake: Fake) -> None:
    filled(fake, "bearer")
    base = f"https://{HOST}"
    auth = RegistryAuth(HOST, base, Credentials("bob", "pw"), plain_http=False)

    async def main() -> list[int]:
        async with httpx.AsyncClient(transport=fake.transport, auth=auth) as client:
            answers = [
                await client.get(
                    f"{base}/v2/team/app/tags/list",
                    extensions={"scope": "repository:team/app:pull"},
                )
                for _ in range(2)
            ]
        return [answer.status_code for answer in answers]

    assert asyncio.run(main()) == [200, 200]
    assert fake.counts["GET /auth"] == 1
