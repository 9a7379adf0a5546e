"""Passwords and hashes: what is made, what is kept, and what is never written down."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import stat
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
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


def test_a_generated_password_is_recorded_as_such(plugin: Any, credentials: Any) -> None:
    made = plugin.entry("u", {}, None, credentials, False)
    assert made["random"] is True
    assert made["generated"] == hashlib.sha256(credentials.read("u").encode()).hexdigest()


@pytest.mark.parametrize(
    "word",
    [
        *("my own word", "a" * 32, "correct-horse-battery-staple-wow", "x" * 43, "1" * 12),
        # As long as a generated one, and with characters of every kind.
        *("Correct-Horse-Battery-Staple-123", "MyVeryLongAndSecurePassword12345"),
        *("abcdefghijklmnopqrstuvwxyzABC123", "The-registry-password-of-the-whole-team-001"),
    ],
)
def test_a_word_that_somebody_wrote_into_credentials_is_a_chosen_one(
    plugin: Any, credentials: Any, word: str
) -> None:
    credentials.directory.mkdir()
    (credentials.directory / "u").write_text(word + "\n")
    made = plugin.entry("u", {}, None, credentials, False)
    assert fits(word, made["hash"])
    # No fast digest of it, also not the one that an earlier version kept.
    assert set(made) == {"hash"}
    assert plugin.entry("u", {}, made, credentials, False) == made
    earlier = made | {"generated": hashlib.sha256(word.encode()).hexdigest()}
    assert plugin.entry("u", {}, earlier, credentials, False) == made
    assert credentials.stale == []
    (credentials.directory / "u").write_text("another\n")
    assert plugin.entry("u", {}, made, credentials, False) == made
    assert credentials.stale == ["u"]


@pytest.mark.parametrize(("word", "fault"), [("", "empty"), ("ä" * 37, "too long")])
def test_a_file_in_credentials_without_a_password_is_named(
    plugin: Any, credentials: Any, word: str, fault: str
) -> None:
    credentials.directory.mkdir()
    (credentials.directory / "u").write_text(word + "\n")
    with pytest.raises(plugin.AnsibleActionFail) as caught:
        plugin.entry("u", {}, None, credentials, False)
    assert str(caught.value) == (
        f"credentials/u beside the inventory is {fault}, and what it holds would be the password "
        "of u: remove the file, and a password is generated, or write a password of 1 to 72 bytes "
        "into it."
    )
    # Where the host knows a password, that one stays.
    known = {"hash": bcrypt.hashpw(b"chosen", bcrypt.gensalt(4)).decode()}
    assert plugin.entry("u", {}, known, credentials, False) == known
    assert credentials.stale == ["u"]
    assert plugin.removed({"u": known}, set(), credentials) == []


def test_a_record_of_an_earlier_version_learns_that_its_secret_is_random(
    plugin: Any, credentials: Any
) -> None:
    made = plugin.entry("u", {}, None, credentials, False)
    earlier = {key: made[key] for key in ("hash", "generated")}
    path = credentials.directory / "u"
    secret = path.read_text()
    # Without the file nobody can tell: bcrypt goes on.
    path.unlink()
    assert plugin.entry("u", {}, earlier, credentials, False) == earlier
    path.write_text(secret)
    assert plugin.entry("u", {}, earlier, credentials, False) == made
    # And then it stays known without the file.
    path.unlink()
    assert plugin.entry("u", {}, made, credentials, False) == made


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
    assert plugin.removed(known, {"here"}, credentials) == ["gone"]
    (credentials.directory / "gone").unlink()
    assert plugin.removed(known, {"here"}, credentials) == []


NOW, LATER, BEFORE = "2026-11-25T00:00:00Z", "2026-11-26T00:00:00Z", "2026-11-24T00:00:00Z"
SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


def rotation(plugin: Any, *names: str, until: str = LATER, ended: tuple[str, ...] = ()) -> Any:
    return plugin.Rotation(NOW, frozenset(names), until, frozenset(ended))


@pytest.fixture
def robot(plugin: Any, credentials: Any) -> dict[str, Any]:
    """The record of a robot that has just been made."""
    made: dict[str, Any] = plugin.robot_entry("ci", None, credentials, rotation(plugin))
    return made


def test_a_robots_secret_has_256_bits_and_a_quick_hash(
    robot: dict[str, Any], credentials: Any
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
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    assert plugin.robot_entry("ci", robot, credentials, rotation(plugin)) == robot
    (credentials.directory / "ci").write_text("another\n")
    assert plugin.robot_entry("ci", robot, credentials, rotation(plugin)) == robot
    (credentials.directory / "ci").unlink()
    assert plugin.robot_entry("ci", robot, credentials, rotation(plugin)) == robot
    assert (credentials.stale, credentials.kept) == (["ci"], ["ci"])


# As long as a generated one, and of its characters.
PHRASE = "The-registry-secret-of-the-build-farm-00001"


def test_a_robots_secret_that_somebody_has_chosen_is_a_chosen_password(
    plugin: Any, credentials: Any
) -> None:
    credentials.directory.mkdir()
    (credentials.directory / "ci").write_text(PHRASE + "\n")
    made = plugin.robot_entry("ci", None, credentials, rotation(plugin))
    assert fits(PHRASE, made["hash"])
    assert (made["random"], made["robot"]) == (False, True)
    # No fast digest of it, and on another host the same.
    assert hashlib.sha256(PHRASE.encode()).hexdigest() not in str(made)
    assert plugin.robot_entry("ci", None, credentials, rotation(plugin)) == made
    assert plugin.robot_entry("nodes", made, credentials, rotation(plugin)) == made
    assert plugin.robot_entry("ci", made, credentials, rotation(plugin)) == made
    assert credentials.stale == []
    # A rotation gives it a generated one; the former has no digest for the token server.
    credentials.rotate("ci", [made["generated"]])
    second = plugin.robot_entry("ci", made, credentials, rotation(plugin, "ci"))
    assert second["random"] is True
    assert second["previous"]["hash"] == made["hash"]
    assert credentials.former("ci") == [made["generated"]]
    # Whoever is a user from then on is compared by the hash.
    assert plugin.entry("ci", {}, made, credentials, False) == {"hash": made["hash"]}


@pytest.mark.parametrize("chosen", [False, True])
def test_a_robots_record_of_an_earlier_version_learns_what_its_secret_is(
    plugin: Any, robot: dict[str, Any], credentials: Any, chosen: bool
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
    # Without the file nobody can tell, and nothing changes.
    path.unlink()
    assert plugin.robot_entry("ci", earlier, credentials, rotation(plugin)) == earlier
    path.write_text(secret)
    made = plugin.robot_entry("ci", earlier, credentials, rotation(plugin))
    if chosen:
        assert made == {**plugin.secret_record("ci", PHRASE), "robot": True}
        assert fits(PHRASE, made["hash"])
    else:
        assert made == {**earlier, "random": True}
    path.unlink()
    assert plugin.robot_entry("ci", made, credentials, rotation(plugin)) == made


@pytest.mark.parametrize("text", ["", "x" * 100])
def test_what_is_no_secret_at_all_is_none_of_a_robot(
    plugin: Any, robot: dict[str, Any], credentials: Any, text: str
) -> None:
    (credentials.directory / "ci").write_text(text)
    assert plugin.robot_entry("ci", robot, credentials, rotation(plugin)) == robot
    assert credentials.stale == ["ci"]


def test_a_robot_takes_nothing_over_from_a_user_of_its_name(plugin: Any, credentials: Any) -> None:
    known = {"hash": "$2b$10$chosen"}
    made = plugin.robot_entry("ci", known, credentials, rotation(plugin, "ci"))
    assert fits(credentials.read("ci"), made["hash"])
    assert "previous" not in made


def test_a_user_takes_no_rights_of_two_secrets_over_from_a_robot(
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    known = {**robot, "previous": {"hash": "$2b$04$old", "until": LATER}}
    kept = {"hash": robot["hash"], "generated": robot["generated"], "random": True}
    assert plugin.entry("ci", {}, known, credentials, False) == kept


def test_a_rotated_robot_has_two_secrets_until_then(
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    new = credentials.generate("ci", replace=True, size=32)
    made = plugin.robot_entry("ci", robot, credentials, rotation(plugin, "ci"))
    assert fits(new, made["hash"])
    assert made["previous"] == {
        "hash": robot["hash"],
        "digest": robot["generated"],
        "until": LATER,
    }
    # Another run, with or without a word about this robot, changes nothing.
    for again in (rotation(plugin), rotation(plugin, "ci"), rotation(plugin, "other")):
        assert plugin.robot_entry("ci", made, credentials, again) == made


def test_without_overlap_the_former_secret_is_gone(
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    credentials.generate("ci", replace=True, size=32)
    made = plugin.robot_entry("ci", robot, credentials, rotation(plugin, "ci", until=""))
    assert made["hash"] != robot["hash"]
    assert "previous" not in made


def test_what_is_over_or_ended_is_forgotten(
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    over = {**robot, "previous": {"hash": "$2b$04$old", "until": BEFORE}}
    assert plugin.robot_entry("ci", over, credentials, rotation(plugin)) == robot
    lasting = {**robot, "previous": {"hash": "$2b$04$old", "until": LATER}}
    ended = rotation(plugin, ended=("ci",))
    assert plugin.robot_entry("ci", lasting, credentials, ended) == robot


def test_check_mode_tells_of_a_new_secret_and_writes_none(
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    present = credentials.read("ci")
    dry = plugin.Credentials(credentials.directory, check_mode=True)
    made = plugin.robot_entry("ci", robot, dry, rotation(plugin, "ci"))
    assert made["previous"]["hash"] == robot["hash"]
    assert credentials.read("ci") == present


def planned(plugin: Any, credentials: Any, *hosts: dict[str, Any], overlap: int = 60) -> Any:
    return plugin.plan(["ci"], list(hosts), credentials, overlap, NOW)


def seen(robot: dict[str, Any], until: str | None = None) -> dict[str, Any]:
    """What `observe` says of this robot."""
    return {"ci": {"generated": robot["generated"], "until": until}}


def test_a_rotation_begins_where_no_former_secret_is_valid(
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    assert planned(plugin, credentials, {}, {}) == (["ci"], {})
    assert planned(plugin, credentials, seen(robot), seen(robot, BEFORE)) == (["ci"], {})


def test_a_rotation_that_reached_some_hosts_goes_on_with_its_secret(
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    before = {"generated": "of the former one"}
    assert planned(plugin, credentials, seen(robot, LATER), seen(before)) == ([], {})


def test_a_rotation_that_lasts_everywhere_is_not_begun_again(
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    lasting = planned(plugin, credentials, seen(robot, LATER), seen(robot, LATER), {})
    assert lasting == ([], {"ci": LATER})
    assert plugin.already(lasting[1]) == (
        f"the secret before the present one is still valid for ci (until {LATER}), and a robot has "
        "no more than two: wait until then, or write -e overlap_ends=now to refuse the former one "
        "at once, or -e overlap=0 for a new secret that refuses both"
    )


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_dry_run_too_finds_nothing_to_begin_where_a_rotation_lasts(
    plugin: Any, robot: dict[str, Any], credentials: Any, check_mode: bool
) -> None:
    credentials.check_mode = check_mode
    hosts = [seen(robot, LATER)]
    task = SimpleNamespace(args={"names": ["ci"], "hosts": hosts, "overlap": 60})
    action = plugin.ActionModule.__new__(plugin.ActionModule)
    action._task = task
    now = datetime.fromisoformat(NOW)
    answer = action._rotated(credentials, now)
    assert answer["lasting"] == {"ci": LATER}
    known = {**robot, "previous": {"hash": "$2b$04$old", "until": LATER}}
    asked = plugin.Rotation.of(answer, now)
    assert plugin.robot_entry("ci", known, credentials, asked) == known


def test_without_overlap_a_secret_is_made_whatever_lasts(
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    assert planned(plugin, credentials, seen(robot, LATER), overlap=0) == (["ci"], {})


def test_a_rotation_from_another_copy_of_the_inventory_is_named(
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    credentials.generate("ci", replace=True, size=32)
    with pytest.raises(plugin.AnsibleActionFail) as caught:
        planned(plugin, credentials, seen(robot, LATER))
    assert str(caught.value) == (
        "robot: ci has been given a new secret from another copy of this inventory, whose "
        f"credentials/ci this one lacks; the former secret is valid until {LATER}. Take the file "
        "from there, or write -e overlap=0, which refuses both at once. Nothing was changed."
    )


def rotated(plugin: Any, credentials: Any, hosts: list[Any], others: Any, **more: Any) -> Any:
    """The answer of `rotated` for the robot ci, and its warnings."""
    action = plugin.ActionModule.__new__(plugin.ActionModule)
    action._task = SimpleNamespace(args={"names": ["ci"], "hosts": hosts, "overlap": 60} | more)
    warnings: list[str] = []
    action._display = SimpleNamespace(warning=warnings.append)
    answer = action._rotated(credentials, datetime.fromisoformat(NOW), others)
    return answer, warnings


UNTIL = "2026-11-25T00:01:00Z"


def limited(plugin: Any, credentials: Any, robot: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The record of the host `a` after a rotation with `--limit a`, that left out the host `b`."""
    answer, warnings = rotated(plugin, credentials, [seen(robot)], {"b": {"ci"}}, **more)
    when = " before " + UNTIL + ", when the former one is refused here" if not more else ""
    assert warnings == [
        "robot: ci is also on b, which this run leaves out and where the new secret does not work "
        f"yet: run playbooks/rotate_robots.yml -e robot=ci --limit b from here{when}"
    ]
    asked = plugin.Rotation.of(answer, datetime.fromisoformat(NOW))
    made: dict[str, Any] = plugin.robot_entry("ci", robot, credentials, asked)
    assert made["generated"] != robot["generated"]
    return made


@pytest.mark.parametrize("overlap", [{}, {"overlap": 0}], ids=["overlap", "no overlap"])
def test_a_host_that_a_limited_rotation_left_out_gets_the_same_secret_later(
    plugin: Any, robot: dict[str, Any], credentials: Any, overlap: dict[str, int]
) -> None:
    one = limited(plugin, credentials, robot, **overlap)
    answer, _ = rotated(plugin, credentials, [seen(robot)], {"a": {"ci"}}, **overlap)
    assert (answer["changed"], answer["names"]) == (False, ["ci"])
    asked = plugin.Rotation.of(answer, datetime.fromisoformat(NOW))
    other = plugin.robot_entry("ci", robot, credentials, asked)
    assert other["generated"] == one["generated"]
    assert other.get("previous", {}).get("digest") == (None if overlap else robot["generated"])


def test_a_host_that_missed_two_rotations_gets_the_last_secret(
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    second = limited(plugin, credentials, robot, overlap=0)
    third = limited(plugin, credentials, second, overlap=0)
    answer, _ = rotated(plugin, credentials, [seen(robot)], {"a": {"ci"}})
    assert answer["changed"] is False
    assert third["generated"] == hashlib.sha256(credentials.read("ci").encode()).hexdigest()


def test_a_host_whose_secret_is_of_another_controller_gets_a_new_one(
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    limited(plugin, credentials, robot, overlap=0)
    foreign = {"generated": "of another controller"}
    answer, _ = rotated(plugin, credentials, [seen(foreign)], {"a": {"ci"}})
    assert answer["changed"] is True
    # And so does one where the present secret did not come from a rotation here.
    (credentials.directory / "ci").write_text("A-1b" * 10 + "xyz")
    answer, _ = rotated(plugin, credentials, [seen(robot)], {"a": {"ci"}})
    assert answer["changed"] is True


def test_without_a_limit_a_leaked_secret_is_replaced_everywhere(
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    one = limited(plugin, credentials, robot, overlap=0)
    answer, warnings = rotated(plugin, credentials, [seen(one), seen(robot)], {}, overlap=0)
    assert (answer["changed"], warnings) == (True, [])


def test_an_overlap_does_not_end_on_some_hosts_alone(
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    one = limited(plugin, credentials, robot)
    with pytest.raises(plugin.AnsibleActionFail) as caught:
        rotated(plugin, credentials, [seen(one, UNTIL)], {"b": {"ci"}}, overlap_ends=True)
    assert str(caught.value) == (
        "overlap_ends: ci is also on b, which this run leaves out: while one host takes the former "
        "secret alone and another the present one alone, no secret works on both. Run it without "
        "--limit; or, where the former secret has leaked and not every host can be reached, write "
        "-e overlap=0 instead. Nothing was changed."
    )


@pytest.mark.parametrize("remembers", [True, False])
def test_where_overlaps_end_a_host_that_missed_the_rotation_gets_the_present_secret(
    plugin: Any, robot: dict[str, Any], credentials: Any, remembers: bool
) -> None:
    one = limited(plugin, credentials, robot)
    hosts = [seen(one, UNTIL), seen(robot), {}]
    hosts[0]["ci"]["former"] = robot["generated"]
    if not remembers:
        (credentials.directory / ".rotations.json").unlink()
    answer, _ = rotated(plugin, credentials, hosts, {}, overlap_ends=True)
    asked = plugin.Rotation.of(answer, datetime.fromisoformat(NOW))
    for known in (one, robot):
        made = plugin.robot_entry("ci", known, credentials, asked)
        assert made == {key: value for key, value in one.items() if key != "previous"} | {
            "hash": made["hash"]
        }
    # Another copy of the inventory has not got it.
    (credentials.directory / "ci").unlink()
    with pytest.raises(plugin.AnsibleActionFail, match="from another copy of this inventory"):
        rotated(plugin, credentials, hosts, {}, overlap_ends=True)


def test_hosts_that_have_the_same_secret_get_none_where_overlaps_end(
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    (credentials.directory / "ci").unlink()
    hosts = [seen(robot, UNTIL), seen(robot)]
    answer, _ = rotated(plugin, credentials, hosts, {}, overlap_ends=True)
    assert (answer["names"], answer["ended"]) == ([], ["ci"])


def test_only_digests_of_former_secrets_are_kept_and_only_so_many(
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    secrets = []
    for _ in range(60):
        secrets.append(credentials.read("ci"))
        credentials.rotate("ci", [])
    path = credentials.directory / ".rotations.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not [secret for secret in secrets if secret in path.read_text()]
    digests = [hashlib.sha256(secret.encode()).hexdigest() for secret in reversed(secrets)]
    assert credentials.former("ci") == digests[:50]


def test_a_damaged_record_of_rotations_is_named(
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    path = credentials.directory / ".rotations.json"
    path.write_text("{")
    with pytest.raises(plugin.AnsibleActionFail) as caught:
        rotated(plugin, credentials, [seen(robot)], {"b": {"ci"}})
    assert str(caught.value) == (
        f"{path} is damaged. It says which secrets of robots are older than those in credentials/: "
        "bring it back from a backup; or remove it, and run playbooks/rotate_robots.yml without "
        "--limit the next time."
    )


def test_a_dry_run_of_a_limited_rotation_remembers_nothing(
    plugin: Any, robot: dict[str, Any], credentials: Any
) -> None:
    credentials.check_mode = True
    present = credentials.read("ci")
    answer, warnings = rotated(plugin, credentials, [seen(robot)], {"b": {"ci"}})
    assert (answer["changed"], len(warnings)) == (True, 1)
    assert credentials.read("ci") == present
    assert not (credentials.directory / ".rotations.json").exists()


def test_who_is_removed_is_remembered_until_readmitted(plugin: Any) -> None:
    first = plugin.remembered({}, {"ann": {}, "ben": {}}, {"ben": {}}, BEFORE)
    assert first == {"ann": BEFORE}
    # The moment stays, also where a killed run has left her among the users.
    assert plugin.remembered(first, {"ben": {}}, {"ben": {}}, NOW) == first
    assert plugin.remembered(first, {"ann": {}, "ben": {}}, {}, NOW) == first | {"ben": NOW}
    assert plugin.remembered(first, {"ben": {}}, {"ann": {}, "ben": {}}, NOW) == {}


def test_of_very_many_who_were_removed_the_newest_are_remembered(plugin: Any) -> None:
    before = {f"u{number:05}": BEFORE for number in range(plugin.REMOVED)}
    found = plugin.remembered(before, {"ann": {}}, {}, NOW)
    assert len(found) == plugin.REMOVED
    assert found["ann"] == NOW
    assert "u00000" not in found


def test_a_generated_password_is_on_the_disk_before_the_host_gets_its_hash(
    credentials: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path.name, [file.name for file in credentials.directory.iterdir()]))

    monkeypatch.setattr(os, "fsync", fsync)
    for replace in (False, True):
        synced.clear()
        credentials.generate("u", replace=replace)
        assert len(synced) == 2 and synced[0][0].startswith(".u.")
        assert synced[1] == ("credentials", ["u"])


@pytest.mark.parametrize("umask", [0o077, 0o000], ids=oct)
def test_a_generated_password_is_its_owner_s_whatever_the_umask(
    credentials: Any, umask: int
) -> None:
    before = os.umask(umask)
    try:
        credentials.generate("u", replace=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE(credentials.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((credentials.directory / "u").stat().st_mode) == 0o600
