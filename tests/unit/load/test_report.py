"""What a load's report counts where, and what it says."""

from __future__ import annotations

import pytest

from load.record import Attempt, Record, Stopped
from load.report import percentile, report, table
from load.session import Unexpected
from load.transfer import received


def add(
    record: Record, kind: str, error: str = "", retries: int = 0, seconds: float = 0.001
) -> None:
    attempt = Attempt()
    attempt.requested(seconds)
    for _ in range(retries):
        attempt.retried()
    record.add("client", kind, 0, seconds, error, attempt)


@pytest.fixture
def record() -> Record:
    """Two phases; the first one occurs twice."""
    made = Record()
    made.begin("steady")
    for _ in range(3):
        add(made, "manifest", seconds=0.010)
    made.begin("change")
    add(made, "manifest", seconds=0.025)
    add(made, "push", retries=2, seconds=0.001)
    add(made, "push", error="ReadError: reset")
    made.begin("steady")
    add(made, "manifest", seconds=0.010)
    made.phases = [("steady", 10.0), ("change", 20.0), ("steady", 25.0)]
    made.ended = 31.0
    return made


def test_totals_are_those_of_all_phases_and_kinds(record: Record) -> None:
    totals = report(record)
    whole = {"requests": 9, "operations": 7, "failed": 1, "retried": 2}
    assert {name: totals[name] for name in whole} == whole
    for parts in (totals["phases"], totals["kinds"].values()):
        assert {name: sum(part[name] for part in parts) for name in whole} == whole


def test_an_operation_belongs_to_the_phase_in_which_it_ended(record: Record) -> None:
    steady, change = report(record)["phases"]
    assert (steady["name"], steady["seconds"], steady["operations"]) == ("steady", 16.0, 4)
    assert (change["name"], change["seconds"], change["operations"]) == ("change", 5.0, 3)
    assert change["kinds"]["push"] == {
        "requests": 4,
        "operations": 2,
        "failed": 1,
        "retried": 2,
    }


def test_latencies_are_compared_with_the_steady_phase(record: Record) -> None:
    steady, change = report(record)["phases"]
    assert (steady["p99_ms"], steady["p99_ratio"]) == (10.0, 1.0)
    assert (change["p50_ms"], change["p99_ms"], change["p99_ratio"]) == (1.0, 25.0, 2.5)
    assert report(record, "change")["phases"][0]["p99_ratio"] == 0.4


def test_failures_are_reported_with_client_kind_and_phase(record: Record) -> None:
    totals = report(record)
    assert [
        (failure["kind"], failure["phase"], failure["error"]) for failure in totals["failures"]
    ] == [("push", "change", "ReadError: reset")]
    assert "FAILED push by client in change: ReadError: reset" in table(totals)


def test_a_long_failure_is_reported_with_its_beginning_and_end(record: Record) -> None:
    add(record, "push", error="Put https://" + "x" * 3000 + ": EOF")
    line = table(report(record)).splitlines()[-1]
    assert line.startswith("FAILED push by client in steady: Put https://xxx")
    assert line.endswith("xxx: EOF")
    assert 600 < len(line) < 700


def test_an_exception_in_an_operation_is_a_failure_and_ends_nothing() -> None:
    record = Record()
    with record.operation("client", "push"):
        raise Unexpected("500 instead of 201")
    with record.operation("client", "push"):
        pass
    assert [operation.error for operation in record.operations] == [
        "Unexpected: 500 instead of 201",
        "",
    ]


def test_an_operation_that_the_end_cuts_off_is_none() -> None:
    record = Record()
    with record.operation("client", "push"):
        raise Stopped
    assert record.operations == []


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 50), (0.99, 99), (1, 100), (0, 1)], ids=["p50", "p99", "max", "min"]
)
def test_percentiles(share: float, value: float) -> None:
    assert percentile(range(100, 0, -1), share) == value


def test_nothing_measured_has_no_percentile() -> None:
    assert percentile([], 0.99) is None


@pytest.mark.parametrize(("header", "size"), [("0-0", 0), ("0-65535", 65536), ("bytes=0-9", 10)])
def test_how_much_of_an_upload_is_there(header: str, size: int) -> None:
    assert received(header) == size


def test_a_range_that_does_not_begin_at_the_beginning_is_refused() -> None:
    with pytest.raises(Unexpected, match="an upload's Range is '5-9'"):
        received("5-9")
