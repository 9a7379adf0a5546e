"""What a loss of the host would cost: RPO and RTO.

RPO, the recovery point: what was pushed since the newest whole backup began is lost. RTO, the
recovery time: an estimate of how long a restore takes, from the speed of the last drill and the
time of a deployment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

from ..system.context import Host
from ..system.durations import in_words as spoken
from ..system.files import read_text, write_atomically


def note_backup(host: Host, snapshot: str, began: float, size: int) -> None:
    """Records the newest whole snapshot. began: seconds since 1970; size: its bytes."""
    _write(host.paths.newest_backup, {"snapshot": snapshot, "began": began, "bytes": size})


def note_drill(host: Host, turn: int, speed: float | None) -> None:
    """Records which part of the repository the next drill reads, and the bytes per second that this
    one has restored (None: it had nothing to measure, so the last speed stays)."""
    record = _read(host.paths.drill_record)
    speed = record.get("speed") if speed is None else speed
    _write(host.paths.drill_record, {"turn": turn, "speed": speed})


def note_deployment(host: Host, seconds: float) -> None:
    """Records how long a deployment took. The longest one counts: a bare host needs packages and
    images too, which a later run finds there."""
    if seconds > (_number(_read(host.paths.deployment_record).get("seconds")) or 0):
        _write(host.paths.deployment_record, {"seconds": round(seconds)})


def turn(host: Host, turns: int) -> int:
    """Which of so many parts of the repository the next drill reads, from 1 on."""
    recorded = _number(_read(host.paths.drill_record).get("turn"))
    return int(recorded) if recorded is not None and 1 <= recorded <= turns else 1


def look(host: Host) -> dict[str, Any] | None:
    """RPO and RTO in seconds, and what they are made of; None before the first backup.

    Returns `snapshot` (its id), `began` (seconds since 1970), `bytes`, `rpo_seconds`,
    `rto_seconds`, `restore_speed` (bytes per second) and `deployment_seconds`. The last three are
    None where nothing has measured them yet.
    """
    backup = _read(host.paths.newest_backup)
    began, size = _number(backup.get("began")), _number(backup.get("bytes"))
    if began is None or size is None:
        return None
    speed = _number(_read(host.paths.drill_record).get("speed"))
    deployment = _number(_read(host.paths.deployment_record).get("seconds"))
    return {
        "snapshot": str(backup.get("snapshot", ""))[:8],
        "began": began,
        "bytes": int(size),
        "rpo_seconds": max(0, round(host.clock.now() - began)),
        "rto_seconds": rto(size, speed, deployment),
        "restore_speed": speed,
        "deployment_seconds": deployment,
    }


def rto(size: float, speed: float | None, deployment: float | None) -> int | None:
    """Seconds to restore so many bytes on a bare host; None if something of it is not known."""
    if not speed or deployment is None:
        return None
    return round(size / speed + deployment)


def in_words(facts: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """What `look` returns, for people: a name and a sentence for each line of `status`."""
    if facts is None:
        return []
    lines = [("RPO", f"{spoken(facts['rpo_seconds'])}: snapshot {facts['snapshot']}")]
    if facts["rto_seconds"] is not None:
        estimate = (
            f"{spoken(facts['rto_seconds'])}, an estimate: {facts['bytes'] / 1e9:.1f} GB at "
            f"{facts['restore_speed'] / 1e6:.1f} MB/s, and {spoken(facts['deployment_seconds'])} "
            "for a deployment"
        )
    elif not facts["restore_speed"]:
        estimate = "not known before the first drill (playbooks/backup_drill.yml)"
    else:
        estimate = "not known before site.yml has run once more"
    return [*lines, ("RTO", estimate)]


def _read(path: Path) -> dict[str, Any]:
    """A record; {} if it is missing or damaged, since everything in it is measured again."""
    try:
        record = json.loads(read_text(path) or "{}")
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _write(path: Path, record: Mapping[str, Any]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, json.dumps(record, sort_keys=True).encode() + b"\n", 0o600)


def _number(value: object) -> float | None:
    """A number that is not negative; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < inf:
        return None
    return value
