"""The alarm's command reports everything that keeps a timer from its work. Each of these faults
once went unreported. Clients go on meanwhile, and nothing is restarted."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from faults import Bench, full

VAR = "/var/lib/wharfinger"
SETTINGS = "/etc/wharfinger/certificates/settings.json"
ALERTS = "/run/alerts"
RENEW = "wharfinger-renew.service"
REPORT = f"{VAR}/contents/collect.json"
COLLECT = "wharfinger-contents@collect.service"


@pytest.fixture(autouse=True)
def alarm(bench: Bench) -> Iterator[None]:
    """The alarm's command appends to a file."""
    before = bench.run(f"cat {SETTINGS}")
    settings = json.loads(before) | {"alert_command": f"cat >>{ALERTS}"}
    bench.run(f"printf %s {shlex.quote(json.dumps(settings))} >{SETTINGS}")
    bench.run(f"rm -f {ALERTS}; systemctl start {RENEW}; test ! -s {ALERTS}")
    yield
    bench.run(f"printf %s {shlex.quote(before)} >{SETTINGS}; rm -f {ALERTS}")
    bench.run(f"systemctl start {RENEW}")


def alerts(bench: Bench) -> str:
    # Without an alarm, there is no file.
    return bench.run(f"[ ! -e {ALERTS} ] || cat {ALERTS}")


def fails_twice(bench: Bench, words: str) -> None:
    """The unit of the renewals fails with these words twice, and one alarm reports it."""
    for _ in range(2):
        assert bench.machine.run(f"systemctl start {RENEW}").rc != 0
        # Until the unit that OnFailure= starts has ended.
        bench.until('[ -z "$(systemctl list-jobs --no-legend)" ]')
    alert = alerts(bench)
    assert alert.count(words) == 1, alert


@contextmanager
def killed(bench: Bench, unit: str) -> Iterator[None]:
    """The unit's program is killed at each start."""
    folder = f"/run/systemd/system/{unit}.d"
    text = '[Service]\nExecStart=\nExecStart=/bin/sh -c "kill -9 $$$$"\n'
    write = f"mkdir -p {folder}; printf %s {shlex.quote(text)} >{folder}/zz.conf"
    bench.run(f"{write}; systemctl daemon-reload")
    try:
        yield
    finally:
        bench.run(f"rm -r {folder}; systemctl daemon-reload")


@contextmanager
def replaced(bench: Bench, path: str, text: str) -> Iterator[None]:
    """A file has other content, or exists, only while the body runs."""
    bench.run(f"test ! -e {path} || cp -p {path} /run/kept; printf %s {shlex.quote(text)} >{path}")
    try:
        yield
    finally:
        bench.run(f"if [ -e /run/kept ]; then mv /run/kept {path}; else rm {path}; fi")


def test_a_damaged_state(bench: Bench) -> None:
    with replaced(bench, f"{VAR}/state.json", '{"format": 3'):
        fails_twice(bench, f"{VAR}/state.json cannot be read (JSONDecodeError)")
        # A job cannot even begin. Its report says so, and the next renewal raises the alarm.
        assert bench.machine.run(f"systemctl start {COLLECT}").rc != 0
        bench.until(f"[ -e {REPORT} ]")
    fails_twice(
        bench, "collect: it ended with exit code 1 and what it should have done is not done"
    )
    bench.run(f"rm {VAR}/contents/collect.json")


def test_damaged_settings(bench: Bench) -> None:
    with replaced(bench, SETTINGS, "{"):
        fails_twice(bench, f"{SETTINGS} cannot be read: run the whole site.yml")


@pytest.mark.parametrize(
    "text", ['{"ok": true}', "[]", "null", '{"ok": "yes", "job": "collect"}', ""]
)
def test_an_odd_report(bench: Bench, text: str) -> None:
    bench.run(f"mkdir -p {VAR}/contents")
    with replaced(bench, f"{VAR}/contents/collect.json", text):
        fails_twice(bench, "collect.json is not what collect writes, so how its last run ended is")
        assert "collect.json is not what collect" in bench.fails("wharfinger-host status")


def test_a_lock_that_is_held_for_a_week(bench: Bench) -> None:
    hold = f"import fcntl,time; f=open('{VAR}/lock'); fcntl.flock(f, 2); time.sleep(600)"
    bench.run(f"setsid python3 -c {shlex.quote(hold)} >/dev/null 2>&1 & echo $! >/run/holder")
    try:
        bench.until(f"! flock -n {VAR}/lock true")
        # The holder has been at work for an hour.
        bench.run(f"touch -d '1 hour ago' {VAR}/lock; systemctl start {RENEW}")
        assert alerts(bench) == ""
        bench.run(f"touch -d '7 days ago' {VAR}/lock")
        fails_twice(bench, "has been at work for 168 hours and holds")
    finally:
        bench.run("kill $(cat /run/holder)")


def test_a_full_disk(bench: Bench) -> None:
    """Even the lock's holder and the sent alarms cannot be recorded."""
    # A window whose process died, with the space that it reserves for the way back.
    bench.script(
        "import json, os\n"
        f"path = '{VAR}/state.json'\n"
        "state = json.load(open(path))\n"
        "state['window'] = {'job': 'collect', 'step': 'working', 'since': 1.0, 'until': 2.0,"
        " 'status': 503}\n"
        "json.dump(state, open(path, 'w'))\n"
        f"os.makedirs('{VAR}/contents', exist_ok=True)\n"
        f"with open('{VAR}/contents/reserve', 'wb') as file:\n"
        "    os.posix_fallocate(file.fileno(), 0, 4 << 20)"
    )
    with full(bench, "/srv/host"):
        # The process that fills the disk also takes any space that becomes free.
        said = bench.run("wharfinger-host reopen")
        assert "collect: it was interrupted; the registry takes writes again" in said
        assert bench.state()["window"] is None
        fails_twice(bench, "where the host's own files lie: make room")
        # A killed job that cannot write its report.
        with killed(bench, COLLECT):
            assert bench.machine.run(f"systemctl start {COLLECT}").rc != 0
            bench.until(f"grep -q collect: {ALERTS}")
    assert alerts(bench).count("collect: it was killed (SIGKILL)") == 1
    bench.run(f"rm -f {VAR}/contents/collect.json; systemctl start {RENEW}")


@pytest.mark.parametrize("unit", [RENEW, COLLECT])
def test_a_job_that_is_killed(bench: Bench, unit: str) -> None:
    with killed(bench, unit):
        assert bench.machine.run(f"systemctl start {unit}").rc != 0
    if unit == RENEW:
        bench.until(f"[ -s {ALERTS} ]")
        assert "renew: it was killed (SIGKILL)" in alerts(bench)
        return
    bench.until(f"[ -e {REPORT} ]")
    assert "collect: it was killed (SIGKILL)" in bench.fails("wharfinger-host status")
    metrics = bench.run("cat /run/wharfinger/host.prom")
    assert 'wharfinger_host_job_last_run_ok{job_name="collect"} 0' in metrics
    assert 'wharfinger_host_job_last_success_timestamp_seconds{job_name="renew"} ' in metrics
    fails_twice(bench, "collect: it was killed (SIGKILL)")
    bench.run(f"rm {VAR}/contents/collect.json")


def test_a_timer_that_does_not_run(bench: Bench) -> None:
    """The check of the contents has a timer by default, once a month."""
    bench.run(f"mkdir -p {VAR}/succeeded; touch -d '100 days ago' {VAR}/succeeded/check_contents")
    # A host that was off for that long raises no alarm: only the time since its boot counts.
    up = float(bench.run("cut -d' ' -f1 /proc/uptime"))
    assert up < 60 * 86400
    bench.run(f"systemctl start {RENEW}")
    assert alerts(bench) == ""
    bench.run(f"wharfinger-host check_contents; rm -f {VAR}/contents/check_contents.json")
    said = bench.machine.run("wharfinger-host status").stdout
    assert "succeeded     scrub, " in said and "succeeded     renew, " in said
    # The clock is ahead, and so is the time since the boot.
    later = bench.fails("faketime -f +100d wharfinger-host status")
    for job in ("renew", "check_contents"):
        assert f"{job}: it has not succeeded since" in later
