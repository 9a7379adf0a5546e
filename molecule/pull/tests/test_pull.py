"""The images were pulled from the place in the inventory, and the host remembers their digests."""

from __future__ import annotations

import json

import pytest

from support import hosts


@pytest.mark.parametrize(
    ("kind", "repository"),
    [("registry", "public/registry"), ("token_server", "public/token-server")],
)
def test_the_container_runs_the_image_that_was_pulled(kind: str, repository: str) -> None:
    puller, source = hosts.host("puller"), hosts.host("source")
    running = {}
    for machine in (puller, source):
        container = machine.check_output(f"docker ps --quiet --filter label=wharfinger.kind={kind}")
        [running[machine]] = json.loads(machine.check_output("docker inspect %s", container))
    assert running[puller]["Image"] == running[source]["Image"]
    [image] = json.loads(puller.check_output("docker image inspect %s", running[puller]["Image"]))
    pulled = [name for name in image["RepoDigests"] if repository in name]
    assert pulled
    # The first digest is on record, so that another digest cannot replace it unnoticed.
    state = puller.file("/var/lib/wharfinger/state.json").content_string
    assert pulled[0].split("@")[1] in state


def test_the_registry_from_pulled_images_serves() -> None:
    registry = hosts.registry("puller")
    someuser = hosts.account("someuser")
    assert registry.push(someuser, "someuser/app", "latest", b"a layer").status == 201
    assert registry.pull(someuser, "someuser/app", "latest").status == 200
