"""Nothing of the toolkit is left, once its data has been named."""

from __future__ import annotations

import pytest

from support import hosts


@pytest.mark.parametrize(
    "path",
    [
        "/etc/wharfinger",
        "/var/lib/wharfinger",
        "/etc/nginx/conf.d/wharfinger.conf",
        "/etc/nginx/wharfinger",
        "/usr/local/lib/wharfinger",
        "/usr/local/sbin/wharfinger-host",
    ],
)
def test_the_toolkits_files_are_gone(path: str) -> None:
    assert not hosts.host("existing").file(path).exists


def test_the_toolkits_containers_images_and_network_are_gone() -> None:
    machine = hosts.host("existing")
    assert machine.check_output("docker ps --all --format '{{.Names}}'").split() == ["own-web"]
    assert "wharfinger" not in machine.check_output("docker images --format '{{.Repository}}'")
    assert "wharfinger" not in machine.check_output("docker network ls --format '{{.Name}}'")
