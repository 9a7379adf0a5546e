"""The registry serves beside other people's sites, and with a certificate that they issued."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support import hosts, picture

HERE = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])


@pytest.fixture(params=hosts.group("registry"))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_registry_serves(name: str) -> None:
    registry, someuser = hosts.registry(name), hosts.account("someuser")
    assert registry.push(someuser, "someuser/app", "latest", b"a layer").status == 201
    assert registry.pull(someuser, "someuser/app", "latest").status == 200
    assert registry.push(someuser, "other/app", "latest", b"a layer").status == 401


def test_the_provided_certificate_is_served_and_no_authority_made() -> None:
    provided = hosts.ephemeral() / "certificates"
    machine = hosts.host("brought")
    served = machine.file("/etc/wharfinger/certificates/tls.crt").content_string
    assert served == (provided / "chain.crt").read_text()
    assert not machine.file("/etc/wharfinger/certificates/ca.key").exists
    published = hosts.inventory_file().parent / "credentials/brought.wharfinger.test-ca.crt"
    assert published.read_text() == (provided / "root.crt").read_text()


def test_nothing_of_other_people_has_changed() -> None:
    now = hosts.ephemeral() / "shared-verified.json"
    now.write_text(hosts.script("shared", Path(picture.__file__).read_text(encoding="utf-8")))
    before = hosts.ephemeral() / "shared-before.json"
    compared = subprocess.run(
        # The package's nginx.conf was changed to allow more connections; the removal restores it.
        [HERE / "compare.py", before, now, "--more", "file /etc/nginx/nginx.conf"],
        capture_output=True,
        text=True,
    )
    assert (compared.returncode, compared.stdout.strip()) == (0, "")


def test_other_peoples_sites_and_container_answer() -> None:
    address = hosts.variables("shared")["ansible_host"]
    root = hosts.ephemeral() / "certificates/intranet_root.crt"
    run = subprocess.run([HERE / "foreign.py", address, root], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "")


def test_engine_and_proxy_that_were_there_are_not_on_record_as_brought() -> None:
    for name, brought in (("shared", False), ("brought", True)):
        state = hosts.host(name).file("/var/lib/wharfinger/state.json").content_string
        assert ('"nginx"' in state) is brought, name
        assert ('"docker.io"' in state) is brought, name
