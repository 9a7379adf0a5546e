"""The first host is gone. A bare host of another Debian release, at another address, becomes this
registry: first from a repository with one flipped byte, then from the whole one.

The tests run in the order in which they are written.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

import load
from load import Load, Target
from load.backups import BackedUp
from load.plays import Operator
from support import hosts
from support.registry import Account, Registry, digest
from support.waiting import enough

FIRST, SECOND, STORE = "debian12", "debian13", "store"
HOSTNAME = f"{FIRST}.wharfinger.test"
REPOSITORIES = "/var/lib/wharfinger/registry/docker/registry/v2/repositories"
# Runs on the store: a copy of the repository in which one byte is another one.
# sys.argv[1:]: the pack, and the byte's place in it.
DAMAGED = """
import subprocess, sys
from pathlib import Path
home = Path("/home/keeper")
subprocess.run(["cp", "--archive", home / "registry", home / "damaged"], check=True)
pack = home / "damaged/data" / sys.argv[1][:2] / sys.argv[1]
content = bytearray(pack.read_bytes())
content[int(sys.argv[2])] ^= 1
pack.chmod(0o600)
pack.write_bytes(content)
"""


@pytest.fixture(scope="module", autouse=True)
def gone(first: BackedUp, kept: Any) -> None:
    """The first host is no more, and its users have changed since: one was removed."""
    kept.survivor_at = first.place_of(kept.survivor)
    subprocess.run(["docker", "kill", first.container], check=True, capture_output=True)
    file = hosts.ephemeral() / "users.json"
    users = json.loads(file.read_text())
    del users["registry_users"]["stranger"]
    file.write_text(json.dumps(users))


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """The same inventory, in which the registry's host is at another address."""
    folder = tmp_path_factory.mktemp("inventory")
    for name in ("group_vars", "credentials"):
        (folder / name).symlink_to((hosts.inventory_file().parent / name).resolve())
    moved = {"registry": {"hosts": {FIRST: hosts.variables(SECOND)}}}
    (folder / "hosts.yml").write_text(json.dumps(moved))
    return Operator(folder, FIRST)


@pytest.fixture(scope="module")
def second() -> Host:
    return hosts.host(SECOND)


@pytest.fixture(scope="module")
def registry(authority: Path) -> Registry:
    """The registry at its new address, for clients that trust what they always trusted."""
    return Registry(HOSTNAME, hosts.variables(SECOND)["ansible_host"], str(authority))


def clients(registry: Registry, authority: Path) -> Load:
    """Clients that use the registry at its new address, and trust what they always trusted."""
    admin = hosts.account("admin")
    account = load.Account(admin.name, admin.password)
    return Load(Target(HOSTNAME, registry.address), account, authority)


def tags(second: Host) -> set[str]:
    """The tags in the second host's storage, as NAME:TAG."""
    links = second.run(f"find {REPOSITORIES} -path '*/_manifests/tags/*/current/link'").stdout
    return {
        f"{repository}:{tag}"
        for repository, tag in re.findall(
            rf"{REPOSITORIES}/(.+)/_manifests/tags/([^/]+)/current/link", links
        )
    }


def test_a_flipped_byte_is_named_and_nothing_that_needs_it_is_served(
    operator: Operator, second: Host, kept: Any
) -> None:
    pack, place = kept.survivor_at
    hosts.script(STORE, DAMAGED, pack, str(place))
    damaged = "sftp:keeper@store.wharfinger.test:/home/keeper/damaged"
    run = operator.begin("playbooks/restore.yml", backup_repository=damaged).wait()
    assert run.code != 0
    assert "missing or damaged in the repository" in run.said
    named = re.search(r"tags left out: (\S+:\S+(?:, \S+:\S+)*)", run.said)
    assert named, run.output
    left_out = set(named[1].split(", "))
    assert "team/app:latest" in left_out
    assert kept.survivor in run.said
    restored = tags(second)
    assert restored
    assert not restored & left_out
    # It does not serve before everything is there.
    assert second.run("docker ps --quiet").stdout == ""


def test_a_bare_host_becomes_this_registry(
    operator: Operator, second: Host, registry: Registry, kept: Any, authority: Path
) -> None:
    """The repository is whole again, so the restore goes on."""
    assert "snapshot" in operator.play("playbooks/restore.yml").said
    assert clients(registry, authority).lost(kept.pushed) == []


def test_what_was_there_is_there_with_its_times(second: Host, registry: Registry) -> None:
    admin = hosts.account("admin")
    answer = registry.call(admin, "repository:due/app:pull", "GET", "/v2/due/app/tags/list")
    assert set(answer.json["tags"]) == {"1", "2", "3", "moved"}
    age = second.check_output(f"find {REPOSITORIES}/due -path '*/current/link' -mtime +29 | wc -l")
    assert age == "4"
    checked = json.loads(second.check_output("wharfinger-host check_contents --json"))
    assert checked["damage"] == []


def test_users_and_robots_log_in_and_who_was_removed_does_not(registry: Registry) -> None:
    for name in ("admin", "readonly", "someuser", "newcomer", "ci"):
        assert registry.login(hosts.account(name)) == 200, name
    users = hosts.users()
    for name, password in {**users["former"], "stranger": users["passwords"]["stranger"]}.items():
        assert registry.login(Account(name, password)) == 401, name


def test_no_signing_key_of_the_first_host_came_back(registry: Registry, kept: Any) -> None:
    assert set(kept.tokens) == {"revoked", "used"}
    for token in kept.tokens.values():
        headers = {"Authorization": f"Bearer {token}"}
        assert registry.request("GET", "/v2/load/stable/tags/list", headers=headers).status == 401


def test_what_is_due_at_once_waits_again(second: Host, registry: Registry) -> None:
    """A manifest lost its tag a month ago; registry_untagged_keep is two weeks."""
    collected = json.loads(second.check_output("wharfinger-host collect --json"))
    assert (collected["untagged"], collected["blobs"]) == (0, 0)


def test_a_second_run_changes_nothing(operator: Operator) -> None:
    assert operator.play("site.yml").changed == 0


def test_a_rule_that_is_due_removes_tags_alone(second: Host, registry: Registry) -> None:
    """Of due/app the newest tag stays. What the others led to stays for registry_untagged_keep."""
    admin = hosts.account("admin")
    tags = ("1", "2", "3", "moved")
    manifests = [digest(registry.pull(admin, "due/app", tag).body) for tag in tags]
    done = json.loads(second.check_output("wharfinger-host retention --json"))
    assert done["removed"] == 3
    answer = registry.call(admin, "repository:due/app:pull", "GET", "/v2/due/app/tags/list")
    assert answer.json["tags"] == ["3"]
    collected = json.loads(second.check_output("wharfinger-host collect --json"))
    assert (collected["untagged"], collected["blobs"]) == (0, 0)
    for manifest in manifests:
        assert digest(registry.pull(admin, "due/app", manifest).body) == manifest


def test_clients_go_on(registry: Registry, authority: Path) -> None:
    with clients(registry, authority) as pushing:
        enough(lambda: len(pushing.operations()))
    assert pushing.failures() == []
