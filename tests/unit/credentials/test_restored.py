"""After a restore: what lies in credentials/ beside the inventory wins over the backup."""

from __future__ import annotations

import json
from typing import Any

from wharfinger.closing_message import closing_message
from wharfinger.credentials.accounts import accounts
from wharfinger.credentials.folder import Credentials

from .conftest import fits


def deployed(credentials: Credentials, prepared: dict[str, Any]) -> dict[str, Any]:
    return accounts(credentials, {"ann": None, "bob": None}, ["ci"], prepared, {})


def backup_of(credentials: Credentials) -> dict[str, Any]:
    """What `prepare` answers on a host with the records of this controller."""
    users = json.loads(deployed(credentials, {})["record"])
    credentials.written.clear()
    return {"users": users, "removed": {}, "restored": True}


def test_what_is_as_in_the_backup_stays(credentials: Credentials) -> None:
    prepared = backup_of(credentials)
    answer = deployed(credentials, prepared)
    assert json.loads(answer["record"]) == prepared["users"]
    assert (answer["newer"], answer["from_backup"]) == ([], [])


def test_a_password_that_was_changed_since_the_backup_is_the_valid_one(
    credentials: Credentials,
) -> None:
    prepared = backup_of(credentials)
    for name in ("ann", "ci"):
        credentials.generate(name, replace=True, size=32)
    answer = deployed(credentials, prepared)
    assert answer["newer"] == ["ann", "ci"]
    assert answer["stale"] == []
    for name in ("ann", "ci"):
        present = credentials.read(name)
        assert present
        assert fits(present, answer["hashes"][name])
    assert answer["hashes"]["bob"] == prepared["users"]["bob"]["hash"]
    # Without a restore the host's record is the truth.
    assert deployed(credentials, prepared | {"restored": False})["stale"] == ["ann", "ci"]


def test_an_account_whose_file_this_controller_lacks_is_named(credentials: Credentials) -> None:
    prepared = backup_of(credentials)
    for name in ("bob", "ci"):
        (credentials.directory / name).unlink()
    (credentials.directory / "ann").write_text("another one")
    answer = deployed(credentials, prepared)
    assert answer["from_backup"] == ["bob", "ci"]
    facts = {"url": "u", "address": "a", "credentials": "credentials", "ca": ""}
    inventory: dict[str, Any] = {"users": {"ann": {}, "bob": {}}, "robots": {"ci": {}}}
    inventory |= {"groups": {}, "access": []}
    lines = [line.strip() for line in closing_message(facts, answer, {}, inventory, "htpasswd")]
    assert (
        "bob: has the password of the backup, which this controller lacks: if it was changed "
        "since, the changed one is not valid (for a new one: -e regenerate=bob)"
    ) in lines
    assert (
        "ci: has the secret of the backup, which this controller lacks: if it was changed since, "
        "the changed one is not valid (for a new one: playbooks/rotate_robots.yml -e robot=ci)"
    ) in lines
    assert "ann: credentials/ann is not the password of the backup, and is the valid one" in lines


def test_an_account_that_the_inventory_has_no_longer_stays_out(credentials: Credentials) -> None:
    prepared = backup_of(credentials)
    answer = accounts(credentials, {"ann": None}, [], prepared, {})
    assert list(answer["hashes"]) == ["ann"]
    assert set(json.loads(answer["removed_accounts"])) == {"bob", "ci"}


def test_users_of_an_older_version_s_backup_are_read_as_in_an_upgrade(
    credentials: Credentials,
) -> None:
    """Before `random` was recorded."""
    prepared = backup_of(credentials)
    for record in prepared["users"].values():
        del record["random"]
    answer = deployed(credentials, prepared)
    assert answer["newer"] == []
    records = json.loads(answer["record"])
    assert all(record["random"] is True for record in records.values())
