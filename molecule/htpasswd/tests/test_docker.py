"""The registry as people use it: a real Docker on a machine that trusts only its authority."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import hosts
from support.docker import Docker


@pytest.fixture
def docker() -> Iterator[Docker]:
    made = Docker(hosts.host("client"), hosts.registry("htpasswd", auth="htpasswd"))
    yield made
    made.client.run("rm -rf %s", made.configuration)


def test_what_one_user_pushes_another_pulls(docker: Docker) -> None:
    assert docker.login("someuser").rc == 0
    image = docker.image("other/deep/tool")
    pushed = docker("push", image)
    assert pushed.rc == 0, pushed.stderr
    docker("image rm --force", image)
    assert docker.login("readonly").rc == 0
    pulled = docker("pull", image)
    assert pulled.rc == 0, pulled.stderr


def test_nothing_is_pushed_or_pulled_without_login(docker: Docker) -> None:
    assert docker.login("admin").rc == 0
    image = docker.image("public/tool")
    assert docker("push", image).rc == 0
    assert docker("logout", docker.registry.name).rc == 0
    for command in ("push", "pull"):
        answer = docker(command, image)
        assert answer.rc != 0
        assert "no basic auth credentials" in answer.stderr, answer.stderr


def test_a_wrong_password_is_refused(docker: Docker) -> None:
    answer = docker(f"login --username admin --password wrong {docker.registry.name}")
    assert answer.rc != 0
    assert "unauthorized" in answer.stderr.lower(), answer.stderr
