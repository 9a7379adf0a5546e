"""The logs that nginx writes for the toolkit: rotation, owners, how long they are kept, gaps."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.unit.host.world import Machine, host_of
from wharfinger.host.commands import run
from wharfinger.host.observation import metrics
from wharfinger.host.system import logs
from wharfinger.host.system.context import Host

DAY = 86_400


@pytest.fixture
def host(tmp_path: Path, machine: Machine) -> Host:
    host = host_of(tmp_path, machine)
    # The files' own times are those of the real clock.
    machine.seconds = float(int(time.time()))
    run("prepare", {}, host=host)
    run("site", {"content": "server {}\n"}, host=host)
    return host


def decisions(host: Host, numbers: Iterable[int], process: str = "0123abcd") -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(host.clock.now()))
    with (host.paths.log / "decisions.log").open("a") as file:
        for number in numbers:
            text = f'"process":"{process}","number":{number},"event":"token"'
            file.write(f'{{"time":"{stamp}.123Z",{text}}}\n')


def closed_now(host: Host) -> Path:
    """The name that a decisions.log gets that is closed now."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(host.clock.now()))
    return host.paths.log / f"decisions-{moment}.log"


def names(host: Host) -> set[str]:
    return {path.name for path in host.paths.log.iterdir()}


def test_nginx_finds_closed_files_and_others_none(host: Host) -> None:
    assert names(host) == {"access.log", "decisions.log"}
    for name in names(host):
        assert (host.paths.log / name).stat().st_mode & 0o777 == 0o640
    assert host.paths.log.stat().st_mode & 0o777 == 0o755


def test_a_log_is_rotated_by_its_age(host: Host, machine: Machine) -> None:
    decisions(host, [1, 2])
    machine.seconds += DAY - 1
    assert logs.keep(host) == []
    machine.seconds += 1
    # The other log is empty.
    assert logs.keep(host) == [f"{host.paths.log}/decisions.log: rotated"]
    closed = closed_now(host)
    assert names(host) == {"access.log", "decisions.log", closed.name}
    assert (host.paths.log / "decisions.log").read_text() == ""
    # The next run compresses it, and changes nothing else.
    assert logs.keep(host) == []
    closed = closed.with_name(f"{closed.name}.gz")
    assert names(host) == {"access.log", "decisions.log", closed.name}
    assert len(gzip.decompress(closed.read_bytes()).splitlines()) == 2
    assert closed.stat().st_mode & 0o777 == 0o640
    before = closed.stat()
    assert logs.keep(host) == []
    assert closed.stat() == before


def test_a_log_is_rotated_by_its_size(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LARGEST", 500)
    decisions(host, range(1, 3))
    assert logs.keep(host) == []
    decisions(host, range(3, 30))
    assert logs.keep(host) == [f"{host.paths.log}/decisions.log: rotated"]


def test_what_nginx_has_given_to_its_workers_is_roots_once_it_is_closed(host: Host) -> None:
    """As nginx opens its logs again: the new file belongs to its workers' user."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    decisions(host, [1])
    for name in names(host):
        os.chown(host.paths.log / name, 33, 4)
    host.clock.sleep(DAY)
    logs.keep(host)
    assert closed_now(host).stat().st_uid == 0
    # Left by a run that was killed in between.
    left = host.paths.log / "access-20270115T000000Z.log"
    left.write_text("{}\n")
    os.chown(left, 33, 4)
    logs.keep(host)
    assert left.with_name(f"{left.name}.gz").stat().st_uid == 0


def test_what_is_old_goes_and_of_each_log_what_is_too_much(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "KEPT_BYTES", 1000)
    now = host.clock.now()

    def closed(name: str, days: float, size: int) -> None:
        path = host.paths.log / name
        path.write_bytes(b"x" * size)
        os.utime(path, (now - days * DAY, now - days * DAY))

    closed("access-1.log.gz", 3, 600)
    closed("access-2.log.gz", 2, 600)
    closed("access-3.log.gz", 1, 300)
    closed("decisions-1.log.gz", 29.9, 900)
    closed("decisions-0.log.gz", 30.1, 1)
    closed("token-server-1.log.gz", 4, 900)
    # While the clock is in doubt, nothing is removed for its age.
    assert logs.keep(host, by_age=False) == [f"{host.paths.log}/access-1.log.gz: removed"]
    assert set(logs.keep(host)) == {
        f"{host.paths.log}/decisions-0.log.gz: removed",
    }


def lost(host: Host) -> int:
    logs.keep(host)
    return logs.lost(host)


def test_a_decision_that_was_not_written_is_counted(host: Host) -> None:
    assert logs.lost(host) == 0
    decisions(host, [1, 2, 3])
    assert lost(host) == 0
    # 4 and 5 come from two workers, in reverse order.
    decisions(host, [5])
    assert lost(host) == 1
    decisions(host, [4])
    assert lost(host) == 0
    decisions(host, [8, 9])
    decisions(host, [1, 2, 4], "another0")
    decisions(host, [10])
    assert lost(host) == 2
    decisions(host, [1, 2, 4], "abcdef01")
    assert lost(host) == 3
    assert "wharfinger_host_decisions_lost 3\n" in metrics.text(host)


def test_no_line_is_missed_across_a_rotation_of_the_log(host: Host) -> None:
    decisions(host, [1, 2])
    assert lost(host) == 0
    decisions(host, [3, 5])
    host.clock.sleep(DAY)
    logs.keep(host)  # rotates
    decisions(host, [6, 8])
    assert lost(host) == 2


def test_a_record_that_is_damaged_begins_where_the_log_does(host: Host) -> None:
    decisions(host, [7, 8, 10])
    host.paths.log_record.write_text("half a rec")
    assert lost(host) == 1
    # A line that nginx is still writing is counted once it is complete.
    with (host.paths.log / "decisions.log").open("a") as file:
        file.write('{"time":"x","process":"0123abcd","number":13')
    assert lost(host) == 1
    with (host.paths.log / "decisions.log").open("a") as file:
        file.write(',"event":"token"}\n')
    assert lost(host) == 3
    assert json.loads(host.paths.log_record.read_text())["last"] == {"0123abcd": 13}


def test_what_earlier_versions_had_beside_nginxs_logs_is_kept_with_ours(host: Host) -> None:
    host.paths.nginx_log.mkdir()
    for name in ("wharfinger.log", "wharfinger.log.2.gz", "wharfinger-token-server.log", "x.log"):
        (host.paths.nginx_log / name).write_text("{}\n")
    request = {"content": "server { }\n"}
    would = run("site", request, host=host, check=True)["actions"]
    assert run("site", request, host=host)["actions"] == would
    assert {path.name for path in host.paths.nginx_log.iterdir()} == {"x.log"}
    assert "earlier-wharfinger.log.2.gz" in names(host)
    assert run("site", request, host=host)["changed"] is False
    logs.keep(host)
    assert "earlier-wharfinger-token-server.log.gz" in names(host)
