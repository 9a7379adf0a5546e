"""When the host's timers run: `daily 03:30`, `sun 03:30`, `monthly 03:30`, or never."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EXAMPLES = 'daily 03:30, sun 03:30, monthly 03:30, or "" for never'
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})")


@dataclass(frozen=True, slots=True)
class Schedule:
    """A time every day, on one day of every week, or on the first day of every month."""

    every: str
    hour: int
    minute: int

    def __str__(self) -> str:
        return f"{self.every} {self.hour:02}:{self.minute:02}"

    @property
    def calendar(self) -> str:
        """The schedule in the format of systemd.time(7), in the host's own time."""
        day = {"daily": "*-*-*", "monthly": "*-*-01"}.get(
            self.every, f"{self.every.capitalize()} *-*-*"
        )
        return f"{day} {self.hour:02}:{self.minute:02}:00"

    @property
    def seconds(self) -> int:
        """The longest time from one run to the next."""
        return {"daily": 1, "monthly": 31}.get(self.every, 7) * 86400

    @property
    def cron(self) -> str:
        """The five fields of crontab(5)."""
        day = "1" if self.every == "monthly" else "*"
        weekday = str((DAYS.index(self.every) + 1) % 7) if self.every in DAYS else "*"
        return f"{self.minute} {self.hour} {day} * {weekday}"


def schedule(text: str) -> Schedule | None:
    """The schedule in the text; None for "". Raises ValueError with what to write instead."""
    if text == "":
        return None
    words = text.split()
    times = [_TIME.fullmatch(word) for word in words]
    time = next((match for match in times if match), None)
    if time is None or int(time[1]) > 23 or int(time[2]) > 59:
        raise ValueError(EXAMPLES)
    others = [word for word, match in zip(words, times, strict=True) if not match]
    every = _meant(others[0]) if len(others) == 1 else None
    if every is None:
        # A time alone means every day.
        plain = Schedule("daily", int(time[1]), int(time[2]))
        raise ValueError(str(plain) if not others else EXAMPLES)
    parsed = Schedule(every, int(time[1]), int(time[2]))
    if text != str(parsed):
        raise ValueError(str(parsed))
    return parsed


def _meant(word: str) -> str | None:
    word = word.lower()
    if word in ("daily", "monthly"):
        return word
    if word == "weekly":
        return "sun"
    names = ("mondays", "tuesdays", "wednesdays", "thursdays", "fridays", "saturdays", "sundays")
    fits = [day for day, name in zip(DAYS, names, strict=True) if name.startswith(word)]
    return fits[0] if len(fits) == 1 and len(word) > 1 else None


_REOPEN = "; wharfinger-host reopen"
_BESIDE = "nice -n 19 ionice -c 3 wharfinger-host"
# Job of the host program → its variable, and its command in a crontab, in two parts. In the order
# in which jobs run that are due at once: tags are removed first, then their space is freed.
_JOBS = {
    "retention": ("registry_retention_schedule", "wharfinger-host retention", _REOPEN),
    "collect": ("registry_gc_schedule", "wharfinger-host collect", _REOPEN),
    "check_contents": ("registry_check_schedule", f"{_BESIDE} check_contents", ""),
    "backup": ("backup_schedule", "wharfinger-host backup", ""),
    "drill": ("backup_drill_schedule", f"{_BESIDE} drill", ""),
    "mirror": ("registry_mirrors_schedule", f"{_BESIDE} mirror", ""),
    "base_images": ("base_images_schedule", f"{_BESIDE} base_images", ""),
}
# systemd does this by OnFailure=.
_FAILED = "wharfinger-host failed --unit wharfinger-contents@{}.service --code $?"


def timers(schedules: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Job of the host program → its timer: job, variable, calendar, cron (the fields), command.

    schedules: variable → its value in the inventory; a job with an empty one has no timer. Raises
    ValueError for a text that is not a schedule.
    """
    entries = {}
    for job, (variable, command, afterwards) in _JOBS.items():
        when = schedule(schedules[variable])
        if when is not None:
            entries[job] = {
                "job": job,
                "variable": variable,
                "calendar": when.calendar,
                "cron": when.cron,
                "command": f"{command} || {_FAILED.format(job)}{afterwards}",
            }
    return entries


def intervals(schedules: Mapping[str, str]) -> dict[str, int]:
    """Job of the host program → seconds from one run of its timer to the next. As `timers`."""
    parsed = {job: schedule(schedules[variable]) for job, (variable, *_) in _JOBS.items()}
    return {job: when.seconds for job, when in parsed.items() if when is not None}
