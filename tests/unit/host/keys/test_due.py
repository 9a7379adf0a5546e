"""When keys and certificates must be renewed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from wharfinger.deployment.certificate import Certificate
from wharfinger.host.keys.due import aged, ahead, covered, days_left, server_due, usable

NOW = 1_800_000_000.0
DAY = 86400
NAMES = ("r.example.com", "10.0.0.1")


def certificate(left: float, life: float = 90, **more: Any) -> Certificate:
    end = NOW + left * DAY
    present = Certificate(
        not_before=end - life * DAY, not_after=end, key_matches=True, names=NAMES, trusted=True
    )
    return replace(present, **more)


def due(present: Certificate | None, names: tuple[str, ...] = NAMES) -> bool:
    return server_due(present, now=NOW, names=names, renew_days=30)


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (None, True),
        (certificate(80), False),
        (certificate(31), False),
        (certificate(29), True),
        (certificate(-1), True),
        (certificate(80, names=("r.example.com",)), True),
        (certificate(80, trusted=False), True),
        (certificate(80, key_matches=False), True),
        # certificates with a short life are renewed in its last third
        (certificate(5, life=9), False),
        (certificate(5, life=18), True),
    ],
)
def test_a_servers_certificate_that_no_longer_fits_is_replaced(
    present: Certificate | None, expected: bool
) -> None:
    assert due(present) is expected


def test_a_missing_or_expiring_certificate_is_due() -> None:
    assert aged(None, NOW, 30)
    assert aged(certificate(29, life=365), NOW, 30)
    assert not aged(certificate(31, life=365), NOW, 30)


@pytest.mark.parametrize(
    ("left", "days", "expected"),
    [(400, 90, 90), (40, 90, 40), (40.9, 90, 40), (0.5, 90, 1), (-3, 90, 1)],
)
def test_an_authority_vouches_for_no_longer_than_it_lives(
    left: float, days: int, expected: int
) -> None:
    assert days_left(certificate(left), NOW, days) == expected


def test_what_begins_in_more_than_a_day_was_made_by_a_clock_that_was_ahead() -> None:
    assert not ahead(certificate(90, life=90), NOW)
    assert not ahead(certificate(90.9, life=90), NOW)
    assert ahead(certificate(91.1, life=90), NOW)


def test_a_certificate_without_its_key_is_of_no_use() -> None:
    assert usable(certificate(1), NOW)
    assert not usable(certificate(1, key_matches=False), NOW)
    assert not usable(None, NOW)


def test_openssls_way_of_writing_an_ipv6_address_is_the_same_address() -> None:
    present = certificate(80, names=("r.example.com", "FD00:0:0:0:0:0:0:2"))
    assert due(present, names=("r.example.com", "fd00::2")) is False


def test_an_authority_covers_its_names_and_those_below_them() -> None:
    permitted = ["r.example.com", "FD00:0:0:0:0:0:0:2"]
    names = ["R.example.com", "a.r.example.com", "xr.example.com", "example.com", "fd00::2"]
    assert covered(names, permitted) == ["R.example.com", "a.r.example.com", "fd00::2"]
    assert covered(names, None) == names
