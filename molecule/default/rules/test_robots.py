"""Accounts of machines: what they may do, from where, and what nobody grants them."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator

import pytest
from testinfra.host import Host

from support import hosts
from support.docker import Docker
from support.images import Pushed
from support.registry import Account, Registry


@pytest.fixture
def docker(client: Host, registry: Registry) -> Iterator[Docker]:
    made = Docker(client, registry)
    yield made
    client.run("rm -rf %s", made.configuration)


@pytest.mark.parametrize("robot", ["ci", "nodes"])
def test_a_robot_signs_in_with_its_secret_and_with_nothing_else(
    registry: Registry, robot: str
) -> None:
    assert registry.login(hosts.account(robot)) == 200
    assert registry.login(Account(robot, "wrong")) == 401


def test_a_robot_does_what_its_rules_say(registry: Registry, images: dict[str, Pushed]) -> None:
    ci, nodes = hosts.account("ci"), hosts.account("nodes")
    pushed = registry.push(ci, "team/deep/robot", "latest", os.urandom(512))
    assert pushed.status == 201
    digest = pushed.headers["docker-content-digest"]
    assert registry.push(ci, "ci/own", "latest", os.urandom(512)).status == 201
    for robot in (ci, nodes):
        assert registry.pull(robot, "team/deep/robot", digest).status == 200
        assert registry.delete(robot, "team/deep/robot", digest).status == 401
        assert registry.push(robot, "other/app", "robot", os.urandom(512)).status == 401
        assert registry.pull(robot, "other/app", images["other/app"].digest).status == 401
        assert registry.catalog(robot).status == 401
    assert registry.push(nodes, "team/deep/robot", "latest", os.urandom(512)).status == 401
    assert registry.push(nodes, "ci/own", "latest", os.urandom(512)).status == 401


def test_rules_for_everyone_do_not_apply_to_robots(registry: Registry, admin: Account) -> None:
    pushed = registry.push(admin, "welcome/app", "latest", os.urandom(512))
    digest = pushed.headers["docker-content-digest"]
    assert registry.pull(hosts.account("stranger"), "welcome/app", digest).status == 200
    for robot in ("ci", "nodes"):
        assert registry.pull(hosts.account(robot), "welcome/app", digest).status == 401


def test_rights_of_anonymous_are_not_a_robots(
    registry: Registry, images: dict[str, Pushed]
) -> None:
    digest = images["public/app"].digest
    assert registry.pull(hosts.account("anonymous"), "public/app", digest).status == 200
    assert registry.pull(hosts.account("nodes"), "public/app", digest).status == 401


def test_from_a_wrong_address_a_robot_is_refused(registry: Registry, machine: Host) -> None:
    outside = hosts.account("outside")
    answer = registry.token_answer(outside, "repository:team/app:pull")
    assert answer.status == 401
    # Only the log has the reason: a client cannot tell its secret from a guess or an unknown name.
    assert answer.json["errors"][0]["message"] == "wrong user or password"
    for other in (Account("outside", "wrong"), Account("unheard-of", outside.password)):
        assert registry.token_answer(other).body == answer.body
    log = machine.file("/var/log/wharfinger/decisions.log").content_string
    decisions = [json.loads(line) for line in log.splitlines()]
    last = [decision for decision in decisions if decision.get("account") == "outside"]
    assert {decision["status"] for decision in last} == {401}
    assert {decision["result"] for decision in last} == {"not_let_in"}
    assert all(decision["shut"].startswith("may not log in from ") for decision in last), last


def test_a_real_docker_pulls_as_a_robot(
    docker: Docker, registry: Registry, images: dict[str, Pushed]
) -> None:
    registry.push(hosts.account("ci"), "team/robot", "kept", os.urandom(512))
    assert docker.login("nodes").rc == 0
    image = docker.image("team/pushed-by-robot")
    assert docker("push", image).rc != 0
    assert docker.login("ci").rc == 0
    pushed = docker("push", image)
    assert pushed.rc == 0, pushed.stderr
    docker("image rm --force", image)
    assert docker.login("nodes").rc == 0
    pulled = docker("pull", image)
    assert pulled.rc == 0, pulled.stderr


def test_from_a_wrong_address_a_real_docker_cannot_sign_in(docker: Docker) -> None:
    assert docker.login("outside").rc != 0


def test_a_secret_has_256_bits_and_its_owner_alone_reads_it(machine: Host) -> None:
    record = json.loads(machine.check_output("cat /var/lib/wharfinger/users.json"))
    for robot in ("ci", "nodes", "outside"):
        path = hosts.inventory_file().parent / "credentials" / robot
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(hosts.account(robot).password) == 43
        assert record[robot]["hash"].startswith("$2b$04$")
