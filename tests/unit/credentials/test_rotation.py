"""New secrets for robots, on all hosts or on some of them."""

from __future__ import annotations

import hashlib
import stat
from datetime import datetime
from typing import Any

import pytest

from wharfinger.credentials.errors import CredentialsError
from wharfinger.credentials.folder import Credentials
from wharfinger.credentials.records import robot_record
from wharfinger.credentials.rotation import Rotation, overlap_lasts, plan, rotate

from .conftest import BEFORE, LATER, NOW


def planned(credentials: Credentials, *hosts: dict[str, Any], overlap: int = 60) -> Any:
    return plan(["ci"], list(hosts), credentials, overlap, NOW)


def seen(robot: dict[str, Any], until: str | None = None) -> dict[str, Any]:
    """What `observe` says about this robot."""
    return {"ci": {"generated": robot["generated"], "until": until}}


def test_a_rotation_begins_where_no_former_secret_is_valid(
    robot: dict[str, Any], credentials: Credentials
) -> None:
    assert planned(credentials, {}, {}) == (["ci"], {})
    assert planned(credentials, seen(robot), seen(robot, BEFORE)) == (["ci"], {})


def test_a_rotation_that_reached_some_hosts_goes_on_with_its_secret(
    robot: dict[str, Any], credentials: Credentials
) -> None:
    before = {"generated": "of the former one"}
    assert planned(credentials, seen(robot, LATER), seen(before)) == ([], {})


def test_a_rotation_that_lasts_everywhere_is_not_begun_again(
    robot: dict[str, Any], credentials: Credentials
) -> None:
    lasting = planned(credentials, seen(robot, LATER), seen(robot, LATER), {})
    assert lasting == ([], {"ci": LATER})
    assert overlap_lasts(lasting[1]) == (
        f"the secret before the present one is still valid for ci (until {LATER}), and a robot has "
        "no more than two: wait until then, or write -e overlap_ends=now to refuse the former one "
        "at once, or -e overlap=0 for a new secret that refuses both"
    )


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_dry_run_too_finds_nothing_to_begin_where_a_rotation_lasts(
    robot: dict[str, Any], credentials: Credentials, check_mode: bool
) -> None:
    credentials.check_mode = check_mode
    answer, _ = rotated(credentials, [seen(robot, LATER)], {})
    assert answer["lasting"] == {"ci": LATER}
    known = {**robot, "previous": {"hash": "$2b$04$old", "until": LATER}}
    rotation = Rotation.of(answer, datetime.fromisoformat(NOW))
    assert robot_record("ci", known, credentials, rotation) == known


def test_without_overlap_a_secret_is_made_whatever_lasts(
    robot: dict[str, Any], credentials: Credentials
) -> None:
    assert planned(credentials, seen(robot, LATER), overlap=0) == (["ci"], {})


def test_a_rotation_from_another_copy_of_the_inventory_is_named(
    robot: dict[str, Any], credentials: Credentials
) -> None:
    credentials.generate("ci", replace=True, size=32)
    with pytest.raises(CredentialsError) as caught:
        planned(credentials, seen(robot, LATER))
    assert str(caught.value) == (
        "robot: ci has been given a new secret from another copy of this inventory, whose "
        f"credentials/ci this one lacks; the former secret is valid until {LATER}. Take the file "
        "from there, or write -e overlap=0, which refuses both at once. Nothing was changed."
    )


def rotated(
    credentials: Credentials, hosts: list[Any], others: Any, **more: Any
) -> tuple[dict[str, Any], list[str]]:
    """The answer of a rotation of the robot ci, and its warnings."""
    now = datetime.fromisoformat(NOW)
    return rotate(credentials, ["ci"], hosts, others, now, **{"overlap": 60, **more})


UNTIL = "2026-11-25T00:01:00Z"


def limited(credentials: Credentials, robot: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The record of host `a` after a rotation with `--limit a`, which leaves out host `b`."""
    answer, warnings = rotated(credentials, [seen(robot)], {"b": {"ci"}}, **more)
    when = " before " + UNTIL + ", when the former one is refused here" if not more else ""
    assert warnings == [
        "robot: ci is also on b, which this run leaves out and where the new secret does not work "
        f"yet: run playbooks/rotate_robots.yml -e robot=ci --limit b from here{when}"
    ]
    rotation = Rotation.of(answer, datetime.fromisoformat(NOW))
    made: dict[str, Any] = robot_record("ci", robot, credentials, rotation)
    assert made["generated"] != robot["generated"]
    return made


@pytest.mark.parametrize("overlap", [{}, {"overlap": 0}], ids=["overlap", "no overlap"])
def test_a_host_that_a_limited_rotation_left_out_gets_the_same_secret_later(
    robot: dict[str, Any], credentials: Credentials, overlap: dict[str, int]
) -> None:
    record = limited(credentials, robot, **overlap)
    answer, _ = rotated(credentials, [seen(robot)], {"a": {"ci"}}, **overlap)
    assert (answer["changed"], answer["names"]) == (False, ["ci"])
    rotation = Rotation.of(answer, datetime.fromisoformat(NOW))
    other = robot_record("ci", robot, credentials, rotation)
    assert other["generated"] == record["generated"]
    assert other.get("previous", {}).get("digest") == (None if overlap else robot["generated"])


def test_a_host_that_missed_two_rotations_gets_the_last_secret(
    robot: dict[str, Any], credentials: Credentials
) -> None:
    second = limited(credentials, robot, overlap=0)
    third = limited(credentials, second, overlap=0)
    answer, _ = rotated(credentials, [seen(robot)], {"a": {"ci"}})
    assert answer["changed"] is False
    assert third["generated"] == hashlib.sha256(credentials.read("ci").encode()).hexdigest()


def test_a_host_whose_secret_is_of_another_controller_gets_a_new_one(
    robot: dict[str, Any], credentials: Credentials
) -> None:
    limited(credentials, robot, overlap=0)
    foreign = {"generated": "of another controller"}
    answer, _ = rotated(credentials, [seen(foreign)], {"a": {"ci"}})
    assert answer["changed"] is True
    # The same holds if the present secret did not come from a rotation here.
    (credentials.directory / "ci").write_text("A-1b" * 10 + "xyz")
    answer, _ = rotated(credentials, [seen(robot)], {"a": {"ci"}})
    assert answer["changed"] is True


def test_without_a_limit_a_leaked_secret_is_replaced_everywhere(
    robot: dict[str, Any], credentials: Credentials
) -> None:
    record = limited(credentials, robot, overlap=0)
    answer, warnings = rotated(credentials, [seen(record), seen(robot)], {}, overlap=0)
    assert (answer["changed"], warnings) == (True, [])


def test_an_overlap_does_not_end_on_some_hosts_alone(
    robot: dict[str, Any], credentials: Credentials
) -> None:
    record = limited(credentials, robot)
    with pytest.raises(CredentialsError) as caught:
        rotated(credentials, [seen(record, UNTIL)], {"b": {"ci"}}, overlap_ends=True)
    assert str(caught.value) == (
        "overlap_ends: ci is also on b, which this run leaves out: while one host takes the former "
        "secret alone and another the present one alone, no secret works on both. Run it without "
        "--limit; or, where the former secret has leaked and not every host can be reached, write "
        "-e overlap=0 instead. Nothing was changed."
    )


@pytest.mark.parametrize("remembers", [True, False])
def test_a_host_that_missed_a_rotation_gets_the_present_secret_when_overlaps_end(
    robot: dict[str, Any], credentials: Credentials, remembers: bool
) -> None:
    record = limited(credentials, robot)
    hosts = [seen(record, UNTIL), seen(robot), {}]
    hosts[0]["ci"]["former"] = robot["generated"]
    if not remembers:
        (credentials.directory / ".rotations.json").unlink()
    answer, _ = rotated(credentials, hosts, {}, overlap_ends=True)
    rotation = Rotation.of(answer, datetime.fromisoformat(NOW))
    for known in (record, robot):
        made = robot_record("ci", known, credentials, rotation)
        assert made == {key: value for key, value in record.items() if key != "previous"} | {
            "hash": made["hash"]
        }
    # Another copy of the inventory does not have it.
    (credentials.directory / "ci").unlink()
    with pytest.raises(CredentialsError, match="from another copy of this inventory"):
        rotated(credentials, hosts, {}, overlap_ends=True)


def test_hosts_that_have_the_same_secret_get_none_where_overlaps_end(
    robot: dict[str, Any], credentials: Credentials
) -> None:
    (credentials.directory / "ci").unlink()
    hosts = [seen(robot, UNTIL), seen(robot)]
    answer, _ = rotated(credentials, hosts, {}, overlap_ends=True)
    assert (answer["names"], answer["ended"]) == ([], ["ci"])


def test_only_digests_of_former_secrets_are_kept_and_only_so_many(
    robot: dict[str, Any], credentials: Credentials
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
    robot: dict[str, Any], credentials: Credentials
) -> None:
    path = credentials.directory / ".rotations.json"
    path.write_text("{")
    with pytest.raises(CredentialsError) as caught:
        rotated(credentials, [seen(robot)], {"b": {"ci"}})
    assert str(caught.value) == (
        f"{path} is damaged. It says which secrets of robots are older than those in "
        "credentials/: restore it from a backup; or remove it, and run "
        "playbooks/rotate_robots.yml without --limit the next time."
    )


def test_a_dry_run_of_a_limited_rotation_remembers_nothing(
    robot: dict[str, Any], credentials: Credentials
) -> None:
    credentials.check_mode = True
    present = credentials.read("ci")
    answer, warnings = rotated(credentials, [seen(robot)], {"b": {"ci"}})
    assert (answer["changed"], len(warnings)) == (True, 1)
    assert credentials.read("ci") == present
    assert not (credentials.directory / ".rotations.json").exists()
