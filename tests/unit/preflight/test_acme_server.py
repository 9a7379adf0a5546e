"""An ACME server that does not answer the host, before anything is changed."""

from __future__ import annotations

from typing import Any

import pytest

from wharfinger.deployment.facts import HostFacts
from wharfinger.host.keys.acme import account
from wharfinger.preflight.acme_server import must_be_asked

from .conftest import NOW, Judge

DIRECTORY = "https://acme.example.net/directory"
ACME = {"certificates_tls_source": "acme", "certificates_acme_directory": DIRECTORY}
WHY = "no certificate can come from acme.example.net: it cannot be reached: look at it"


def test_nothing_is_deployed_without_a_certificate_to_come(judge: Judge) -> None:
    assert judge(host={"acme": WHY}, **ACME).errors == [
        f"certificates_acme_directory: {WHY}, or write certificates_tls_source: own_ca"
    ]
    assert judge(host={"acme": ""}, **ACME).errors == []


def test_a_registry_that_serves_already_is_deployed(judge: Judge) -> None:
    state = {"generations": {"registry": {"serving": {"number": 1}}}}
    report = judge(host={"acme": WHY, "state": state}, **ACME)
    assert report.errors == []
    assert (
        f"certificates_acme_directory: {WHY} (until then, the present certificate stays in use)"
        in report.warnings
    )


def test_a_fresh_host_without_authorities_is_not_refused(judge: Judge) -> None:
    why = "no certificate can come from acme.example.net: its own certificate is refused (…): set"
    packages = {"ca-certificates": None}
    assert judge(host={"acme": why, "packages": packages}, **ACME).errors == []
    packages = {"ca-certificates": "20250419"}
    assert judge(host={"acme": why, "packages": packages}, **ACME).errors != []


def settings(**more: str) -> dict[str, Any]:
    others = {"certificates_acme_email": "a@example.net", "certificates_acme_eab_kid": ""}
    return ACME | others | more


OWN = account(DIRECTORY, "a@example.net", "")
VALID = {"tls": {"not_after": NOW + 1}}


@pytest.mark.parametrize(
    ("host", "needed"),
    [
        ({}, True),
        ({"certificates": {"tls": None}}, True),
        # The certificate comes from the host's own authority, or was provided.
        ({"certificates": VALID}, True),
        ({"certificates": {"tls": {"not_after": NOW - 1}}, "acme_accounts": [OWN]}, True),
        # Another server, or another account at this one.
        ({"certificates": VALID, "acme_accounts": ["0123456789ab"]}, True),
        ({"certificates": VALID, "acme_accounts": [OWN]}, False),
    ],
)
def test_the_acme_server_must_answer_until_a_certificate_has_come(
    host: dict[str, Any], needed: bool
) -> None:
    assert must_be_asked(settings(), HostFacts.of({"clock": NOW} | host)) is needed


@pytest.mark.parametrize(
    "other",
    [{"certificates_tls_source": "own_ca"}, {"certificates_acme_directory": "http://acme.test"}],
)
def test_without_a_server_nothing_is_asked(other: dict[str, str]) -> None:
    assert must_be_asked(settings(**other), HostFacts.of({"clock": NOW})) is False
