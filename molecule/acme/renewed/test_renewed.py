"""Seventy days later, the timer's service alone has installed a new certificate."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support import hosts


@pytest.fixture(params=hosts.group("registry"))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def met(name: str) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = json.loads(
        (hosts.ephemeral() / f"{name}-renewal.json").read_text()
    )
    return answers


def test_clients_are_given_the_new_certificate_after_the_old_one(met: list[dict[str, Any]]) -> None:
    # While nginx reloads, its old and new workers both accept connections for a moment. Clients may
    # see both certificates in turn before they see only the new one.
    certificates = [answer["certificate"] for answer in met]
    assert len(set(certificates)) == 2
    assert certificates[0] != certificates[-1]
    assert all(answer["issuer"].startswith("Pebble Intermediate") for answer in met)


def test_no_request_failed_meanwhile(met: list[dict[str, Any]]) -> None:
    assert {answer.get("status") for answer in met} == {401}
    assert sum(answer["count"] for answer in met) >= 20


def test_the_old_certificate_was_kept_until_it_was_due(
    name: str, met: list[dict[str, Any]]
) -> None:
    first = json.loads((hosts.ephemeral() / f"{name}-first.json").read_text())
    assert met[0]["certificate"] == first[-1]["certificate"]


def test_the_service_succeeded_and_nobody_was_alarmed(name: str) -> None:
    machine = hosts.host(name)
    assert machine.run("systemctl is-failed wharfinger-renew.service").stdout.strip() != "failed"
    assert not machine.file("/var/tmp/alerts").exists
