"""What the last run of each job has left, in contents/JOB.json: for `status`, for alarms and for
whoever asked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from ...deployment.fixed import JOBS
from ..system import clock_check
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import read_text, write_atomically

# Of a job's report: how much it has removed.
_COUNTED = {"retention": "removed", "collect": "untagged"}


def report(host: Host, job: str) -> dict[str, Any] | None:
    """What the job's last run has left; None where it never ran. One that no job has written (a
    damaged file) is a report of a failure: nobody knows how that run ended."""
    path = host.paths.reports / f"{job}.json"
    text = read_text(path)
    if text is None:
        return None
    try:
        found: dict[str, Any] = json.loads(text)
        summary(found)
        whole = (found["job"], found["ok"]) == (job, found["problem"] is None)
        whole = whole and float(found["seconds"]) >= 0
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, OSError):
        whole = False
    if whole:
        return found
    return {
        "job": job,
        "at": path.stat().st_mtime,
        "seconds": 0,
        "ok": False,
        "problem": f"{path} is not what {job} writes, so how its last run ended is not known: run "
        f"`{host.paths.command} {job}`, which writes it again, or remove the file",
        "actions": [],
    }


def reported(
    host: Host, job: str, act: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """Runs `act`, which gets a dictionary to note things in that hold even where it fails."""
    begun = host.clock.now()
    noted: dict[str, Any] = {}
    problem: HostError | None = None
    try:
        noted |= act(noted)
    except HostError as found:
        problem = found
    except OSError as found:
        where = f"{found.filename}: " if found.filename else ""
        problem = HostError(f"{job}: {where}{found.strerror or found}")
    _write(host, job, begun, problem, noted)
    if problem is not None:
        raise problem
    return noted


def note(host: Host, job: str, problem: HostError) -> None:
    """A report of a job that did not come to its work."""
    _write(host, job, host.clock.now(), problem, {})


def _write(
    host: Host, job: str, begun: float, problem: HostError | None, noted: dict[str, Any]
) -> None:
    from .storage import brake

    removed_before = history(host, job)
    removed = 0 if noted.pop("confirmed", False) else int(noted.get(_COUNTED.get(job, ""), 0))
    noted |= {
        "job": job,
        "at": begun,
        "seconds": round(host.clock.now() - begun, 3),
        "ok": problem is None,
        "problem": None if problem is None else str(problem),
    }
    noted.setdefault("actions", [])
    if job in _COUNTED:
        # What a person has confirmed is no measure for the next run.
        noted["history"] = brake.updated_history(removed_before, removed)
    # Told by itself as long as it lasts (timer.py).
    noted["in_doubt"] = isinstance(problem, clock_check.InDoubt)
    host.paths.reports.mkdir(mode=0o750, parents=True, exist_ok=True)
    data = json.dumps(noted, indent=1, sort_keys=True).encode() + b"\n"
    # Names of repositories and tags are nobody's but root's.
    write_atomically(host.paths.reports / f"{job}.json", data, 0o600)


def problems(host: Host) -> list[str]:
    """What the last run of each job could not do, or found."""
    found = (report(host, job) for job in JOBS)
    return [
        str(one["problem"])
        for one in found
        if one is not None and one.get("problem") and not one.get("in_doubt")
    ]


def history(host: Host, job: str) -> list[int]:
    """How much the last runs have removed; a report that no run has written knows of none."""
    found = (report(host, job) or {}).get("history")
    if not isinstance(found, list):
        return []
    return [one for one in found if isinstance(one, int) and one > 0]


def summary(found: Mapping[str, Any]) -> str:
    """One line about a report, for people."""
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(float(found["at"])))
    if not found["ok"]:
        return f"{when}: {str(found['problem']).splitlines()[0]}"
    if found["job"] == "retention":
        return f"{when}: {found['removed']} tags removed"
    if found["job"] == "collect":
        return f"{when}: {found['untagged']} untagged revisions and {found['freed']} bytes removed"
    stale = found.get("stale") or ()
    more = f"; lists of referrers that name what was deleted: {len(stale)}" if stale else ""
    return f"{when}: {found['blobs']} blobs, {found['bytes']} bytes, nothing damaged{more}"
