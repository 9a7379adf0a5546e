"""`mirror`: copies what mirror.lock says and the registry has not; and looks what upstreams have.

The lock is the controller's: the host never changes it. What upstream has moved is only reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...deployment.fixed import MIRROR
from ...deployment.mirror_lock import LockError, parse
from ..contents.mirror_rows import problems
from ..contents.reports import last_report, run_and_report
from ..system.context import Host
from ..system.errors import HostError
from ..system.lock import locked
from . import copier
from .settings import Settings, load, with_lines


def look_upstream(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`look_upstream`: asks upstreams for the tags that entries select; changes nothing.

    Request: {"mirrors": entries as in settings.json, "lock": the text of mirror.lock}. Returns
    `mirrors`, for each entry in order {"to", "from", "tags": {tag: digest}, "gone": [tag],
    "problem": text or null}, and `requests`: by host. Raises HostError.
    """
    try:
        lines = parse(str(request.get("lock") or ""))
    except LockError as problem:
        raise HostError(f"mirror.lock: {problem}") from problem
    answer = copier.look(host, with_lines(request["mirrors"], lines))
    return {"actions": [], "mirrors": answer["mirrors"], "requests": answer["requests"]}


def mirror(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`mirror`: copies what is locked and missing, and compares the lock with upstream.

    No request keys. Returns `mirrors`: for each entry {"to", "from", "locked", "here", "copied",
    "failed", "moved", "new", "gone", "problem", "success"} (success: when all of it was last here,
    in seconds since 1970); `requests`: by host; `left_alone`: upstreams that want no requests until
    then. Raises HostError if anything could not be copied or looked at; `mirrors` is in the report
    all the same.
    """
    if check:
        return _would_copy(host, load(host))

    def act(noted: dict[str, Any]) -> dict[str, Any]:
        settings = load(host)
        with locked(host.paths.mirror_job, MIRROR, 5):
            return _run(host, settings, noted)

    return run_and_report(host, MIRROR, act)


def _would_copy(host: Host, settings: Settings) -> dict[str, Any]:
    answer = copier.copy(host, settings, {}, dry=True)
    missing = sum(len(entry["missing"]) for entry in answer["mirrors"])
    lines = sum(len(entry["lines"]) for entry in settings.mirrors)
    wrong = [str(entry["problem"]) for entry in answer["mirrors"] if entry["problem"]]
    if wrong:
        raise HostError(f"mirror: {wrong[0]}")
    return {"actions": [f"{missing} of {lines} locked tags would be copied"] * bool(missing)}


def _run(host: Host, settings: Settings, noted: dict[str, Any]) -> dict[str, Any]:
    before = last_report(host, MIRROR) or {}
    now = host.clock.now()
    waiting = {
        name: until for name, until in (before.get("left_alone") or {}).items() if until > now
    }
    answer = copier.copy(host, settings, waiting)
    known = {(row["to"], row["from"]): row for row in before.get("mirrors") or ()}
    rows = [
        _row(entry, found, known.get((entry["to"], entry["from"])), host.clock.now())
        for entry, found in zip(settings.mirrors, answer["mirrors"], strict=True)
    ]
    noted |= {
        "mirrors": rows,
        "requests": answer["requests"],
        "left_alone": {**waiting, **{name: at for name, at in answer["left_alone"].items() if at}},
        "copied": sum(len(row["copied"]) for row in rows),
        "locked": sum(row["locked"] for row in rows),
    }
    wrong = [problem for row in rows for problem in problems(row)]
    if wrong:
        more = f"\nand {len(wrong) - _MOST} more" if len(wrong) > _MOST else ""
        raise HostError("mirror: " + "\n".join(wrong[:_MOST]) + more)
    return {
        **noted,
        "actions": [f"{row['to']}:{tag} was copied" for row in rows for tag in row["copied"]],
    }


# So many problems are named in one message.
_MOST = 10


def _row(
    entry: Mapping[str, Any],
    found: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    now: float,
) -> dict[str, Any]:
    tags, lines = found.get("tags") or {}, entry["lines"]
    row = {
        "to": entry["to"],
        "from": entry["from"],
        "locked": len(lines),
        "here": found["here"] + len([tag for tag in found["copied"] if tag in lines]),
        "copied": found["copied"],
        "failed": found["failed"],
        "moved": sorted(tag for tag in tags if tag in lines and tags[tag] != lines[tag]),
        "new": sorted(set(tags) - set(lines)),
        "gone": [tag for tag in found.get("gone") or [] if tag not in entry["dated"]],
        "problem": found["problem"],
    }
    well = row["problem"] is None and not row["failed"]
    return row | {"success": now if well else (before or {}).get("success")}
