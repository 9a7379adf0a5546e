"""The ACME server is back, and then the registry has got an additional name."""

from __future__ import annotations

import hashlib
import json
import ssl

import pytest

from support import hosts
from support.registry import Registry


@pytest.fixture(params=hosts.group("registry"))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_service_has_recovered_by_itself(name: str) -> None:
    machine = hosts.host(name)
    assert machine.run("systemctl is-failed wharfinger-renew.service").stdout.strip() != "failed"
    assert not machine.file("/var/lib/wharfinger/acme-work/failed.json").exists


def test_another_certificate_is_served(name: str) -> None:
    address = hosts.variables(name)["ansible_host"]
    certificate = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((address, 443)))
    before = json.loads((hosts.ephemeral() / f"{name}-failure.json").read_text())
    assert hashlib.sha256(certificate).hexdigest() != before[-1]["certificate"]


@pytest.mark.parametrize("more", ["", "-too"])
def test_the_certificate_is_for_both_names(name: str, more: str) -> None:
    address = hosts.variables(name)["ansible_host"]
    registry = Registry(
        f"{name}{more}.wharfinger.test", address, str(hosts.ephemeral() / "root.crt")
    )
    assert registry.request("GET", "/v2/").status == 401
