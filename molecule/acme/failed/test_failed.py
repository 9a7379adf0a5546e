"""The ACME server cannot be reached when a certificate is due."""

from __future__ import annotations

import json

import pytest
from testinfra.host import Host

from support import hosts

MESSAGE = (
    "certificates: no certificate from pebble.wharfinger.test: it cannot be reached "
    "(Connection refused): look at certificates_acme_directory and at this host's way there"
)


@pytest.fixture(params=hosts.group("registry"))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def machine(name: str) -> Host:
    return hosts.host(name)


def test_the_old_certificate_is_served_without_a_failed_request(name: str) -> None:
    met = json.loads((hosts.ephemeral() / f"{name}-failure.json").read_text())
    before = json.loads((hosts.ephemeral() / f"{name}-renewal.json").read_text())
    assert [(answer["certificate"], answer["status"]) for answer in met] == [
        (before[-1]["certificate"], 401)
    ]


def test_the_service_has_failed(machine: Host) -> None:
    assert machine.run("systemctl is-failed wharfinger-renew.service").stdout.strip() == "failed"


def test_the_journal_says_why(machine: Host) -> None:
    said = machine.check_output("journalctl --unit wharfinger-renew.service --output cat")
    assert MESSAGE in said


def test_the_alarm_was_given_once(name: str, machine: Host) -> None:
    alerts = machine.file("/var/tmp/alerts").content_string
    assert alerts.startswith(f"{name}.wharfinger.test: {MESSAGE}")
    assert alerts.count(MESSAGE) == 1


def test_the_server_was_asked_once_and_the_next_attempt_waits(machine: Host) -> None:
    failed = json.loads(machine.file("/var/lib/wharfinger/acme-work/failed.json").content_string)
    assert failed["count"] == 1
    assert failed["again"] - failed["at"] == 3600


def test_a_person_who_runs_it_sees_the_exit_code(machine: Host) -> None:
    # The clock must not be in doubt here.
    forget = "rm -f /var/lib/wharfinger/clock.json"
    said = machine.run(
        f"{forget}; env LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 "
        f"FAKETIME=+70d wharfinger-host renew; code=$?; {forget}; exit $code"
    )
    assert said.rc == 1
    assert MESSAGE in said.stderr


def test_no_secret_was_printed(name: str, machine: Host) -> None:
    secret = (hosts.ephemeral() / "eab_hmac_key").read_text().strip()
    journal = machine.check_output("journalctl --output cat")
    assert "wharfinger-renew" in journal
    assert secret not in journal + machine.file("/var/tmp/alerts").content_string
