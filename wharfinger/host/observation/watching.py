"""When each timer's job last succeeded, and reports about jobs that ended without a message
(systemd's OnFailure=, or its equivalent in a crontab).

A success is recorded as the time of an empty file, which can be set on a full disk too.
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

from ...deployment.fixed import BACKUP, DRILL, JOB_UNIT, JOBS, MIRROR, RENEW, WATCHED
from ..contents import reports
from ..system.context import Host
from ..system.durations import in_words
from ..system.errors import HostError
from ..system.files import exists, read_text
from . import alert

# Seconds between two runs of the renewals' timer.
_RENEWALS = 900.0
_DAY = 86400.0
# The exit code after which a job has reported the reason itself.
_SAID = 1


def succeeded(host: Host, job: str) -> None:
    """Records that the job has succeeded."""
    path = _path(host, job)
    with suppress(OSError):
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        path.touch(mode=0o600)


def last_success(host: Host, job: str) -> float | None:
    """When the job last succeeded (seconds since 1970); None if never."""
    with suppress(OSError):
        return _path(host, job).stat().st_mtime
    # An earlier version of this program only left a report.
    report = reports.last_report(host, job) if job in JOBS else None
    return float(report["at"]) if report is not None and report["ok"] else None


def _path(host: Host, job: str) -> Path:
    return host.paths.var / "succeeded" / job


def intervals(host: Host) -> dict[str, float]:
    """Job → seconds between two runs, for the jobs that a timer runs here."""
    if not exists(host.paths.certificate_settings):
        return {}
    seconds = {RENEW: _RENEWALS}
    with suppress(OSError, ValueError, TypeError, AttributeError):
        every = json.loads(read_text(host.paths.contents_settings) or "{}").get("every") or {}
        seconds |= {job: float(every[job]) for job in JOBS if every.get(job)}
    return seconds


def since(host: Host, job: str) -> float | None:
    """When the job last succeeded; if it never did, when its timer was set up."""
    settings = host.paths.certificate_settings if job == RENEW else host.paths.contents_settings
    moment = last_success(host, job)
    if moment is None:
        with suppress(OSError):
            moment = settings.stat().st_mtime
    return moment


def overdue(host: Host, watched: Iterable[str] = WATCHED) -> list[str]:
    """One sentence for each job of `watched` that has not succeeded for two intervals and a day
    while the host was up. For a backup it is two intervals, up or not: its age is what is lost with
    the host."""
    now = host.clock.now()
    # No timer ran before the boot.
    boot = now - host.clock.monotonic()
    sentences = []
    every_of = intervals(host)
    for job in watched:
        every = every_of.get(job, math.inf)
        last = since(host, job)
        # An upstream may be gone for long: that mirrors fail is reported once, not in two ways.
        if last is None or (job == MIRROR and _reported(host, job)):
            continue
        start, grace = (last, 0.0) if job == BACKUP else (max(last, boot), _DAY)
        if now - start > 2 * every + grace:
            day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(last))
            unit = "wharfinger-renew" if job == RENEW else f"{JOB_UNIT}{job}"
            sentences.append(
                f"{job}: it has not succeeded since {day}, though it is due every "
                f"{_interval(every)}: "
                f"see `systemctl status {unit}.timer` and `journalctl -u {unit}`"
            )
    return sentences


def of_backups(host: Host) -> list[str]:
    """What is wrong with backups and drills, one line each: they failed, or are late."""
    sentences = []
    for problem in reports.problems(host, (BACKUP, DRILL)):
        first, *more = problem.splitlines()
        hint = " `sudo wharfinger-host status` on the host says which" if more else ""
        sentences.append(first + hint)
    return sentences + overdue(host, (BACKUP, DRILL))


def _interval(seconds: float) -> str:
    """The words after `every`."""
    if seconds == _DAY:
        return "day"
    return in_words(seconds, ("day", "minute"), least=1, rounded=True)


def failed(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`failed`: a timer's unit has failed. Reports what its program could not: that it was killed,
    or could not write its report.

    Request: {"unit": "wharfinger-renew.service" | "wharfinger-contents@JOB.service", "code": the
    exit code if there is no systemd, else null}. For a job on the contents it writes a report,
    which `status`, the metrics and the next renewal show.
    """
    unit = str(request["unit"])
    job = unit.removesuffix(".service").partition("@")[2] or RENEW
    if job not in WATCHED:
        raise HostError(
            f"failed: {unit!r} is not a unit of a timer: write one of {', '.join(WATCHED)}"
        )
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
    # Nothing else would report it.
    failure = alert.last_resort(host, str(problem))
    if failure is not None:
        raise HostError(f"{problem}\n{failure}")
    return {"actions": [f"reported: {problem}"]}


def _reported(host: Host, job: str) -> bool:
    report = reports.last_report(host, job)
    return report is not None and not report["ok"]


def _ended(host: Host, unit: str) -> tuple[str, bool]:
    """How a unit ended, in words, and whether its program has reported the reason."""
    said = host.runner.run(["systemctl", "show", unit, "--property=Result,ExecMainStatus"])
    properties = dict(line.partition("=")[::2] for line in said.output.splitlines())
    result, status = properties.get("Result", ""), properties.get("ExecMainStatus", "")
    if result == "exit-code" and status.isdecimal():
        return _coded(int(status))
    if result in ("signal", "core-dump") and status.isdecimal():
        return _coded(128 + int(status))
    return f"it ended ({result or 'systemd does not say how'})", False


def _coded(code: int) -> tuple[str, bool]:
    """The same for an exit code, as in a shell."""
    if code > 128:
        with suppress(ValueError):
            return f"it was killed ({signal.Signals(code - 128).name})", False
    return f"it ended with exit code {code}", code == _SAID
