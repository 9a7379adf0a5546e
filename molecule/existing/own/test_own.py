"""What was on the machine before still works, and has not been touched."""

from __future__ import annotations

import http.client
import ssl

import pytest

from support import hosts


@pytest.mark.parametrize(
    ("port", "secure", "said"),
    [
        (8081, False, "own site\n"),
        (443, True, "own secure site\n"),
        (8082, False, "own container\n"),
    ],
)
def test_the_machines_own_services_answer(port: int, secure: bool, said: str) -> None:
    address = hosts.variables("existing")["ansible_host"]
    connection: http.client.HTTPConnection
    if secure:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the machine's own certificate is of no interest here
        connection = http.client.HTTPSConnection(address, port, timeout=10, context=context)
    else:
        connection = http.client.HTTPConnection(address, port, timeout=10)
    connection.request("GET", "/", headers={"Host": "own.test"})
    assert connection.getresponse().read().decode() == said


def test_its_container_was_never_restarted() -> None:
    machine = hosts.host("existing")
    started = machine.check_output("docker inspect --format '{{.State.StartedAt}}' own-web")
    assert started == machine.check_output("cat /root/own-web.started")


def test_its_packages_are_still_installed() -> None:
    machine = hosts.host("existing")
    assert machine.package("nginx").is_installed
    assert machine.package("docker.io").is_installed
    assert machine.file("/etc/nginx/conf.d/own.conf").exists
