"""While nobody looks: when each timer's job last succeeded, and what is told of one that ended
without a word (systemd's OnFailure=, or what stands for it in a crontab).

A success is an empty file's time: that can be set on a disk without room too.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...deployment.fixed import JOB_UNIT, JOBS, RENEW, WATCHED
from ..contents import reports
from ..system.context import Host
from ..system.durations import in_words
from ..system.errors import HostError
from ..system.files import exists, read_text
from . import alert

# Seconds between two runs of the renewals' timer.
_RENEWALS = 900.0
_DAY = 86400.0
# Of which a job says itself why.
_SAID = 1


def succeeded(host: Host, job: str) -> None:
    """The job has done what it should."""
    path = _path(host, job)
    with suppress(OSError):
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        path.touch(mode=0o600)


def last_success(host: Host, job: str) -> float | None:
    """When the job last succeeded (seconds since 1970); None for never."""
    with suppress(OSError):
        return _path(host, job).stat().st_mtime
    # As an earlier version of this program has left it.
    report = reports.last_report(host, job) if job in JOBS else None
    return float(report["at"]) if report is not None and report["ok"] else None


def _path(host: Host, job: str) -> Path:
    return host.paths.var / "succeeded" / job


def intervals(host: Host) -> dict[str, float]:
    """Job → seconds between two runs, of those that a timer runs here."""
    if not exists(host.paths.certificate_settings):
        return {}
    seconds = {RENEW: _RENEWALS}
    with suppress(OSError, ValueError, TypeError, AttributeError):
        every = json.loads(read_text(host.paths.contents_settings) or "{}").get("every") or {}
        seconds |= {job: float(every[job]) for job in JOBS if every.get(job)}
    return seconds


def since(host: Host, job: str) -> float | None:
    """When the job last succeeded, or, before it ever did, when its timer was set up."""
    settings = host.paths.certificate_settings if job == RENEW else host.paths.contents_settings
    moment = last_success(host, job)
    if moment is None:
        with suppress(OSError):
            moment = settings.stat().st_mtime
    return moment


def overdue(host: Host, watched: Iterable[str] = WATCHED) -> list[str]:
    """Those of `watched` that a timer runs and that have not succeeded for two turns and a day, in
    which the host was up; one sentence each."""
    now = host.clock.now()
    # Before the boot no timer ran.
    boot = now - host.clock.monotonic()
    sentences = []
    every_of = intervals(host)
    for job in watched:
        every = every_of.get(job, math.inf)
        last = since(host, job)
        if last is not None and now - max(last, boot) > 2 * every + _DAY:
            day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(last))
            unit = "wharfinger-renew" if job == RENEW else f"{JOB_UNIT}{job}"
            sentences.append(
                f"{job}: it has not succeeded since {day}, though it is due every "
                f"{_interval(every)}: "
                f"see `systemctl status {unit}.timer` and `journalctl -u {unit}`"
            )
    return sentences


def _interval(seconds: float) -> str:
    """What follows `every`."""
    if seconds == _DAY:
        return "day"
    return in_words(seconds, ("day", "minute"), least=1, rounded=True)


def failed(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`failed`: the unit of a timer has failed. What its program has not said itself is told: that
    it was killed, or could not even leave its report.

    Request: {"unit": "wharfinger-renew.service" | "wharfinger-contents@JOB.service", "code": the
    exit code where there is no systemd, else null}. For a job of the contents it leaves a report,
    which `status`, the metrics and the next renewal tell of.
    """
    unit = str(request["unit"])
    job = unit.removesuffix(".service").partition("@")[2] or RENEW
    if job not in WATCHED:
        raise HostError(f"failed: {unit!r} is no unit of a timer: one of {', '.join(WATCHED)}")
    code = request.get("code")
    ended, said = _ended(host, unit) if code is None else _coded(int(code))
    if said and (job == RENEW or _reported(host, job)):
        return {"actions": []}
    problem = HostError(
        f"{job}: {ended} and what it should have done is not done: `journalctl -u {unit}` has its "
        "last words, the kernel's log (`dmesg`) says whether memory ran out"
    )
    if check:
        return {"actions": [str(problem)]}
    if job != RENEW:
        with suppress(OSError):
            reports.report_failure(host, job, problem)
            return {"actions": [f"{job}: its report says that it failed: {ended}"]}
    # Nothing else would tell of it.
    failure = alert.last_resort(host, str(problem))
    if failure is not None:
        raise HostError(f"{problem}\n{failure}")
    return {"actions": [f"told: {problem}"]}


def _reported(host: Host, job: str) -> bool:
    report = reports.last_report(host, job)
    return report is not None and not report["ok"]


def _ended(host: Host, unit: str) -> tuple[str, bool]:
    """How a unit ended, in words, and whether its program will have said why."""
    said = host.runner.run(["systemctl", "show", unit, "--property=Result,ExecMainStatus"])
    properties = dict(line.partition("=")[::2] for line in said.output.splitlines())
    result, status = properties.get("Result", ""), properties.get("ExecMainStatus", "")
    if result == "exit-code" and status.isdecimal():
        return _coded(int(status))
    if result in ("signal", "core-dump") and status.isdecimal():
        return _coded(128 + int(status))
    return f"it ended ({result or 'systemd does not say how'})", False


def _coded(code: int) -> tuple[str, bool]:
    """The same of an exit code, as a shell has it."""
    if code > 128:
        with suppress(ValueError):
            return f"it was killed ({signal.Signals(code - 128).name})", False
    return f"it ended with exit code {code}", code == _SAID
