"""Passwords and hashes: what is made, what is kept, and what is never written down."""

from __future__ import annotations

import importlib.util
import stat
from pathlib import Path
from typing import Any

import bcrypt
import pytest

FILE = Path(__file__).resolve().parents[3] / "plugins/action/user_hashes.py"


@pytest.fixture(scope="module")
def plugin() -> Any:
    spec = importlib.util.spec_from_file_location("user_hashes", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.COST = 4
    return module


@pytest.fixture
def credentials(plugin: Any, tmp_path: Path) -> Any:
    return plugin.Credentials(tmp_path / "credentials", check_mode=False)


def fits(password: str, hashed: str) -> bool:
    return bcrypt.checkpw(password.encode(), hashed.encode())


def test_a_given_hash_is_taken_as_it_is(plugin: Any, credentials: Any) -> None:
    made = plugin.entry("u", {"password_hash": "$2b$10$x"}, None, credentials, False)
    assert made == {"hash": "$2b$10$x"}


def test_a_plain_password_is_hashed_and_no_fast_digest_of_it_is_kept(
    plugin: Any, credentials: Any
) -> None:
    made = plugin.entry("u", {"password": "chosen"}, None, credentials, False)
    assert fits("chosen", made["hash"])
    assert set(made) == {"hash"}


def test_a_plain_password_that_fits_the_hosts_hash_keeps_that_hash(
    plugin: Any, credentials: Any
) -> None:
    first = plugin.entry("u", {"password": "chosen"}, None, credentials, False)
    assert plugin.entry("u", {"password": "chosen"}, first, credentials, False) == first


def test_a_changed_plain_password_gets_a_hash_of_its_own(plugin: Any, credentials: Any) -> None:
    first = plugin.entry("u", {"password": "chosen"}, None, credentials, False)
    second = plugin.entry("u", {"password": "other"}, first, credentials, False)
    assert fits("other", second["hash"])


def test_a_password_is_generated_once_and_only_its_owner_can_read_it(
    plugin: Any, credentials: Any
) -> None:
    first = plugin.entry("u", {}, None, credentials, False)
    path = credentials.directory / "u"
    assert fits(path.read_text().strip(), first["hash"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(credentials.directory.stat().st_mode) == 0o700
    assert plugin.entry("u", {}, first, credentials, False) == first
    assert credentials.written == ["u"]


def test_a_second_host_gets_the_password_of_the_first(plugin: Any, credentials: Any) -> None:
    plugin.entry("u", {}, None, credentials, False)
    password = credentials.read("u")
    second = plugin.entry("u", {}, None, credentials, False)
    assert fits(password, second["hash"])


def test_a_controller_without_the_password_keeps_the_hosts_hash_and_says_so(
    plugin: Any, credentials: Any
) -> None:
    known = {"hash": "$2b$04$known", "generated": "d"}
    assert plugin.entry("u", {}, known, credentials, False) == known
    assert credentials.kept == ["u"]
    assert credentials.read("u") is None


def test_a_stale_password_beside_the_inventory_is_named_and_changes_nothing(
    plugin: Any, credentials: Any
) -> None:
    credentials.generate("u", replace=True)
    known = {"hash": "$2b$04$known", "generated": "of another password"}
    assert plugin.entry("u", {}, known, credentials, False) == known
    assert credentials.stale == ["u"]


def test_regenerate_takes_the_new_password_over(plugin: Any, credentials: Any) -> None:
    first = plugin.entry("u", {}, None, credentials, False)
    new = credentials.generate("u", replace=True)
    second = plugin.entry("u", {}, first, credentials, True)
    assert fits(new, second["hash"])


def test_check_mode_writes_no_password(plugin: Any, tmp_path: Path) -> None:
    dry = plugin.Credentials(tmp_path / "credentials", check_mode=True)
    plugin.entry("u", {}, None, dry, False)
    assert dry.written == ["u"]
    assert not dry.directory.exists()


def test_a_removed_users_password_that_still_lies_here_is_named(
    plugin: Any, credentials: Any
) -> None:
    known = {name: plugin.entry(name, {}, None, credentials, False) for name in ("gone", "here")}
    known["chosen"] = {"hash": "$2b$04$x"}
    assert plugin.removed(known, {"here": {}}, credentials) == ["gone"]
    (credentials.directory / "gone").unlink()
    assert plugin.removed(known, {"here": {}}, credentials) == []
