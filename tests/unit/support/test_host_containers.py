"""How test hosts are started and removed, with a docker that only answers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support import host_containers

MISSING = "Error response from daemon: No such container: hosts-a"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command that fails with what is written into this file."""
    command = tmp_path / "docker"
    command.write_text(f"#!/bin/sh\ncat {tmp_path}/answer >&2\nexit 1\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "answer"


def test_hosts_that_do_not_exist_are_removed(docker: Path) -> None:
    docker.write_text(f"{MISSING}\n")
    host_containers.remove_hosts("hosts", [{"name": "a"}])


def test_another_error_is_not_hidden_by_a_host_that_does_not_exist(docker: Path) -> None:
    problem = 'Error response from daemon: cannot remove container "hosts-b": device is busy'
    docker.write_text(f"{MISSING}\n{problem}\n")
    with pytest.raises(SystemExit) as caught:
        host_containers.remove_hosts("hosts", [{"name": "a"}, {"name": "b"}])
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    "answer",
    [
        # Docker 28 and Docker 20.10.
        "Error response from daemon: network hosts not found\nexit status 1\n",
        "Error: No such network: hosts\n",
    ],
)
def test_a_network_that_does_not_exist_is_removed(docker: Path, answer: str) -> None:
    docker.write_text(answer)
    host_containers.docker("network", "rm", "hosts", expected=host_containers.NO_NETWORK)
