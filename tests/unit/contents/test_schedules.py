"""When the host's timers run."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from wharfinger.contents import schedule, timers


@pytest.mark.parametrize(
    ("text", "calendar", "cron"),
    [
        ("daily 03:30", "*-*-* 03:30:00", "30 3 * * *"),
        ("mon 00:05", "Mon *-*-* 00:05:00", "5 0 * * 1"),
        ("sat 12:00", "Sat *-*-* 12:00:00", "0 12 * * 6"),
        ("sun 23:59", "Sun *-*-* 23:59:00", "59 23 * * 0"),
        ("monthly 04:30", "*-*-01 04:30:00", "30 4 1 * *"),
    ],
)
def test_a_schedule_for_systemd_and_cron(text: str, calendar: str, cron: str) -> None:
    parsed = schedule(text)
    assert parsed is not None
    assert (parsed.calendar, parsed.cron, str(parsed)) == (calendar, cron, text)
    if shutil.which("systemd-analyze"):
        said = subprocess.run(
            ["systemd-analyze", "calendar", calendar], capture_output=True, text=True, check=False
        )
        assert said.returncode == 0, said.stderr


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("03:30", "daily 03:30"),
        ("daily 3:30", "daily 03:30"),
        ("DAILY  03:30", "daily 03:30"),
        ("weekly 03:30", "sun 03:30"),
        ("Wednesday 3:30", "wed 03:30"),
        ("thurs 03:30", "thu 03:30"),
        ("03:30 fri", "fri 03:30"),
    ],
)
def test_an_almost_correct_schedule_is_answered_with_the_correct_one(text: str, meant: str) -> None:
    with pytest.raises(ValueError) as refused:
        schedule(text)
    assert str(refused.value) == meant
    assert schedule(meant) is not None


@pytest.mark.parametrize(
    "text", ["daily", "t 03:30", "someday 03:30", "mon tue 03:30", "daily 03:60", "*:0/15", " "]
)
def test_any_other_text_is_answered_with_examples(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        schedule(text)
    assert str(refused.value) == 'daily 03:30, sun 03:30, monthly 03:30, or "" for never'


NEVER = {
    "registry_retention_schedule": "",
    "registry_gc_schedule": "",
    "registry_check_schedule": "",
    "backup_schedule": "",
    "backup_drill_schedule": "",
    "registry_mirrors_schedule": "",
    "base_images_schedule": "",
}


def test_an_empty_schedule_has_no_timer() -> None:
    assert schedule("") is None
    assert timers(NEVER) == {}


def test_each_job_has_its_timer_and_accepts_pushes_again() -> None:
    jobs = timers(
        NEVER
        | {
            "registry_retention_schedule": "daily 03:00",
            "registry_gc_schedule": "sun 03:00",
            "registry_check_schedule": "monthly 04:30",
            "registry_mirrors_schedule": "daily 01:15",
        }
    )
    assert list(jobs) == ["retention", "collect", "check_contents", "mirror"]
    # It keeps nobody waiting, and refuses no pushes.
    assert jobs["mirror"]["command"] == (
        "nice -n 19 ionice -c 3 wharfinger-host mirror || wharfinger-host failed "
        "--unit wharfinger-contents@mirror.service --code $?"
    )
    assert jobs["collect"] == {
        "job": "collect",
        "variable": "registry_gc_schedule",
        "calendar": "Sun *-*-* 03:00:00",
        "cron": "0 3 * * 0",
        "command": "wharfinger-host collect || wharfinger-host failed "
        "--unit wharfinger-contents@collect.service --code $?; wharfinger-host reopen",
    }
    assert jobs["retention"]["command"].endswith("; wharfinger-host reopen")
