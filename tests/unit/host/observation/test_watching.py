"""When a timer's job last succeeded, and jobs that ended without a message."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.host.world import FakeRunner, Machine, deployed
from wharfinger.deployment.fixed import JOBS
from wharfinger.host.commands import run
from wharfinger.host.contents import reports
from wharfinger.host.observation import watching
from wharfinger.host.system.context import Host
from wharfinger.host.system.errors import HostError
from wharfinger.host.system.runner import Result, SystemRunner

DAY = 86400.0
NOW = 1_800_000_000.0
COLLECT = "wharfinger-contents@collect.service"
RENEW = "wharfinger-renew.service"


@pytest.fixture
def host(tmp_path: Path, machine: Machine) -> Host:
    """A host with a weekly collection that was just set up."""
    machine.seconds = NOW
    host = deployed(tmp_path, machine)
    settings = {"storage_path": str(tmp_path), "every": {"collect": 7 * DAY}}
    host.paths.contents_settings.write_text(json.dumps(settings))
    host.paths.certificates.mkdir(exist_ok=True)
    alarm = {"hostname": "r.example.com", "alert_command": f"cat >>{tmp_path}/alerts"}
    host.paths.certificate_settings.write_text(json.dumps(alarm))
    for path in (host.paths.contents_settings, host.paths.certificate_settings):
        os.utime(path, (NOW, NOW))
    return host


def alerts(host: Host) -> str:
    path = host.paths.etc.parent / "alerts"
    return path.read_text() if path.exists() else ""


def ended(host: Host, result: str, status: int) -> None:
    """systemd's answer about a unit; a real shell sends alarms."""
    runner = host.runner
    assert isinstance(runner, FakeRunner)
    real = SystemRunner()

    class Both(FakeRunner):
        def run(self, arguments: Any, **more: Any) -> Result:
            if arguments[0] == "systemctl":
                return Result(0, f"Result={result}\nExecMainStatus={status}\n", "")
            return real.run(arguments, **more)

    host.runner = Both()


def success(host: Host, job: str, at: float) -> None:
    watching.succeeded(host, job)
    os.utime(host.paths.var / "succeeded" / job, (at, at))


def test_a_job_that_does_not_succeed_for_two_turns_and_a_day_is_named(
    host: Host, machine: Machine
) -> None:
    success(host, "renew", NOW)
    success(host, "collect", NOW)
    machine.seconds = NOW + 15 * DAY - 1
    assert watching.overdue(host, JOBS) == []
    machine.seconds += 2
    assert watching.overdue(host, JOBS) == [
        "collect: it has not succeeded since 2027-01-15 08:00 UTC, though it is due every 7 days: "
        "see `systemctl status wharfinger-contents@collect.timer` and "
        "`journalctl -u wharfinger-contents@collect`"
    ]
    renewals = watching.overdue(host)[0]
    assert renewals.startswith("renew: it has not succeeded since 2027-01-15 08:00 UTC, though it")
    assert "is due every 15 minutes: see `systemctl status wharfinger-renew.timer`" in renewals
    assert watching.overdue(host)[0] in run("status", {}, host=host)["problems"]


def backups(host: Host) -> None:
    """A daily backup and a weekly drill, which have just succeeded."""
    settings = {"storage_path": "/x", "every": {"backup": DAY, "drill": 7 * DAY}}
    host.paths.contents_settings.write_text(json.dumps(settings))
    for job in ("renew", "backup", "drill"):
        success(host, job, NOW)


def test_a_backup_is_late_after_two_intervals_also_if_the_host_was_off(
    host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups(host)
    monkeypatch.setattr(host.clock, "monotonic", lambda: 3600.0)
    machine.seconds = NOW + 2 * DAY - 1
    assert watching.of_backups(host) == []
    machine.seconds += 2
    assert watching.of_backups(host) == [
        "backup: it has not succeeded since 2027-01-15 08:00 UTC, though it is due every day: see "
        "`systemctl status wharfinger-contents@backup.timer` and "
        "`journalctl -u wharfinger-contents@backup`"
    ]
    assert watching.of_backups(host)[0] in run("status", {}, host=host)["problems"]


def test_a_drill_is_late_after_two_intervals_and_a_day(host: Host, machine: Machine) -> None:
    backups(host)
    success(host, "backup", NOW + 15 * DAY)
    machine.seconds = NOW + 15 * DAY - 1
    assert watching.of_backups(host) == []
    machine.seconds += 2
    assert watching.of_backups(host)[0].startswith(
        "drill: it has not succeeded since 2027-01-15 08:00 UTC, though it is due every 7 days: "
    )


def test_a_backup_or_drill_that_failed_is_one_line(host: Host) -> None:
    backups(host)
    reports.report_failure(host, "backup", HostError("backup: the disk is full"))
    reports.report_failure(host, "drill", HostError("drill: it could not be restored whole:\na\nb"))
    reports.report_failure(host, "collect", HostError("collect: not a backup"))
    assert watching.of_backups(host) == [
        "backup: the disk is full",
        "drill: it could not be restored whole: `sudo wharfinger-host status` on the host says "
        "which",
    ]


def test_before_its_first_success_a_job_is_due_from_when_its_timer_was_set_up(
    host: Host, machine: Machine
) -> None:
    machine.seconds = NOW + 14 * DAY
    assert watching.overdue(host, JOBS) == []
    machine.seconds = NOW + 16 * DAY
    assert len(watching.overdue(host, JOBS)) == 1


def test_the_time_for_which_a_host_was_off_does_not_count(
    host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    success(host, "collect", NOW)
    machine.seconds = NOW + 40 * DAY
    monkeypatch.setattr(host.clock, "monotonic", lambda: 3600.0)
    assert watching.overdue(host) == []


def test_without_a_timer_nothing_is_due(host: Host, machine: Machine) -> None:
    host.paths.contents_settings.write_text('{"every": {}}')
    success(host, "renew", NOW + 99 * DAY)
    machine.seconds = NOW + 99 * DAY
    assert watching.overdue(host) == []
    # Settings of an earlier version, and of none.
    host.paths.contents_settings.write_text("{}")
    assert watching.overdue(host) == []
    host.paths.certificate_settings.unlink()
    assert watching.intervals(host) == {}


def test_a_report_of_an_earlier_version_counts_as_a_success(host: Host) -> None:
    report = {"job": "collect", "at": NOW - DAY, "seconds": 1, "ok": True, "problem": None}
    host.paths.reports.mkdir()
    (host.paths.reports / "collect.json").write_text(
        json.dumps({**report, "untagged": 0, "freed": 0})
    )
    assert watching.last_success(host, "collect") == NOW - DAY
    assert watching.last_success(host, "retention") is None


def test_successes_are_noted_and_failures_and_waits_are_not(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = [HostError("no"), {"actions": [], "waits": True}, {"actions": []}]

    def answer(*_: Any) -> Any:
        outcome = answers.pop(0)
        if isinstance(outcome, HostError):
            raise outcome
        return outcome

    monkeypatch.setattr("wharfinger.host.commands._run", answer)
    with pytest.raises(HostError):
        run("collect", {}, host=host)
    assert watching.last_success(host, "collect") is None
    run("collect", {}, host=host)
    assert watching.last_success(host, "collect") is None
    run("collect", {}, host=host)
    assert watching.last_success(host, "collect") is not None


@pytest.mark.parametrize(
    ("result", "status", "words"),
    [
        ("signal", 9, "it was killed (SIGKILL)"),
        ("core-dump", 11, "it was killed (SIGSEGV)"),
        ("exit-code", 2, "it ended with exit code 2"),
        ("oom-kill", 9, "it ended (oom-kill)"),
        ("timeout", 15, "it ended (timeout)"),
    ],
)
def test_a_job_that_was_ended_leaves_a_report_that_says_so(
    host: Host, result: str, status: int, words: str
) -> None:
    ended(host, result, status)
    answer = run("failed", {"unit": COLLECT}, host=host)
    assert answer["actions"] == [f"collect: its report says that it failed: {words}"]
    assert reports.problems(host) == [
        f"collect: {words} and what it should have done is not done: `journalctl -u {COLLECT}` has "
        "its last words, the kernel's log (`dmesg`) says whether memory ran out"
    ]


def test_a_job_that_has_said_itself_why_is_left_alone(host: Host) -> None:
    reports.report_failure(host, "collect", HostError("collect: there is no room"))
    ended(host, "exit-code", 1)
    assert run("failed", {"unit": COLLECT}, host=host)["actions"] == []
    assert reports.problems(host) == ["collect: there is no room"]
    # A job that could not write its report.
    (host.paths.reports / "collect.json").unlink()
    run("failed", {"unit": COLLECT}, host=host)
    assert "it ended with exit code 1" in reports.problems(host)[0]


def test_an_alarm_is_sent_if_no_report_can_be_written(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(reports, "write_atomically", full)
    ended(host, "signal", 9)
    for _ in range(2):
        run("failed", {"unit": COLLECT}, host=host)
    assert alerts(host).count("r.example.com: collect: it was killed (SIGKILL)") == 1


def test_a_killed_renewal_is_reported_and_a_failed_renewal_has_reported_itself(
    host: Host,
) -> None:
    ended(host, "exit-code", 1)
    assert run("failed", {"unit": RENEW}, host=host)["actions"] == []
    assert alerts(host) == ""
    ended(host, "signal", 9)
    run("failed", {"unit": RENEW}, host=host)
    assert alerts(host).startswith("r.example.com: renew: it was killed (SIGKILL) and what")


def test_without_systemd_the_exit_code_is_given(host: Host) -> None:
    ended(host, "", 0)
    request = {"unit": RENEW, "code": 137}
    run("failed", request, host=host)
    assert "renew: it was killed (SIGKILL)" in alerts(host)
    assert run("failed", {"unit": RENEW, "code": 1}, host=host)["actions"] == []


def test_an_alarm_that_cannot_be_sent_is_an_error(host: Host) -> None:
    host.paths.certificate_settings.write_text(
        json.dumps({"hostname": "r", "alert_command": "exit 3"})
    )
    ended(host, "signal", 9)
    with pytest.raises(HostError, match="certificates_alert_command ended with exit code 3"):
        run("failed", {"unit": RENEW}, host=host)


def test_a_unit_that_is_none_of_a_timers(host: Host) -> None:
    with pytest.raises(HostError) as refused:
        run("failed", {"unit": "wharfinger-contents@other.service"}, host=host)
    assert str(refused.value).startswith(
        "failed: 'wharfinger-contents@other.service' is not a unit of a timer: write one of renew, "
        "retention, collect, check_contents"
    )
