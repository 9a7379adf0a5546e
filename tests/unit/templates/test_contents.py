"""What starts the jobs on a host: systemd's units, or cron."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import jinja2
import pytest

from wharfinger.contents import timers

TEMPLATES = Path(__file__).resolve().parents[3] / "templates"
ALL = {
    "registry_retention_schedule": "sun 03:30",
    "registry_gc_schedule": "sun 03:30",
    "registry_check_schedule": "monthly 04:30",
    "backup_schedule": "",
    "backup_drill_schedule": "",
    "registry_mirrors_schedule": "",
    "base_images_schedule": "",
}

BACKUPS = {"backup_schedule": "daily 01:30", "backup_drill_schedule": "sun 05:30"}


def rendered(name: str, **variables: object) -> str:
    """A template as Ansible renders it."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader,
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(name).render(**variables)


def lines(schedules: dict[str, str]) -> list[str]:
    """The jobs' lines of the crontab."""
    text = rendered("cron.d/wharfinger-contents.j2", timers=timers(schedules))
    return [line for line in text.splitlines() if " root " in line]


def test_cron_runs_what_is_due_at_once_one_after_the_other_tags_first() -> None:
    log = "2>&1 >/dev/null | logger -t wharfinger-contents -p daemon.err"
    failed = "|| wharfinger-host failed --unit wharfinger-contents@{}.service --code $?"
    assert lines(ALL) == [
        f"30 3 * * 0 root {{ wharfinger-host retention {failed.format('retention')}; "
        f"wharfinger-host reopen; wharfinger-host collect {failed.format('collect')}; "
        f"wharfinger-host reopen; }} {log}",
        "30 4 1 * * root { nice -n 19 ionice -c 3 wharfinger-host check_contents "
        f"{failed.format('check_contents')}; }} {log}",
    ]
    assert len(lines(ALL | {"registry_gc_schedule": "", "registry_check_schedule": ""})) == 1


def test_cron_runs_a_drill_with_the_lowest_priority() -> None:
    drill = lines(ALL | BACKUPS)[-1]
    assert drill.startswith("30 5 * * 0 root { nice -n 19 ionice -c 3 wharfinger-host drill || ")


RENEWALS = [line for line in rendered("cron.d/wharfinger.j2").splitlines() if " root " in line]


@pytest.mark.parametrize("line", [*lines(ALL), *RENEWALS])
def test_crons_lines_are_shell(line: str) -> None:
    command = line.partition(" root ")[2]
    # To cron, a percent sign is the end of the command.
    assert "%" not in command
    said = subprocess.run(["sh", "-n", "-c", command], capture_output=True, check=False)
    assert said.returncode == 0, said.stderr


def test_only_a_missed_scrub_is_made_up_for() -> None:
    made_up = {
        job: "Persistent=true" in rendered("systemd/wharfinger-contents.timer.j2", timer=timer)
        for job, timer in timers(ALL | BACKUPS).items()
    }
    assert made_up == {
        **{"retention": False, "collect": False},
        **{"check_contents": True, "backup": True, "drill": True},
    }


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    names = [
        "wharfinger-contents@.service",
        "wharfinger-failed@.service",
        "wharfinger-renew.service",
        *(
            f"wharfinger-contents@{job}.service.d/wharfinger.conf"
            for job in ("collect", "check_contents")
        ),
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        text = rendered(f"systemd/{name}.j2")
        (tmp_path / name).write_text(text.replace("/usr/local/sbin/wharfinger-host", "/bin/true"))
    units = [f"wharfinger-contents@{job}.service" for job in timers(ALL)]
    failed = "wharfinger-failed@{}.service"
    units += ["wharfinger-renew.service", *(failed.format(unit) for unit in [*units])]
    for job, settings in timers(ALL).items():
        name = f"wharfinger-contents@{job}.timer"
        (tmp_path / name).write_text(
            rendered("systemd/wharfinger-contents.timer.j2", timer=settings)
        )
        units.append(name)
    said = subprocess.run(
        ["systemd-analyze", "verify", *units],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, "wharfinger" in said.stderr) == (0, False), said.stderr
