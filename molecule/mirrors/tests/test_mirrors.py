"""Mirrors on real hosts: update, lock, drift, mistakes, and upstreams that are gone.

The tests run in the order in which they are written.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from load.plays import Operator, Played
from support import hosts
from support.registry import Registry, digest, manifest

MIRROR = "playbooks/mirror.yml"
FROM = "upstream.wharfinger.test/team/debian"
PLAIN = "client.wharfinger.test:5000/plain/app"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture(scope="module")
def operator() -> Operator:
    return Operator(hosts.inventory_file().parent, "mirror")


@pytest.fixture(scope="module")
def upstream() -> Registry:
    return hosts.registry("upstream")


@pytest.fixture(scope="module")
def mirror() -> Registry:
    return hosts.registry("mirror")


def lock_file() -> Path:
    return hosts.inventory_file().parent / "mirror.lock"


def pushed(upstream: Registry, tag: str) -> str:
    """Pushes a new image; returns its digest."""
    answer = upstream.push(hosts.account("admin"), "team/debian", tag, os.urandom(4096))
    assert answer.status == 201
    return answer.headers["docker-content-digest"]


def pulled(mirror: Registry, reference: str) -> str | None:
    """The digest of what a user pulls; None if it is not there."""
    answer = mirror.pull(hosts.account("readonly"), "base/debian", reference)
    return digest(answer.body) if answer.status == 200 else None


def plain(method: str, path: str, body: bytes = b"", kind: str = "") -> Any:
    """A request to the plain upstream."""
    address = hosts.variables("client")["ansible_host"]
    url = path if path.startswith("http") else f"http://{address}:5000{path}"
    request = urllib.request.Request(url, body or None, {"Content-Type": kind}, method=method)
    return urllib.request.urlopen(request, timeout=60)


def layer_with(content: bytes) -> bytes:
    """A layer with one file."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        entry = tarfile.TarInfo("content")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return data.getvalue()


def pushed_plainly(tag: str) -> tuple[str, dict[str, str]]:
    """Pushes an index with two platforms to the plain upstream; returns its digest, and those of
    its children by architecture."""
    entries, children = [], {}
    for architecture in ("amd64", "arm64"):
        layer = layer_with(os.urandom(4096))
        config = json.dumps(
            {
                "architecture": architecture,
                "os": "linux",
                "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
            }
        ).encode()
        for blob in (config, layer):
            location = plain("POST", "/v2/plain/app/blobs/uploads/").headers["location"]
            plain("PUT", f"{location}&digest={digest(blob)}", blob, "application/octet-stream")
        data = manifest(config, layer)
        kind = json.loads(data)["mediaType"]
        children[architecture] = digest(data)
        plain("PUT", f"/v2/plain/app/manifests/{digest(data)}", data, kind)
        platform = {"os": "linux", "architecture": architecture}
        entries.append(
            {"mediaType": kind, "digest": digest(data), "size": len(data), "platform": platform}
        )
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    data = json.dumps(index).encode()
    plain("PUT", f"/v2/plain/app/manifests/{tag}", data, INDEX)
    return digest(data), children


def locked() -> dict[str, str]:
    """Image and tag → digest, as mirror.lock has them."""
    lines = [line.split()[0] for line in lock_file().read_text().splitlines() if line[0] != "#"]
    return dict(line.split("@") for line in lines)


def on_the_mirror(command: str) -> str:
    """What the host says, whether or not there are problems."""
    return str(hosts.host("mirror").run(command).stdout)


def failed(operator: Operator, *options: str, **more: object) -> Played:
    """A run of the playbook that must fail."""
    done = operator.begin(MIRROR, *options, **more).wait()
    assert done.code != 0, done.output[-4000:]
    return done


def test_a_lock_that_names_nothing_is_said(operator: Operator) -> None:
    done = operator.play("site.yml")
    assert (
        f"registry_mirrors, mirror 1 ({FROM}): mirror.lock has no tag of base/debian yet, so "
        "nothing is copied there: run ansible-playbook playbooks/mirror.yml -e update=true"
    ) in done.said
    assert done.changed == 0
    assert not lock_file().exists()


def test_repositories_that_upstreams_have_not_fail_and_no_lock_is_written(
    operator: Operator,
) -> None:
    done = failed(operator, update=True)
    assert f"mirror 1 ({FROM}): upstream.wharfinger.test has no repository team/debian" in done.said
    assert f"mirror 2 ({PLAIN}): client.wharfinger.test:5000 has no repository" in done.said
    assert not lock_file().exists()


@pytest.fixture(scope="module")
def first(upstream: Registry) -> dict[str, str]:
    """Tag → digest of what the private upstream has at first."""
    return {tag: pushed(upstream, tag) for tag in ("13", "12.1", "12.2", "11")}


@pytest.fixture(scope="module")
def index() -> tuple[str, dict[str, str]]:
    """What the plain upstream has under 1.2: an index, and its children."""
    pushed_plainly("1.0")
    return pushed_plainly("1.2")


def test_an_update_locks_and_copies(
    operator: Operator,
    mirror: Registry,
    first: dict[str, str],
    index: tuple[str, dict[str, str]],
) -> None:
    dry = operator.play(MIRROR, "--check", update=True)
    assert f"new base/debian:13 is {first['13']}" in dry.said
    assert not lock_file().exists()
    done = operator.play(MIRROR, update=True)
    assert f"new base/debian:13 is {first['13']}" in done.said
    assert locked() == {
        **{f"base/debian:{tag}": first[tag] for tag in ("12.1", "12.2", "13")},
        "plain/app:1.2": index[0],
    }
    assert {tag: pulled(mirror, tag) for tag in first} == first | {"11": None}


def test_only_the_wanted_platform_is_here_under_the_digest_of_the_index(
    mirror: Registry, index: tuple[str, dict[str, str]]
) -> None:
    reader = hosts.account("readonly")
    name, children = index
    assert digest(mirror.pull(reader, "plain/app", "1.2").body) == name
    assert mirror.pull(reader, "plain/app", children["amd64"]).status == 200
    assert mirror.pull(reader, "plain/app", children["arm64"]).status == 404
    # Everywhere else, an index needs its members.
    admin = hosts.account("admin")
    data = mirror.pull(reader, "plain/app", "1.2").body
    refused = mirror.call(
        admin,
        "repository:team/other:pull,push",
        "PUT",
        "/v2/team/other/manifests/1",
        headers={"Content-Type": INDEX},
        body=data,
    )
    assert refused.status == 400


def test_the_second_run_changes_nothing(operator: Operator) -> None:
    before = lock_file().read_text()
    done = operator.play(MIRROR, update=True)
    assert "upstream has what mirror.lock says" in done.said
    assert done.changed == 0
    assert lock_file().read_text() == before
    assert operator.play("site.yml").changed == 0


def test_users_pull_and_do_not_push(mirror: Registry) -> None:
    assert mirror.push(hosts.account("readonly"), "base/debian", "x", b"x").status in (401, 403)
    assert mirror.push(hosts.account("someuser"), "base/debian", "x", b"x").status in (401, 403)


def test_the_mirrors_account_may_do_nothing_else() -> None:
    acl = hosts.host("mirror").file("/etc/wharfinger/token_server/auth_config.yml").content_string
    assert "registry_mirrors: base/debian" in acl
    # Its password is on the host alone, for root alone.
    secret = hosts.host("mirror").file("/etc/wharfinger/secrets/mirror_password")
    assert (secret.user, secret.mode) == ("root", 0o600)
    settings = hosts.host("mirror").file("/etc/wharfinger/mirrors/settings.json")
    assert (settings.user, settings.mode) == ("root", 0o600)


def test_a_tag_that_upstream_moves_is_only_reported(
    operator: Operator, upstream: Registry, mirror: Registry, first: dict[str, str]
) -> None:
    second = pushed(upstream, "13")
    pushed(upstream, "12.3")
    done = operator.play(MIRROR)
    assert "base/debian: moved upstream: 13" in done.said
    assert "base/debian: new upstream: 12.3" in done.said
    assert locked()["base/debian:13"] == first["13"]
    assert pulled(mirror, "13") == first["13"]
    assert "moved upstream: 13" in on_the_mirror("wharfinger-host mirrors")
    status = on_the_mirror("wharfinger-host status")
    shown = next(line for line in status.splitlines() if "base/debian:" in line)
    assert "moved upstream: 13; new upstream: 12.3" in shown
    # An update moves the lock, and what the tag had stays under the day of its lock.
    day = next(line.split()[1] for line in lock_file().read_text().splitlines() if ":13@" in line)
    kept = f"13-{day.replace('-', '')}"
    done = operator.play(MIRROR, update=True)
    assert (
        f"moved base/debian:13 from {first['13']} to {second}; the old one stays as "
        f"base/debian:{kept}"
    ) in done.said
    assert (pulled(mirror, "13"), pulled(mirror, kept)) == (second, first["13"])
    assert operator.play(MIRROR, update=True).changed == 0


def test_a_wrong_password_fails_and_loses_nothing(operator: Operator) -> None:
    before = lock_file().read_text()
    entries = hosts.host("mirror").file("/etc/wharfinger/mirrors/settings.json").content_string
    first, second = json.loads(entries)["mirrors"]
    changed = {
        "from": FROM,
        "to": "base/debian",
        "tags": first["tags"],
        "username": "readonly",
        "password": "not-the-password",
        "ca": first["ca"],
    }
    other = {
        "from": PLAIN,
        "to": "plain/app",
        "tags": second["tags"],
        "platforms": ["linux/amd64"],
        "plain_http": True,
    }
    done = failed(operator, update=True, registry_mirrors=[changed, other])
    assert (
        f"mirror 1 ({FROM}): upstream.wharfinger.test does not accept the login of readonly"
    ) in done.said
    assert "not-the-password" not in done.output
    assert lock_file().read_text() == before
    # The right one needs no deployment.
    operator.play(MIRROR)


def test_an_upstream_that_is_down_changes_nothing_for_clients(
    operator: Operator, mirror: Registry
) -> None:
    hosts.host("client").check_output("systemctl stop docker-registry")
    try:
        done = failed(operator)
        refused = "client.wharfinger.test:5000 refuses the connection"
        assert f"plain/app ({PLAIN}): {refused}" in done.said
        assert pulled(mirror, "13") == locked()["base/debian:13"]
        status = on_the_mirror("wharfinger-host status")
        assert status.count(refused) == 1
        assert "succeeded     mirror" not in status
        assert operator.play("site.yml").changed == 0
    finally:
        hosts.host("client").check_output("systemctl start docker-registry")
    # The timer's own way.
    hosts.host("mirror").check_output("systemctl start wharfinger-contents@mirror.service")
    assert "PROBLEM" not in on_the_mirror("wharfinger-host status")


def test_a_dockerfile_on_a_locked_image_builds_again_from_the_same_base(
    operator: Operator, mirror: Registry, index: tuple[str, dict[str, str]]
) -> None:
    client, reader = hosts.host("client"), hosts.account("readonly")
    login = ["docker", "login", "--username", reader.name, "--password-stdin"]
    done = hosts.run_with_input("client", [*login, "mirror.wharfinger.test"], reader.password)
    assert done.returncode == 0, done.stderr
    image = f"mirror.wharfinger.test/plain/app:1.2@{locked()['plain/app:1.2']}"
    dockerfile = f"FROM {image}\nCOPY Dockerfile /\n"
    hosts.run_with_input("client", ["sh", "-c", "mkdir -p b && cat > b/Dockerfile"], dockerfile)

    def base() -> str:
        client.check_output("docker build --quiet --pull --no-cache --tag built b")
        return client.check_output(
            "docker image inspect --format '{{index .RootFS.Layers 0}}' built"
        )

    first = base()
    moved, _ = pushed_plainly("1.2")
    operator.play(MIRROR, update=True)
    assert digest(mirror.pull(reader, "plain/app", "1.2").body) == moved != index[0]
    client.check_output("docker image rm --force built && docker image prune --all --force")
    assert base() == first
    # Without the digest, the build follows the tag.
    client.check_output(f"sed -i s/@{index[0]}// b/Dockerfile")
    assert base() != first
