"""Reading a request for a token, without a server."""

from __future__ import annotations

import base64
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wharfinger.token_server.config.model import Server
from wharfinger.token_server.token_request import (
    BadCredentials,
    BadRequest,
    Scope,
    client_address,
    read_request,
    read_scopes,
)


def scope(text: str) -> Scope:
    (scope,) = read_scopes([text])
    return scope


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("repository:a/b:push,pull", Scope("repository", "a/b", ("pull", "push"))),
        ("repository(plugin):a:pull", Scope("repository", "a", ("pull",))),
        ("repository:host:5000/a:pull", Scope("repository", "host:5000/a", ("pull",))),
        ("registry:catalog:*", Scope("registry", "catalog", ("*",))),
        ("repository:a:", Scope("repository", "a", ("",))),
    ],
)
def test_scopes(text: str, expected: Scope) -> None:
    assert scope(text) == expected


@pytest.mark.parametrize(
    "text",
    ["a", "a:b", "::", ":a:pull", "repository::pull", "a:b:c:d:e", "Repo:a:b", "a(b:c:d", " "],
)
def test_a_malformed_scope_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="invalid scope"):
        read_scopes([text])


def test_an_empty_first_scope_asks_for_nothing_as_with_docker_auth() -> None:
    assert read_scopes(["", "repository:a:pull"]) == ()


def test_the_forms_fields_come_before_the_querys() -> None:
    form = urlencode({"service": "form", "username": "u", "password": "pw"}).encode()
    request = read_request(b"service=query&scope=repository:a:pull", form, None)
    assert (request.service, request.account, request.password) == ("form", "u", b"pw")
    assert request.scopes == (Scope("repository", "a", ("pull",)),)


def test_a_basic_header_counts_before_the_form() -> None:
    header = "Basic " + base64.b64encode(b"u:pw").decode()
    request = read_request(b"", b"username=v&password=x", header)
    assert (request.account, request.password) == ("u", b"pw")


def test_a_password_in_the_query_string_of_a_get_is_not_used() -> None:
    request = read_request(b"username=u&password=pw", None, None)
    assert (request.account, request.password) == ("", b"")


def test_a_request_does_not_show_its_password() -> None:
    assert "planted" not in repr(read_request(b"", b"username=u&password=planted", None))


@pytest.mark.parametrize(
    ("position", "header", "expected"),
    [
        (0, "10.0.0.1", "10.0.0.1"),
        (0, "10.0.0.1, 10.0.0.2", "10.0.0.1"),
        (-1, "10.0.0.1, 10.0.0.2", "10.0.0.2"),
        (-3, "10.0.0.1, 10.0.0.2", "10.0.0.1"),
        (-1, "10.0.0.1:4711", "10.0.0.1"),
        (-1, "2001:db8::5:6", "2001:db8::5:6"),
        (-1, "[2001:db8::5]:80", "2001:db8::5"),
        (-1, "::ffff:10.0.0.1", "10.0.0.1"),
    ],
)
def test_the_clients_address(position: int, header: str, expected: str) -> None:
    server = Server("", 1, "", "X-Real-IP", position)
    assert str(client_address(server, header, "192.0.2.1")) == expected


@pytest.mark.parametrize("header", [None, "", ",", "x", "10.0.0.1.5", "fe80::1%eth0", "10.0.0.1:"])
def test_a_malformed_address_is_refused(header: str | None) -> None:
    with pytest.raises(BadRequest, match="the client's address is missing or not an address"):
        client_address(Server("", 1, "", "X-Real-IP", -1), header, "192.0.2.1")


def test_a_position_that_the_header_does_not_have_is_refused() -> None:
    with pytest.raises(BadRequest):
        client_address(Server("", 1, "", "X-Real-IP", 2), "10.0.0.1", "192.0.2.1")


def test_without_a_header_the_connection_counts() -> None:
    assert str(client_address(Server("", 1, "", "", 0), "10.0.0.1", "192.0.2.1")) == "192.0.2.1"


PARAMETERS = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.tuples(
            st.sampled_from(
                ["scope", "service", "account", "grant_type", "username", "password", "x"]
            ),
            st.text("ab:/,* ()%\0é0", max_size=12),
        ),
        max_size=5,
    ).map(lambda pairs: urlencode(pairs).encode()),
)
HEADERS = st.one_of(
    st.none(),
    st.text(max_size=20),
    st.binary(max_size=20).map(lambda text: "Basic " + base64.b64encode(text).decode()),
)


@given(PARAMETERS, st.one_of(st.none(), PARAMETERS), HEADERS)
def test_any_request_is_read_or_refused_and_never_a_crash(
    query: bytes, form: bytes | None, header: str | None
) -> None:
    try:
        request = read_request(query, form, header)
    except (BadRequest, BadCredentials) as error:
        assert str(error)
        return
    assert "\0" not in request.service
    assert all("\0" not in scope.name and scope.name for scope in request.scopes)
