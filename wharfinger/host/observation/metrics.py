"""Metrics that only this host knows, for Prometheus: a file that nginx serves.

It is written whenever a metric may have changed, and by the timer every quarter of an hour, in
Prometheus' text format (version 0.0.4), which node_exporter's textfile collector reads too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from ...deployment.fixed import JOBS
from ..backup import recovery
from ..contents import mirror_rows, reports
from ..keys import certificates
from ..system import logs
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import write_atomically
from ..system.state import KINDS, State
from ..system.storage_facts import data_of
from . import watching

_PREFIX = "wharfinger_host_"
_CERTIFICATES = ("tls", "ca", "ca_previous", "signing", "signing_next", "signing_previous")
# Metrics of a job's report: name, help, and the report's key.
_JOB_GAUGES = (
    ("job_last_run_timestamp_seconds", "When the job last began.", "at"),
    ("job_last_run_seconds", "How long it took.", "seconds"),
)
# Metrics of backups: name, help, and the key of recovery.look.
_BACKUP_GAUGES = (
    (
        "backup_newest_timestamp_seconds",
        "When the newest whole backup began: what was pushed later is lost with the host (RPO).",
        "began",
    ),
    ("backup_newest_bytes", "What it holds.", "bytes"),
    (
        "restore_estimate_seconds",
        "An estimate of how long a restore on a bare host takes (RTO).",
        "rto_seconds",
    ),
)

Samples = Iterable[tuple[Mapping[str, str], float]]


def write(host: Host) -> None:
    """Writes the file. Raises nothing: if something fails, the file stays, and its own timestamp
    shows that it is old."""
    with suppress(HostError, OSError, LookupError, TypeError, ValueError):
        host.paths.metrics.parent.mkdir(parents=True, exist_ok=True)
        # Independent of the umask: nginx's workers are not root.
        host.paths.metrics.parent.chmod(0o755)
        write_atomically(host.paths.metrics, text(host).encode(), 0o644)


def text(host: Host) -> str:
    """The file's content."""
    return "".join(_lines(host, host.store.load()))


def _lines(host: Host, state: State) -> Iterator[str]:
    yield from _gauge(
        "written_timestamp_seconds", "When this was written.", [({}, round(host.clock.now()))]
    )
    yield from _gauge(
        "certificate_not_after_timestamp_seconds",
        "When the certificate ends; signing is the one that tokens are signed with.",
        _ends(host),
    )
    yield from _gauge(
        "generation", "The number of the generation that serves.", _serving(state, "number")
    )
    yield from _gauge(
        "generation_since_timestamp_seconds", "Since when it serves.", _serving(state, "since")
    )
    window = state.window
    yield from _gauge(
        "writes_refused",
        "1 while pushes are refused, for a collection or a retention.",
        [({}, int(window is not None))],
    )
    yield from _gauge(
        "writes_refused_since_timestamp_seconds",
        "Since when they are.",
        [({}, window.since)] if window is not None else (),
    )
    yield from _gauge(
        "rotation_since_timestamp_seconds",
        "Since when a rotation of the signing key is under way.",
        [({}, state.rotation.since)] if state.rotation is not None else (),
    )
    yield from _gauge(
        "problems",
        "Problems that were reported to an operator and are not over.",
        [({}, len(state.alerted))],
    )
    yield from _gauge(
        "decisions_lost",
        "Decisions of the token server that are missing in decisions.log.",
        [({}, logs.lost(host))],
    )
    yield from _space(data_of(host, state))
    yield from _of_jobs(host)
    yield from _of_mirrors(host)
    yield from _of_backups(host)


def _of_jobs(host: Host) -> Iterator[str]:
    """Metrics of the timers' jobs."""
    last = {job: report for job in JOBS if (report := reports.last_report(host, job)) is not None}
    for name, about, key in _JOB_GAUGES:
        yield from _gauge(
            name, about, (({"job_name": job}, report[key]) for job, report in last.items())
        )
    every = watching.intervals(host)
    yield from _gauge(
        "job_interval_seconds",
        "How often a timer runs the job.",
        (({"job_name": job}, seconds) for job, seconds in every.items()),
    )
    yield from _gauge(
        "job_last_success_timestamp_seconds",
        "When the job last succeeded; before it ever did, when its timer was set up.",
        (
            ({"job_name": job}, moment)
            for job in every
            if (moment := watching.since(host, job)) is not None
        ),
    )
    yield from _gauge(
        "job_last_run_ok",
        "1 where it did what it should and found no damage.",
        (({"job_name": job}, int(bool(report["ok"]))) for job, report in last.items()),
    )


def _of_mirrors(host: Host) -> Iterator[str]:
    """How many tags are locked, and how many differ; without names."""
    rows = reports.mirrors(host)
    states = mirror_rows.counts(rows).items() if rows else ()
    yield from _gauge(
        "mirror_tags",
        "Tags of mirrors: in mirror.lock; missing here; moved, new or gone upstream.",
        (({"state": state}, number) for state, number in states),
    )


def _of_backups(host: Host) -> Iterator[str]:
    """RPO and RTO."""
    facts = recovery.look(host) or {}
    for name, about, key in _BACKUP_GAUGES:
        value = facts.get(key)
        yield from _gauge(name, about, [({}, value)] if value is not None else ())


def _ends(host: Host) -> Samples:
    folder = host.paths.certificates
    for name in _CERTIFICATES:
        facts = certificates.facts(host.runner, folder / f"{name}.crt")
        if facts is not None:
            yield {"certificate": name}, float(facts.not_after)


def _serving(state: State, key: str) -> Samples:
    for kind in KINDS:
        serving = state.kind(kind).serving
        if serving is not None:
            yield {"kind": kind}, getattr(serving, key)


def _space(storage: Path) -> Iterator[str]:
    try:
        sizes = os.statvfs(storage)
    except OSError:
        return
    yield from _gauge(
        "storage_size_bytes",
        "The file system that the registry's data are on.",
        [({}, sizes.f_blocks * sizes.f_frsize)],
    )
    yield from _gauge(
        "storage_free_bytes",
        "What is free on it for others than root.",
        [({}, sizes.f_bavail * sizes.f_frsize)],
    )
    yield from _gauge("storage_inodes", "Its inodes.", [({}, sizes.f_files)])
    yield from _gauge("storage_inodes_free", "Those that are free.", [({}, sizes.f_favail)])


def _gauge(name: str, about: str, samples: Samples) -> Iterator[str]:
    name = _PREFIX + name
    yield f"# HELP {name} {about}\n# TYPE {name} gauge\n"
    for labels, value in samples:
        inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
        yield f"{name}{'{' + inside + '}' if inside else ''} {value}\n"
