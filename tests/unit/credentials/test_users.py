"""A user's password and its hash: what is created, what is kept, and what is never written down."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import bcrypt
import pytest

from wharfinger.credentials.errors import CredentialsError
from wharfinger.credentials.folder import Credentials
from wharfinger.credentials.records import user_record
from wharfinger.credentials.removed import with_secret_here

from .conftest import fits


def test_a_given_hash_is_taken_as_it_is(credentials: Credentials) -> None:
    made = user_record("u", {"password_hash": "$2b$10$x"}, None, credentials, False)
    assert made == {"hash": "$2b$10$x"}


def test_a_plain_password_is_hashed_and_no_fast_digest_of_it_is_kept(
    credentials: Credentials,
) -> None:
    made = user_record("u", {"password": "chosen"}, None, credentials, False)
    assert fits("chosen", made["hash"])
    assert set(made) == {"hash"}


def test_a_plain_password_that_fits_the_hosts_hash_keeps_that_hash(
    credentials: Credentials,
) -> None:
    first = user_record("u", {"password": "chosen"}, None, credentials, False)
    assert user_record("u", {"password": "chosen"}, first, credentials, False) == first


def test_a_changed_plain_password_gets_a_hash_of_its_own(credentials: Credentials) -> None:
    first = user_record("u", {"password": "chosen"}, None, credentials, False)
    second = user_record("u", {"password": "other"}, first, credentials, False)
    assert fits("other", second["hash"])


def test_a_password_is_generated_once_and_only_its_owner_can_read_it(
    credentials: Credentials,
) -> None:
    first = user_record("u", {}, None, credentials, False)
    path = credentials.directory / "u"
    assert fits(path.read_text().strip(), first["hash"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(credentials.directory.stat().st_mode) == 0o700
    assert user_record("u", {}, first, credentials, False) == first
    assert credentials.written == ["u"]


def test_a_generated_password_is_recorded_as_such(credentials: Credentials) -> None:
    made = user_record("u", {}, None, credentials, False)
    assert made["random"] is True
    assert made["generated"] == hashlib.sha256(credentials.read("u").encode()).hexdigest()


@pytest.mark.parametrize(
    "word",
    [
        *("my own word", "a" * 32, "correct-horse-battery-staple-wow", "x" * 43, "1" * 12),
        # As long as a generated password, and with characters of every kind.
        *("Correct-Horse-Battery-Staple-123", "MyVeryLongAndSecurePassword12345"),
        *("abcdefghijklmnopqrstuvwxyzABC123", "The-registry-password-of-the-whole-team-001"),
    ],
)
def test_a_word_that_somebody_wrote_into_credentials_is_a_chosen_one(
    credentials: Credentials, word: str
) -> None:
    credentials.directory.mkdir()
    (credentials.directory / "u").write_text(word + "\n")
    made = user_record("u", {}, None, credentials, False)
    assert fits(word, made["hash"])
    # It has no fast digest, not even the one that an earlier version kept.
    assert set(made) == {"hash"}
    assert user_record("u", {}, made, credentials, False) == made
    earlier = made | {"generated": hashlib.sha256(word.encode()).hexdigest()}
    assert user_record("u", {}, earlier, credentials, False) == made
    assert credentials.stale == []
    (credentials.directory / "u").write_text("another\n")
    assert user_record("u", {}, made, credentials, False) == made
    assert credentials.stale == ["u"]


@pytest.mark.parametrize(("word", "fault"), [("", "empty"), ("ä" * 37, "too long")])
def test_a_file_in_credentials_without_a_password_is_named(
    credentials: Credentials, word: str, fault: str
) -> None:
    credentials.directory.mkdir()
    (credentials.directory / "u").write_text(word + "\n")
    with pytest.raises(CredentialsError) as caught:
        user_record("u", {}, None, credentials, False)
    assert str(caught.value) == (
        f"credentials/u beside the inventory is {fault}, and what it holds would be the password "
        "of u: remove the file, and a password is generated, or write a password of 1 to 72 bytes "
        "into it."
    )
    # If the host knows a password, it keeps that one.
    known = {"hash": bcrypt.hashpw(b"chosen", bcrypt.gensalt(4)).decode()}
    assert user_record("u", {}, known, credentials, False) == known
    assert credentials.stale == ["u"]
    assert with_secret_here({"u": known}, set(), credentials) == []


def test_a_record_of_an_earlier_version_learns_that_its_secret_is_random(
    credentials: Credentials,
) -> None:
    made = user_record("u", {}, None, credentials, False)
    earlier = {key: made[key] for key in ("hash", "generated")}
    path = credentials.directory / "u"
    secret = path.read_text()
    # Without the file the secret is unknown: bcrypt continues.
    path.unlink()
    assert user_record("u", {}, earlier, credentials, False) == earlier
    path.write_text(secret)
    assert user_record("u", {}, earlier, credentials, False) == made
    # From then on it stays known without the file.
    path.unlink()
    assert user_record("u", {}, made, credentials, False) == made


def test_a_second_host_gets_the_password_of_the_first(credentials: Credentials) -> None:
    user_record("u", {}, None, credentials, False)
    password = credentials.read("u")
    second = user_record("u", {}, None, credentials, False)
    assert fits(password, second["hash"])


def test_a_controller_without_the_password_keeps_the_hosts_hash_and_says_so(
    credentials: Credentials,
) -> None:
    known = {"hash": "$2b$04$known", "generated": "d"}
    assert user_record("u", {}, known, credentials, False) == known
    assert credentials.kept == ["u"]
    assert credentials.read("u") is None


def test_a_stale_password_beside_the_inventory_is_named_and_changes_nothing(
    credentials: Credentials,
) -> None:
    credentials.generate("u", replace=True)
    known = {"hash": "$2b$04$known", "generated": "of another password"}
    assert user_record("u", {}, known, credentials, False) == known
    assert credentials.stale == ["u"]


def test_regenerate_takes_the_new_password_over(credentials: Credentials) -> None:
    first = user_record("u", {}, None, credentials, False)
    new = credentials.generate("u", replace=True)
    second = user_record("u", {}, first, credentials, True)
    assert fits(new, second["hash"])


def test_check_mode_writes_no_password(tmp_path: Path) -> None:
    dry = Credentials(tmp_path / "credentials", check_mode=True)
    user_record("u", {}, None, dry, False)
    assert dry.written == ["u"]
    assert not dry.directory.exists()
