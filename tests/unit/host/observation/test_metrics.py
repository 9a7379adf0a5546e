"""The host's own metrics: what is in the file, and when it is written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.host.world import SUBNET, Machine, host_of, spec
from wharfinger.host.backup import recovery
from wharfinger.host.commands import run
from wharfinger.host.observation import metrics
from wharfinger.host.system.context import Host
from wharfinger.host.system.errors import HostError
from wharfinger.host.system.state import MaintenanceRecord

PREFIX = "wharfinger_host_"
Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def host(tmp_path: Path, machine: Machine) -> Host:
    host = host_of(tmp_path, machine)
    run("prepare", {}, host=host)
    run("network", {"name": "wharfinger", "subnet": SUBNET}, host=host)
    return host


def test_what_the_loss_of_the_host_would_cost_is_in_the_metrics(host: Host) -> None:
    names = ("backup_newest_timestamp_seconds", "backup_newest_bytes", "restore_estimate_seconds")
    assert not any((name, ()) in samples(metrics.text(host)) for name in names)
    recovery.note_backup(host, "0" * 64, 1000.5, 4_000_000)
    values = samples(metrics.text(host))
    assert [values.get((name, ())) for name in names] == [1000.5, 4_000_000, None]
    recovery.note_drill(host, 2, 1_000_000)
    recovery.note_deployment(host, 200)
    assert samples(metrics.text(host))["restore_estimate_seconds", ()] == 204


@pytest.fixture
def closed_umask() -> Iterator[None]:
    """The umask of hardened hosts."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def samples(text: str) -> Samples:
    """All values by name (without our prefix) and label values."""
    return {
        (sample.name.removeprefix(PREFIX), tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_host_without_anything_has_a_file_that_says_so(host: Host) -> None:
    values = samples(metrics.text(host))
    assert values["written_timestamp_seconds", ()] == round(host.clock.now())
    assert values["writes_refused", ()] == 0
    assert values["problems", ()] == 0
    assert not any(name.startswith(("generation", "certificate", "job")) for name, _ in values)


def test_storage_generations_and_jobs_have_metrics(tmp_path: Path, host: Host) -> None:
    run("ensure", {"spec": spec(tmp_path)}, host=host)
    state = host.store.load()
    state.storage_path = str(tmp_path)
    state.window = MaintenanceRecord("collect", "working", 100.0, 200.0)
    state.alerted = {"a": {"told": 1, "text": "a problem"}}
    host.store.save(state)
    host.paths.reports.mkdir()
    report = {"at": 1000.5, "seconds": 2.25, "ok": False, "problem": "something is damaged"}
    report["job"] = "check_contents"
    (host.paths.reports / "check_contents.json").write_text(json.dumps(report))
    (host.paths.reports / "collect.json").write_text("half a fi")
    values = samples(metrics.text(host))
    assert values["generation", ("registry",)] == 1
    assert values["generation_since_timestamp_seconds", ("registry",)] > 0
    assert values["writes_refused", ()] == 1
    assert values["writes_refused_since_timestamp_seconds", ()] == 100
    assert values["problems", ()] == 1
    assert values["job_last_run_timestamp_seconds", ("check_contents",)] == 1000.5
    assert values["job_last_run_seconds", ("check_contents",)] == 2.25
    assert values["job_last_run_ok", ("check_contents",)] == 0
    assert values["job_last_run_ok", ("collect",)] == 0
    assert 0 < values["storage_free_bytes", ()] < values["storage_size_bytes", ()]
    # Metrics contain no names of repositories, tags or users, and no problem's text.
    assert "damaged" not in metrics.text(host)


def test_what_changes_them_writes_them_and_all_may_read(
    tmp_path: Path, host: Host, closed_umask: None
) -> None:
    assert not host.paths.metrics.exists()
    run("ensure", {"spec": spec(tmp_path)}, host=host, check=True)
    run("observe", {}, host=host)
    assert not host.paths.metrics.exists()
    run("ensure", {"spec": spec(tmp_path)}, host=host)
    assert ("generation", ("registry",)) in samples(host.paths.metrics.read_text())
    assert host.paths.metrics.stat().st_mode & 0o777 == 0o644
    assert host.paths.metrics.parent.stat().st_mode & 0o777 == 0o755


def test_a_failed_run_has_metrics_too(host: Host) -> None:
    with pytest.raises(HostError):
        run("renew", {}, host=host)  # never deployed
    assert host.paths.metrics.exists()


def test_metrics_that_cannot_be_written_fail_nothing(tmp_path: Path, host: Host) -> None:
    host.paths.metrics.parent.write_text("no directory")
    run("ensure", {"spec": spec(tmp_path)}, host=host)
    (host.paths.reports).mkdir()
    (host.paths.reports / "collect.json").write_text("{}")
    host.paths.metrics.parent.unlink()
    run("ensure", {"spec": spec(tmp_path)}, host=host)
    # A report that no job has written counts as a failure.
    assert samples(host.paths.metrics.read_text())["job_last_run_ok", ("collect",)] == 0
