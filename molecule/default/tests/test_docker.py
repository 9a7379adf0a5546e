"""The registry as people use it: a real Docker on a machine that trusts only its authority."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from testinfra.host import Host

from support.docker import Docker
from support.registry import Registry


@pytest.fixture
def docker(client: Host, registry: Registry) -> Iterator[Docker]:
    made = Docker(client, registry)
    yield made
    client.run("rm -rf %s", made.configuration)


@pytest.mark.parametrize(
    ("user", "repository"),
    [
        ("admin", "anything/at/all"),
        ("someuser", "someuser/tool"),
        ("someuser", "someuser/deep/er/tool"),
        ("someuser", "team/tool"),
    ],
)
def test_what_is_pushed_can_be_pulled_again(docker: Docker, user: str, repository: str) -> None:
    assert docker.login(user).rc == 0
    image = docker.image(repository)
    identity = docker("image inspect --format '{{.Id}}'", image).stdout
    pushed = docker("push", image)
    assert pushed.rc == 0, pushed.stderr
    by_digest = docker("image inspect --format '{{index .RepoDigests 0}}'", image).stdout.strip()

    for reference in (image, by_digest):
        docker("image rm --force", identity.strip())
        pulled = docker("pull", reference)
        assert pulled.rc == 0, pulled.stderr
        assert docker("image inspect --format '{{.Id}}'", reference).stdout == identity


@pytest.mark.parametrize(
    ("user", "repository"),
    [
        ("someuser", "other/tool"),
        ("someuser", "team/deep/tool"),
        ("readonly", "readonly/tool"),
        ("readonly", "someuser/tool"),
        ("stranger", "stranger/tool"),
        ("anonymous", "public/tool"),
    ],
)
def test_a_push_where_one_may_not_is_denied(docker: Docker, user: str, repository: str) -> None:
    if user != "anonymous":
        assert docker.login(user).rc == 0
    answer = docker("push", docker.image(repository))
    assert answer.rc != 0
    assert "denied" in answer.stderr or "unauthorized" in answer.stderr, answer.stderr


def test_readonly_pulls_what_others_pushed(docker: Docker) -> None:
    assert docker.login("admin").rc == 0
    image = docker.image("other/tool")
    assert docker("push", image).rc == 0
    assert docker.login("readonly").rc == 0
    docker("image rm --force", image)
    assert docker("pull", image).rc == 0


def test_a_public_image_is_pulled_without_login(docker: Docker) -> None:
    assert docker.login("admin").rc == 0
    image = docker.image("public/tool")
    assert docker("push", image).rc == 0
    assert docker("logout", docker.registry.name).rc == 0
    docker("image rm --force", image)
    assert docker("pull", image).rc == 0


def test_a_wrong_password_is_refused(docker: Docker) -> None:
    answer = docker(f"login --username admin --password wrong {docker.registry.name}")
    assert answer.rc != 0
    assert "unauthorized" in answer.stderr.lower(), answer.stderr


def test_a_machine_that_does_not_trust_the_authority_is_not_fooled(
    docker: Docker, client: Host
) -> None:
    trusted = f"/etc/docker/certs.d/{docker.registry.name}"
    client.check_output("mv %s /root/aside", trusted)
    try:
        answer = docker.login("admin")
    finally:
        client.check_output("mv /root/aside %s", trusted)
    assert answer.rc != 0
    assert "certificate signed by unknown authority" in answer.stderr
