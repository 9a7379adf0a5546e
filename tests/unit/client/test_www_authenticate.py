"""WWW-Authenticate, as registries send it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wharfinger.client.www_authenticate import Challenge, parse

BEARER = Challenge(
    "bearer", {"realm": "https://t/auth", "service": "a, b", "scope": "repository:x:pull,push"}
)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            ['Bearer realm="https://t/auth",service="a, b",scope="repository:x:pull,push"'],
            [BEARER],
        ),
        (
            [
                'Basic realm="x", '
                'bearer Realm="https://t/auth", service="a, b", scope="repository:x:pull,push"'
            ],
            [Challenge("basic", {"realm": "x"}), BEARER],
        ),
        (
            ["Negotiate", "Basic realm=x"],
            [Challenge("negotiate"), Challenge("basic", {"realm": "x"})],
        ),
        (['Basic realm="say \\"hi\\""'], [Challenge("basic", {"realm": 'say "hi"'})]),
        (["", "  ,,"], []),
    ],
)
def test_every_scheme_is_found(headers: list[str], expected: list[Challenge]) -> None:
    assert parse(headers) == expected


@given(st.lists(st.text()))
def test_any_header_has_an_answer(headers: list[str]) -> None:
    parse(headers)
