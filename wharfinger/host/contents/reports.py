"""Reports of the last run of each job, in contents/JOB.json: for `status`, for alarms and for the
playbook that started the job."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...deployment.fixed import JOBS, MIRROR
from ..system import clock_check
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists, read_text, write_atomically
from . import mirror_rows

# By job, the key of its report that says how much it has removed.
_COUNTED = {"retention": "removed", "collect": "untagged"}
# By job, the keys of its report that outlive a run that failed before it found them.
_KEPT = {MIRROR: ("mirrors", "left_alone")}


def last_report(host: Host, job: str) -> dict[str, Any] | None:
    """The report of the job's last run; None if it never ran. A damaged file counts as a failure,
    since nobody knows how that run ended. Without mirrors, the report of their last run is over."""
    path = host.paths.reports / f"{job}.json"
    text = read_text(path)
    if text is None or (job == MIRROR and not exists(host.paths.mirror_settings)):
        return None
    try:
        report: dict[str, Any] = json.loads(text)
        summary(report)
        _check_mirrors(report)
        is_valid = (report["job"], report["ok"]) == (job, report["problem"] is None)
        is_valid = is_valid and float(report["seconds"]) >= 0
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, OSError):
        is_valid = False
    if is_valid:
        return report
    return {
        "job": job,
        "at": path.stat().st_mtime,
        "seconds": 0,
        "ok": False,
        "problem": f"{path} is not what {job} writes, so how its last run ended is not known: run "
        f"`{host.paths.command} {job}`, which writes it again, or remove the file",
        "actions": [],
    }


def run_and_report(
    host: Host, job: str, act: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """Runs `act` and writes its report. `act` gets a dictionary for results that hold even if it
    fails."""
    begun = host.clock.now()
    results: dict[str, Any] = {}
    problem: HostError | None = None
    try:
        results |= act(results)
    except HostError as error:
        problem = error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        problem = HostError(f"{job}: {where}{error.strerror or error}")
    _write(host, job, begun, problem, results)
    if problem is not None:
        raise problem
    return results


def report_failure(host: Host, job: str, problem: HostError) -> None:
    """Writes the report of a job that failed before its work began."""
    _write(host, job, host.clock.now(), problem, {})


def _write(
    host: Host, job: str, begun: float, problem: HostError | None, results: dict[str, Any]
) -> None:
    removed_before = history(host, job)
    if job in _KEPT:
        before = last_report(host, job) or {}
        results = {key: before[key] for key in _KEPT[job] if key in before} | results
    removed = 0 if results.pop("confirmed", False) else int(results.get(_COUNTED.get(job, ""), 0))
    results |= {
        "job": job,
        "at": begun,
        "seconds": round(host.clock.now() - begun, 3),
        "ok": problem is None,
        "problem": None if problem is None else str(problem),
    }
    results.setdefault("actions", [])
    if job in _COUNTED:
        from .storage import brake  # only here: with it comes all that works on the storage

        # A run that a person has confirmed does not count as usual for the next runs.
        results["history"] = brake.updated_history(removed_before, removed)
    # The timer reports a doubtful clock by itself (timer.py).
    results["in_doubt"] = isinstance(problem, clock_check.InDoubt)
    host.paths.reports.mkdir(mode=0o750, parents=True, exist_ok=True)
    data = json.dumps(results, indent=1, sort_keys=True).encode() + b"\n"
    # Only root may see the names of repositories and tags.
    write_atomically(host.paths.reports / f"{job}.json", data, 0o600)


def mirrors(host: Host) -> list[dict[str, Any]]:
    """What the last run of `mirror` knew of each mirror; empty before it ever ran."""
    rows: list[dict[str, Any]] = (last_report(host, MIRROR) or {}).get("mirrors") or []
    return rows


def _check_mirrors(report: Mapping[str, Any]) -> None:
    """Raises TypeError, LookupError or ValueError for rows that `mirror` does not write. A run that
    failed has them too."""
    rows = (report.get("mirrors") or ()) if report["job"] == MIRROR else ()
    mirror_rows.counts(rows)
    for row in rows:
        mirror_rows.in_words(row)
        mirror_rows.problems(row)


def problems(host: Host, jobs: Iterable[str] = JOBS) -> list[str]:
    """The problems that the last run of each job had or found."""
    reports = (last_report(host, job) for job in jobs)
    return [
        str(report["problem"])
        for report in reports
        if report is not None and report.get("problem") and not report.get("in_doubt")
    ]


def history(host: Host, job: str) -> list[int]:
    """How much each of the last runs has removed; empty if the report is damaged."""
    counts = (last_report(host, job) or {}).get("history")
    if not isinstance(counts, list):
        return []
    return [count for count in counts if isinstance(count, int) and count > 0]


def failed_at(report: Mapping[str, Any]) -> str:
    """When a run that failed was made, for people."""
    return f"{_when(report)}: failed"


def _when(report: Mapping[str, Any]) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(float(report["at"])))


def summary(report: Mapping[str, Any]) -> str:
    """One line about a report, for people."""
    when = _when(report)
    if not report["ok"]:
        return f"{when}: {str(report['problem']).splitlines()[0]}"
    if report["job"] == "retention":
        return f"{when}: {report['removed']} tags removed"
    if report["job"] == "collect":
        return (
            f"{when}: {report['untagged']} untagged revisions and {report['freed']} bytes removed"
        )
    if report["job"] == "backup":
        return f"{when}: {report['tags']} tags, {report['bytes']} bytes, {report['added']} new"
    if report["job"] == "base_images":
        newest = ", ".join(f"{made['to']}:{made['dated']}" for made in report["images"])
        return f"{when}: {report['made']} made; the newest are {newest or 'none'}"
    if report["job"] == "drill":
        return (
            f"{when}: {report['sample']} of {report['tags']} tags of snapshot {report['snapshot']} "
            f"restored and compared, part {report['turn']} of {report['turns']} of the repository "
            "read"
        )
    if report["job"] == MIRROR:
        return f"{when}: {report['locked']} locked tags are here"
    stale = report.get("stale") or ()
    more = f"; lists of referrers that name what was deleted: {len(stale)}" if stale else ""
    return f"{when}: {report['blobs']} blobs, {report['bytes']} bytes, nothing damaged{more}"
