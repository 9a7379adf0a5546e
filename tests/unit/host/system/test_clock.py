"""When a clock is trusted, within a boot and across boots, and the times of files meanwhile."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import pytest

from tests.unit.host.world import FakeRunner, Machine, host_of
from wharfinger.host.observation import alert
from wharfinger.host.system import clock, clock_check
from wharfinger.host.system.clock import Reading, Record, judge
from wharfinger.host.system.runner import Result
from wharfinger.host.system.state import State

NOW = 1_800_000_000.0
HOUR, DAY, YEAR = 3600.0, 86400.0, 365 * 86400.0


def believed(wall: float = NOW, up: float = 1000.0, boot: str = "a") -> Record:
    return judge(None, Reading(boot, wall, up))


@pytest.mark.parametrize(
    ("passed", "shown", "why"),
    [
        (900, 900, ""),
        (900, 900 + 23 * HOUR, ""),
        (900, 900 - 23 * HOUR, ""),
        (900, 900 + 31 * DAY, "it has jumped 31 days ahead since this boot began"),
        (900, 900 + 9 * YEAR, "it has jumped 3285 days ahead since this boot began"),
        (900, 900 - 40 * DAY, "it has jumped 40 days back since this boot began"),
        (900, 900 + 30 * HOUR, "it has jumped 30 hours ahead since this boot began"),
        # The machine slept, or the timer was stopped: both clocks went on.
        (90 * DAY, 90 * DAY, ""),
    ],
)
def test_within_a_boot(passed: float, shown: float, why: str) -> None:
    last = believed()
    assert judge(last, Reading("a", NOW + shown, 1000 + passed)).doubt == why
    assert judge(last, Reading("a", NOW + shown, 1000 + passed, synchronised=True)).doubt == ""


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (60, ""),
        (7 * DAY, ""),
        (30 * DAY, ""),
        (-30 * 60, ""),
        (31 * DAY, "since the last boot it has gone ahead by 31 days"),
        (-2 * HOUR, "since the last boot it has gone back by 2 hours"),
        (-50 * YEAR, "since the last boot it has gone back by 18250 days"),
    ],
)
def test_across_a_boot(shown: float, why: str) -> None:
    last = believed()
    assert judge(last, Reading("b", NOW + shown, 60)).doubt == why
    assert judge(last, Reading("b", NOW + shown, 60, synchronised=True)).doubt == ""


def test_small_jumps_add_up() -> None:
    record = believed()
    for number in range(1, 4):
        record = judge(record, Reading("a", NOW + number * 9 * HOUR, 1000 + number))
    assert record.doubt == "it has jumped 27 hours ahead since this boot began"


def test_a_closed_site_without_a_time_server_is_never_in_doubt() -> None:
    """Three years with a drift of a second a day, boots, and a week off now and then."""
    record, wall = believed(up=60), NOW
    for boot in range(20):
        for up in range(60, int(50 * DAY), int(DAY / 2)):
            wall += DAY / 2 + 0.5
            record = judge(record, Reading(str(boot), wall, float(up)))
            assert record.doubt == ""
        wall += 7 * DAY - 120
    assert record.wrong == ()


def test_it_ends_with_a_time_server_with_a_person_or_when_it_is_set_right() -> None:
    ahead = judge(believed(), Reading("a", NOW + YEAR, 1900))
    assert judge(ahead, Reading("a", NOW + YEAR + 900, 2800)).doubt
    assert judge(ahead, Reading("a", NOW + 1800, 2800, synchronised=True)).doubt == ""
    assert judge(ahead, Reading("a", NOW + YEAR + 900, 2800), confirmed=True).doubt == ""
    assert judge(ahead, Reading("a", NOW + 1800, 2800)).doubt == ""


def test_a_boot_does_not_end_it() -> None:
    ahead = judge(believed(), Reading("a", NOW + 3 * DAY, 1900))
    again = judge(ahead, Reading("b", NOW + 3 * DAY + 60, 60))
    assert again.doubt == "it has jumped 3 days ahead since this boot began"
    confirmed = judge(again, Reading("b", NOW + 3 * DAY + 900, 900), confirmed=True)
    assert judge(confirmed, Reading("b", NOW + 3 * DAY + 1800, 1800)).doubt == ""


def test_what_was_written_meanwhile_counts_from_its_end() -> None:
    """Pushes while the clock was 40 days behind, from the earliest possible moment."""
    behind = judge(believed(), Reading("a", NOW - 40 * DAY + 900, 1900))
    for up in range(2800, 7300, 900):
        behind = judge(behind, Reading("a", NOW - 40 * DAY + up - 1000, float(up)))
    over = NOW + 8000
    right = judge(behind, Reading("a", over, 9000, synchronised=True))
    for written in (NOW - 40 * DAY + 1, NOW - 40 * DAY + 6000, NOW - 40 * DAY + 6900):
        assert right.moment(written) == over
    for written in (NOW - 40 * DAY - 10, NOW - 39 * DAY, NOW, over):
        assert right.moment(written) == written


def test_the_times_of_a_clock_that_was_ahead_are_forgotten_before_they_come() -> None:
    ahead = judge(believed(), Reading("a", NOW + YEAR, 1900))
    right = judge(ahead, Reading("a", NOW + 1800, 2800))
    assert right.moment(NOW + YEAR) == right.moment(NOW + YEAR + 600) == NOW + 1800
    assert right.moment(NOW + 900) == NOW + 900
    later = judge(right, Reading("a", NOW + YEAR - HOUR, YEAR))
    assert later.moment(NOW + YEAR) == NOW + YEAR
    assert later.wrong == ()


def test_a_clock_that_is_set_while_in_doubt_has_given_both_times() -> None:
    """A dead battery: it starts in 2010, somebody sets it, and confirms it later."""
    old = judge(believed(), Reading("b", NOW - 17 * YEAR, 60))
    new = judge(old, Reading("b", NOW + 3 * DAY, 4000))
    over = NOW + 3 * DAY + 900
    right = judge(new, Reading("b", over, 4900), confirmed=True)
    assert right.moment(NOW - 17 * YEAR) == right.moment(NOW + 3 * DAY - 60) == over
    assert right.moment(NOW - YEAR) == NOW - YEAR


def test_many_doubts_are_remembered_by_few() -> None:
    record = believed()
    for number in range(100):
        wall = NOW + number * DAY
        up = 1000 + number * DAY
        record = judge(record, Reading("a", wall - 300 * DAY, up + 100))
        record = judge(record, Reading("a", wall + 200, up + 200))
    assert record.doubt == ""
    assert len(record.wrong) == 16
    for number in range(100):
        written = NOW + number * DAY - 300 * DAY
        assert record.moment(written) >= NOW + number * DAY


def test_a_clock_that_jumps_all_the_time_is_remembered_by_few() -> None:
    record = believed()
    for number, way in zip(range(200), itertools.cycle([1, -1, 2, -2]), strict=False):
        record = judge(record, Reading("a", NOW + way * (number + 3) * DAY, 1000.0 + number))
    assert len(record.given) <= 16


def test_it_is_kept_on_disk_and_damage_is_a_doubt(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    assert clock.load(path) is None
    record = judge(believed(), Reading("a", NOW - 40 * DAY, 1900))
    record = judge(record, Reading("a", NOW, 2000), confirmed=True)
    record = judge(record, Reading("a", NOW + 60 * DAY, 3000))
    clock.store(path, record)
    assert clock.load(path) == record
    for text in ("", "{", "[]", "7", '{"wrong": []}', path.read_text()[:-20], "[" * 10**5):
        path.write_text(text)
        loaded = clock.load(path)
        assert loaded is not None
        assert (
            loaded.doubt == f"{path} cannot be read, so what the clock showed before is not known"
        )
        again = judge(loaded, Reading("a", NOW, 1000))
        assert again.doubt == loaded.doubt
        right = judge(again, Reading("a", NOW + 60, 1060), confirmed=True)
        assert (right.doubt, right.moment(NOW - DAY), right.moment(NOW)) == (
            "",
            NOW - DAY,
            NOW + 60,
        )
    endless = {"boot": "a", "wall": 1e400, "up": 0, "start": 0}
    path.write_text(json.dumps({**endless, "doubt": "", "given": [], "wrong": []}))
    loaded = clock.load(path)
    assert loaded is not None and loaded.doubt


def test_messages_for_the_operator() -> None:
    record = judge(believed(), Reading("a", NOW + 31 * DAY, 1900))
    shown = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(NOW + 31 * DAY))
    assert clock_check.sentence(record, NOW + 31 * DAY) == (
        "the clock is in doubt: it has jumped 31 days ahead since this boot began, and no time "
        f"server sets it. It shows {shown}. Meanwhile nothing is deleted, and no key or "
        "certificate is renewed. Set it right, or let a time server do that; where it is right, "
        "run playbooks/rotate_certificates.yml -e clock_is_right=true"
    )
    assert clock_check.sentence(believed(), NOW) == ""


def test_the_kernels_own_words() -> None:
    assert isinstance(clock.synchronised(), bool)
    assert clock.boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_an_alert_of_a_clock_that_was_ahead_is_sent_again(tmp_path: Path) -> None:
    machine = Machine(seconds=NOW)
    host = host_of(tmp_path, machine)
    assert isinstance(host.runner, FakeRunner)
    host.runner.answers["sh -c"] = Result(0, "", "")
    host.paths.state.parent.mkdir(parents=True)
    machine.jumped = YEAR
    state = State()
    problem = "the disk is full"
    alert.tell(host, state, "host", "true", [problem])
    assert [alert["told"] for alert in state.alerted.values()] == [NOW + YEAR]
    machine.jumped = 0
    alert.tell(host, state, "host", "true", [problem])
    assert [alert["told"] for alert in state.alerted.values()] == [NOW]
