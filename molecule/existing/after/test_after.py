"""Nothing of the toolkit is left after a removal with remove_data."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support import hosts

HERE = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])


@pytest.mark.parametrize("name", ["shared", "brought"])
@pytest.mark.parametrize(
    "path",
    [
        "/etc/wharfinger",
        "/var/lib/wharfinger",
        "/etc/nginx/sites-enabled/zz-wharfinger.conf",
        "/etc/nginx/wharfinger",
        "/var/log/wharfinger/access.log",
        "/usr/local/lib/wharfinger",
        "/usr/local/sbin/wharfinger-host",
    ],
)
def test_the_toolkits_files_are_gone(name: str, path: str) -> None:
    assert not hosts.host(name).file(path).exists


def test_other_peoples_sites_and_container_answer() -> None:
    address = hosts.variables("shared")["ansible_host"]
    root = hosts.ephemeral() / "certificates/intranet_root.crt"
    run = subprocess.run([HERE / "foreign.py", address, root], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "")


def test_docker_and_nginx_stay_where_they_were_and_go_where_they_came() -> None:
    for package in ("docker.io", "nginx"):
        assert hosts.host("shared").package(package).is_installed
        assert not hosts.host("brought").package(package).is_installed
