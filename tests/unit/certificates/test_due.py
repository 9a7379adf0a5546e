"""What is made anew, and what never is."""

from __future__ import annotations

from typing import Any

import pytest

from wharfinger.certificates import due

NOW = 1_800_000_000.0
DAY = 86400


def certificate(days: float, **more: Any) -> dict[str, Any]:
    return {"not_after": NOW + days * DAY, "key_matches": True, "names": [], **more}


def host(**more: Any) -> dict[str, Any]:
    return {
        "ca": certificate(3000),
        "tls": certificate(80, names=["r.example.com", "10.0.0.1"], trusted=True),
        "signing": certificate(300),
        **more,
    }


def asked(
    found: dict[str, Any], names: tuple[str, ...] = ("r.example.com", "10.0.0.1"), **more: Any
) -> set[str]:
    settings = {"renew_days": 30, "tls_days": 90, "signing_days": 365} | more
    answer = due(found, now=NOW, names=names, **settings)
    return {name for name, wanted in answer.items() if wanted}


def test_a_fresh_host_needs_everything() -> None:
    assert asked({"ca": None, "tls": None, "signing": None}) == {"ca", "tls", "signing"}


def test_valid_certificates_stay() -> None:
    assert asked(host()) == set()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"tls": certificate(29, names=["r.example.com", "10.0.0.1"], trusted=True)}, {"tls"}),
        ({"tls": certificate(80, names=["r.example.com"], trusted=True)}, {"tls"}),
        ({"tls": certificate(80, names=["r.example.com", "10.0.0.1"], trusted=False)}, {"tls"}),
        (
            {
                "tls": certificate(
                    80, names=["r.example.com", "10.0.0.1"], trusted=True, key_matches=False
                )
            },
            {"tls"},
        ),
        ({"signing": certificate(29)}, {"signing"}),
        ({"ca": None}, {"ca", "tls"}),
        ({"ca": certificate(29)}, set()),
    ],
)
def test_what_no_longer_fits_is_made_anew(change: dict[str, Any], expected: set[str]) -> None:
    assert asked(host(**change)) == expected


def test_short_lives_are_renewed_in_their_last_third() -> None:
    short = certificate(5, names=["r.example.com", "10.0.0.1"], trusted=True)
    assert asked(host(tls=short), tls_days=9) == set()
    assert asked(host(tls=short), tls_days=18) == {"tls"}


def test_openssls_way_of_writing_an_ipv6_address_is_the_same_address() -> None:
    found = certificate(80, names=["r.example.com", "FD00:0:0:0:0:0:0:2"], trusted=True)
    assert asked(host(tls=found), names=("r.example.com", "fd00::2")) == set()
