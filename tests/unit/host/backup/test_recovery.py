"""RPO and RTO: what they are made of, and how they are said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.host.world import Machine, host_of
from wharfinger.host.backup import recovery
from wharfinger.host.system.context import Host

NOW = 1_800_000_000.0


@pytest.fixture
def host(tmp_path: Path, machine: Machine) -> Host:
    machine.seconds = NOW
    return host_of(tmp_path, machine)


def test_before_the_first_backup_nothing_is_known(host: Host) -> None:
    assert recovery.look(host) is None
    assert recovery.in_words(None) == []


def test_the_recovery_point_is_the_age_of_the_newest_whole_backup(
    host: Host, machine: Machine
) -> None:
    recovery.note_backup(host, "0123abcd" * 8, NOW - 60, 12_300_000_000)
    machine.seconds = NOW + 9 * 3600
    facts = recovery.look(host)
    assert facts is not None
    assert facts["rpo_seconds"] == 9 * 3600 + 60
    assert recovery.in_words(facts) == [
        ("RPO", "9 hours: snapshot 0123abcd"),
        ("RTO", "not known before the first drill (playbooks/backup_drill.yml)"),
    ]


def test_the_recovery_time_is_an_estimate_from_measurements(host: Host) -> None:
    recovery.note_backup(host, "0123abcd" * 8, NOW, 12_000_000_000)
    recovery.note_drill(host, 2, 20_000_000.0)
    facts = recovery.look(host)
    assert facts is not None
    assert recovery.in_words(facts)[1] == ("RTO", "not known before site.yml has run once more")
    recovery.note_deployment(host, 240)
    facts = recovery.look(host)
    assert facts is not None
    assert facts["rto_seconds"] == 12_000_000_000 / 20_000_000 + 240
    assert recovery.in_words(facts)[1] == (
        "RTO",
        "14 minutes, an estimate: 12.0 GB at 20.0 MB/s, and 4 minutes for a deployment",
    )


def test_the_longest_deployment_counts(host: Host) -> None:
    recovery.note_backup(host, "0" * 64, NOW, 1)
    for seconds in (20, 240, 15):
        recovery.note_deployment(host, seconds)
    facts = recovery.look(host)
    assert facts is not None
    assert facts["deployment_seconds"] == 240


def test_a_drill_without_a_measurement_keeps_the_last_speed(host: Host) -> None:
    recovery.note_backup(host, "0" * 64, NOW, 1)
    recovery.note_drill(host, 2, 5_000_000.0)
    recovery.note_drill(host, 3, None)
    facts = recovery.look(host)
    assert facts is not None
    assert facts["restore_speed"] == 5_000_000.0
    assert recovery.turn(host, 12) == 3


@pytest.mark.parametrize("text", ["", "[]", "{", '{"turn": "2"}', '{"turn": 13}', '{"turn": true}'])
def test_a_damaged_record_of_drills_begins_with_the_first_part(host: Host, text: str) -> None:
    host.paths.drill_record.parent.mkdir(parents=True)
    host.paths.drill_record.write_text(text)
    assert recovery.turn(host, 12) == 1


@pytest.mark.parametrize(
    "text", ["[]", '{"began": "x"}', '{"began": -1, "bytes": 1}', '{"began": 1}']
)
def test_a_damaged_record_of_backups_counts_as_none(host: Host, text: str) -> None:
    host.paths.newest_backup.parent.mkdir(parents=True)
    host.paths.newest_backup.write_text(text)
    assert recovery.look(host) is None
