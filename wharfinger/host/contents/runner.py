"""`contents`: runs a job as a separate process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...deployment.fixed import JOB_UNIT, JOBS
from ..system import restoring
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists
from . import settings as contents_settings
from .confirmation import pass_on_confirmations
from .reports import last_report

# Seconds beyond a job's own limit: it waits for the lock, and drains at the end.
_AROUND = 3600.0
# Jobs that keep no client waiting. A first backup of many terabytes takes days, and a drill may
# wait a day for a backup.
_LONG = {
    "check_contents": 24 * _AROUND,
    "backup": 14 * 24 * _AROUND,
    "drill": 3 * 24 * _AROUND,
    "mirror": 25 * _AROUND,
    "base_images": 24 * _AROUND,
}

# The answers of a dry run, where a job needs no look at the host for it.
_DRY = {
    "base_images": "base images would be made, where Debian's archive has changed",
    "backup": "a backup would be made",
    "drill": "a sample of the newest backup would be restored and compared",
    "mirror": "locked tags that are not here would be copied",
}


def contents(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`contents`: runs a job as a separate process, waits for it and returns its report. The job
    goes on to its end even if the connection of the controller breaks.

    Request: {"job": one of JOBS, and as `retention`}. With systemd this starts the job's unit, as
    the timer does. Raises HostError with the job's own message.
    """
    job = str(request.get("job"))
    if job not in JOBS:
        raise HostError(f"contents: {job!r} is not a job: use one of {', '.join(JOBS)}")
    if job != "check_contents":
        restoring.refuse(host.paths.restoring, job)
    settings = contents_settings.requested(host, request, check)
    if check:
        return _dry_run(job, host, request)
    before = last_report(host, job)
    unit = f"{JOB_UNIT}{job}.service"
    if exists(host.paths.systemd):
        command = ["systemctl", "start", unit]
    else:
        program = f"{host.paths.command} {job}; code=$?; {host.paths.command} reopen; exit $code"
        command = ["setsid", "--wait", "sh", "-c", program]
    limit = _LONG.get(job, settings.gc_max_seconds + 2 * _AROUND)
    with pass_on_confirmations(host, job, request):
        result = host.runner.run(command, timeout=limit)
    report = last_report(host, job)
    if report is None or report == before:
        # The job never began its work: another process held the lock for too long, for example.
        journal = host.runner.run(["journalctl", "-u", unit, "-n", "8", "-o", "cat", "--no-pager"])
        words = "\n".join(text for text in (result.words, journal.output.strip()) if text)
        raise HostError(f"{job}: it ended without a report: {words or 'it printed nothing'}")
    if not report["ok"]:
        raise HostError(str(report["problem"]))
    return report


def _dry_run(job: str, host: Host, request: Mapping[str, Any]) -> dict[str, Any]:
    if job in _DRY:
        return {"actions": [_DRY[job]]}
    # Imported only here, because the modules that read the storage take long to import.
    from .collection import collect
    from .retention import retention
    from .scrub import scrub

    run = {"retention": retention, "collect": collect, "check_contents": scrub}[job]
    return run(host, request, True)
