"""Accounts that are no longer in the inventory."""

from __future__ import annotations

from wharfinger.credentials.folder import Credentials
from wharfinger.credentials.records import user_record
from wharfinger.credentials.removed import REMOVED, remembered, with_secret_here

from .conftest import BEFORE, NOW


def test_a_removed_users_password_that_still_lies_here_is_named(credentials: Credentials) -> None:
    known = {name: user_record(name, {}, None, credentials, False) for name in ("gone", "here")}
    known["chosen"] = {"hash": "$2b$04$x"}
    assert with_secret_here(known, {"here"}, credentials) == ["gone"]
    (credentials.directory / "gone").unlink()
    assert with_secret_here(known, {"here"}, credentials) == []


def test_a_removed_user_is_remembered_until_readmitted() -> None:
    first = remembered({}, {"ann": {}, "ben": {}}, {"ben": {}}, BEFORE)
    assert first == {"ann": BEFORE}
    # The moment stays, even if a killed run has left her among the users.
    assert remembered(first, {"ben": {}}, {"ben": {}}, NOW) == first
    assert remembered(first, {"ann": {}, "ben": {}}, {}, NOW) == first | {"ben": NOW}
    assert remembered(first, {"ben": {}}, {"ann": {}, "ben": {}}, NOW) == {}


def test_of_very_many_removed_users_the_newest_are_remembered() -> None:
    before = {f"u{number:05}": BEFORE for number in range(REMOVED)}
    names = remembered(before, {"ann": {}}, {}, NOW)
    assert len(names) == REMOVED
    assert names["ann"] == NOW
    assert "u00000" not in names
