"""A robot's secret, and its previous one."""

from __future__ import annotations

import hashlib
import re
import stat
from typing import Any

import pytest

from wharfinger.credentials.folder import Credentials
from wharfinger.credentials.hashes import secret_record
from wharfinger.credentials.records import robot_record, user_record

from .conftest import BEFORE, LATER, fits, rotation

SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


def test_a_robots_secret_has_256_bits_and_a_quick_hash(
    robot: dict[str, Any], credentials: Credentials
) -> None:
    path = credentials.directory / "ci"
    assert SECRET.fullmatch(path.read_text().strip())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert robot["hash"].startswith("$2b$04$")
    assert fits(credentials.read("ci"), robot["hash"])
    assert set(robot) == {"hash", "generated", "random", "robot"}
    assert robot["random"] is True
    assert credentials.written == ["ci"]


def test_a_robot_that_the_host_knows_stays_as_it_is(
    robot: dict[str, Any], credentials: Credentials
) -> None:
    assert robot_record("ci", robot, credentials, rotation()) == robot
    (credentials.directory / "ci").write_text("another\n")
    assert robot_record("ci", robot, credentials, rotation()) == robot
    (credentials.directory / "ci").unlink()
    assert robot_record("ci", robot, credentials, rotation()) == robot
    assert (credentials.stale, credentials.kept) == (["ci"], ["ci"])


# As long as a generated secret, and with the same characters.
PHRASE = "The-registry-secret-of-the-build-farm-00001"


def test_a_robots_secret_that_somebody_has_chosen_is_a_chosen_password(
    credentials: Credentials,
) -> None:
    credentials.directory.mkdir()
    (credentials.directory / "ci").write_text(PHRASE + "\n")
    made = robot_record("ci", None, credentials, rotation())
    assert fits(PHRASE, made["hash"])
    assert (made["random"], made["robot"]) == (False, True)
    # It has no fast digest, and is the same on another host.
    assert hashlib.sha256(PHRASE.encode()).hexdigest() not in str(made)
    assert robot_record("ci", None, credentials, rotation()) == made
    assert robot_record("nodes", made, credentials, rotation()) == made
    assert robot_record("ci", made, credentials, rotation()) == made
    assert credentials.stale == []
    # A rotation generates a secret; the former one has no digest for the token server.
    credentials.rotate("ci", [made["generated"]])
    second = robot_record("ci", made, credentials, rotation("ci"))
    assert second["random"] is True
    assert second["previous"]["hash"] == made["hash"]
    assert credentials.former("ci") == [made["generated"]]
    # An account that becomes a user is compared by the hash from then on.
    assert user_record("ci", {}, made, credentials, False) == {"hash": made["hash"]}


@pytest.mark.parametrize("chosen", [False, True])
def test_a_robots_record_of_an_earlier_version_learns_what_its_secret_is(
    robot: dict[str, Any], credentials: Credentials, chosen: bool
) -> None:
    path = credentials.directory / "ci"
    if chosen:
        path.write_text(PHRASE + "\n")
    secret = path.read_text()
    earlier = {
        "hash": robot["hash"],
        "generated": hashlib.sha256(secret.strip().encode()).hexdigest(),
        "robot": True,
    }
    # Without the file the secret is unknown, so nothing changes.
    path.unlink()
    assert robot_record("ci", earlier, credentials, rotation()) == earlier
    path.write_text(secret)
    made = robot_record("ci", earlier, credentials, rotation())
    if chosen:
        assert made == {**secret_record("ci", PHRASE), "robot": True}
        assert fits(PHRASE, made["hash"])
    else:
        assert made == {**earlier, "random": True}
    path.unlink()
    assert robot_record("ci", made, credentials, rotation()) == made


@pytest.mark.parametrize("text", ["", "x" * 100])
def test_text_that_is_not_a_secret_is_not_a_robots_secret(
    robot: dict[str, Any], credentials: Credentials, text: str
) -> None:
    (credentials.directory / "ci").write_text(text)
    assert robot_record("ci", robot, credentials, rotation()) == robot
    assert credentials.stale == ["ci"]


def test_a_robot_takes_nothing_over_from_a_user_of_its_name(credentials: Credentials) -> None:
    known = {"hash": "$2b$10$chosen"}
    made = robot_record("ci", known, credentials, rotation("ci"))
    assert fits(credentials.read("ci"), made["hash"])
    assert "previous" not in made


def test_a_user_takes_no_rights_of_two_secrets_over_from_a_robot(
    robot: dict[str, Any], credentials: Credentials
) -> None:
    known = {**robot, "previous": {"hash": "$2b$04$old", "until": LATER}}
    kept = {"hash": robot["hash"], "generated": robot["generated"], "random": True}
    assert user_record("ci", {}, known, credentials, False) == kept


def test_a_rotated_robot_has_two_secrets_until_then(
    robot: dict[str, Any], credentials: Credentials
) -> None:
    new = credentials.generate("ci", replace=True, size=32)
    made = robot_record("ci", robot, credentials, rotation("ci"))
    assert fits(new, made["hash"])
    assert made["previous"] == {
        "hash": robot["hash"],
        "digest": robot["generated"],
        "until": LATER,
    }
    # Another run, whether or not it names this robot, changes nothing.
    for again in (rotation(), rotation("ci"), rotation("other")):
        assert robot_record("ci", made, credentials, again) == made


def test_without_overlap_the_former_secret_is_gone(
    robot: dict[str, Any], credentials: Credentials
) -> None:
    credentials.generate("ci", replace=True, size=32)
    made = robot_record("ci", robot, credentials, rotation("ci", until=""))
    assert made["hash"] != robot["hash"]
    assert "previous" not in made


def test_what_is_over_or_ended_is_forgotten(
    robot: dict[str, Any], credentials: Credentials
) -> None:
    over = {**robot, "previous": {"hash": "$2b$04$old", "until": BEFORE}}
    assert robot_record("ci", over, credentials, rotation()) == robot
    lasting = {**robot, "previous": {"hash": "$2b$04$old", "until": LATER}}
    ended = rotation(ended=("ci",))
    assert robot_record("ci", lasting, credentials, ended) == robot


def test_check_mode_tells_of_a_new_secret_and_writes_none(
    robot: dict[str, Any], credentials: Credentials
) -> None:
    present = credentials.read("ci")
    dry = Credentials(credentials.directory, check_mode=True)
    made = robot_record("ci", robot, dry, rotation("ci"))
    assert made["previous"]["hash"] == robot["hash"]
    assert credentials.read("ci") == present
