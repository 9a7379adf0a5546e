"""`backups`: which backups there are, and what is in one of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from ..system.context import Host
from . import snapshots
from .listing import Counts, Entry
from .restic import Restic, Snapshot
from .settings import load


def backups(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """This registry's snapshots, the oldest first, or what is in one.

    Request, all optional: `hostname`; `snapshot`, `latest` or the beginning of an id. Returns
    `snapshots`: {"id", "time" (ISO 8601, UTC), "hostname"} each; with `snapshot` that one alone,
    and `repositories`: {"name", "tags", "manifests", "layers"} each. Raises HostError.
    """
    hostname = str(request.get("hostname") or load(host).hostname)
    restic = Restic(host)
    if "snapshot" not in request:
        made = restic.snapshots(hostname)
        return {"actions": [], "snapshots": [_row(snapshot) for snapshot in made]}
    snapshot = snapshots.find(restic, hostname, snapshots.wanted(request))
    with tempfile.TemporaryDirectory(prefix="wharfinger-") as folder:
        entries = snapshots.fetch_list(restic, snapshot, Path(folder) / "list").entries()
        repositories = _repositories(entries)
    return {"actions": [], "snapshots": [_row(snapshot)], "repositories": repositories}


def in_words(answer: Mapping[str, Any]) -> str:
    """What `backups` answers, for people: a line for each snapshot or repository."""
    made = answer["snapshots"]
    if not made:
        return "there are no backups yet"
    lines = [f"{row['id']}  {row['time'][:19].replace('T', ' ')} UTC" for row in made]
    if "repositories" not in answer:
        return "\n".join([*lines, "what is in one: wharfinger-host backups --snapshot ID"])
    rows = [("repository", "tags", "manifests", "layers")]
    rows += [
        (row["name"], str(row["tags"]), str(row["manifests"]), str(row["layers"]))
        for row in answer["repositories"]
    ]
    width = max(len(row[0]) for row in rows)
    lines += [
        f"{name:{width}}  {tags:>6}  {manifests:>9}  {layers:>7}"
        for name, tags, manifests, layers in rows
    ]
    return "\n".join(lines)


def _row(snapshot: Snapshot) -> dict[str, str]:
    return {
        "id": snapshot.short_id,
        "time": snapshot.time.isoformat(timespec="seconds"),
        "hostname": snapshot.hostname,
    }


def _repositories(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """How much of each repository is in a list, which is sorted by repository."""
    rows = []
    for name, links in groupby(entries, key=lambda entry: entry.repository):
        counts = Counts()
        counts.add(list(links))
        rows.append(
            {
                "name": name,
                "tags": counts.tags,
                "manifests": counts.manifests,
                "layers": counts.layers,
            }
        )
    return rows
