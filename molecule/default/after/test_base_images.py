"""Base images: both hosts, one with Debian 12 and one with 13, make the same bytes.

The tests run in the order in which they are written.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from support import hosts
from support.docker import Docker
from support.plays import changed, play, said
from wharfinger.deployment.mirror_lock import parse

REGISTRIES = hosts.group("registry")
BASE_IMAGES = "playbooks/base_images"
MADE = "/var/lib/wharfinger/base_images/made.json"
NAME = "base/debian-slim"
# Debian's archive may change between two hosts' looks at it, some times a day.
ATTEMPTS = 3


def made(name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(hosts.host(name).check_output("cat %s", MADE))
    assert record.keys() == {f"{NAME}:13"}
    image: dict[str, Any] = record[f"{NAME}:13"]
    return image


def lock() -> dict[str, str]:
    """Tag → digest."""
    text = (hosts.inventory_file().parent / "mirror.lock").read_text()
    return {line.tag: line.digest for line in parse(text)}


def test_check_mode_makes_nothing() -> None:
    ran = play(BASE_IMAGES, "--check")
    assert ran.returncode == 0, ran.stdout
    assert "base images would be made" in said(ran)
    assert not (hosts.inventory_file().parent / "mirror.lock").exists()


def test_both_hosts_make_the_same_image() -> None:
    images: list[dict[str, Any]] = []
    for _ in range(ATTEMPTS):
        ran = play(BASE_IMAGES)
        if ran.returncode != 0:
            # The archive is about to change: a mirror shows half of it for some minutes.
            assert "archive changes at this moment" in said(ran), ran.stdout
            time.sleep(60)
            continue
        images = [made(name) for name in REGISTRIES]
        if len({image["source"] for image in images}) == 1:
            break
    assert len(images) == 2
    assert images[0]["source"] == images[1]["source"]
    assert images[0]["digest"] == images[1]["digest"]


def test_the_lock_names_it() -> None:
    image = made(REGISTRIES[0])
    locked = lock()
    assert locked["13"] == locked[image["dated"]] == image["digest"]


def test_a_second_run_changes_nothing() -> None:
    before = [made(name) for name in REGISTRIES]
    ran = play(BASE_IMAGES)
    assert ran.returncode == 0, ran.stdout
    if [made(name) for name in REGISTRIES] != before:
        # Then the second run had something to make, and was right to.
        pytest.skip("Debian's archive has changed meanwhile")
    assert set(changed(ran).values()) == {0}, ran.stdout


@pytest.fixture(params=REGISTRIES)
def docker(request: pytest.FixtureRequest) -> Iterator[Docker]:
    client = hosts.host("client")
    found = Docker(client, hosts.registry(str(request.param)))
    yield found
    client.run("rm -rf %s", found.configuration)


def test_it_runs(docker: Docker) -> None:
    name = docker.registry.name.partition(".")[0]
    image = made(name)
    assert docker.login("admin").rc == 0
    reference = f"{docker.registry.name}/{NAME}:13@{image['digest']}"
    ran = docker("run --rm", reference, "sh", "-c", "cat /etc/debian_version; ls /etc/ssl/certs")
    assert ran.rc == 0, ran.stderr
    assert ran.stdout.startswith("13")
    assert "ca-certificates.crt" in ran.stdout
    label = docker(
        "image inspect --format '{{index .Config.Labels \"io.wharfinger.archive-state\"}}'",
        reference,
    )
    assert label.stdout.strip() == image["source"]


def test_nothing_is_left_of_the_work() -> None:
    for name in REGISTRIES:
        host = hosts.host(name)
        assert host.check_output("ls /var/lib/wharfinger/base_images") == "made.json"
        # grep fails where it counts none, which is what is wanted.
        assert host.check_output("grep -c base_images /proc/mounts || true") == "0"


def test_status_names_the_newest_images() -> None:
    # Its exit code is 1 where there is any problem, such as one of this scenario's own.
    status = hosts.host(REGISTRIES[0]).check_output("wharfinger-host status || true")
    assert f"{NAME}:{made(REGISTRIES[0])['dated']}" in status


def test_an_archive_that_is_not_there_is_one_sentence_and_the_image_stays() -> None:
    before = made(REGISTRIES[0])
    rows = [{"to": NAME, "suite": "trixie", "mirror": "http://127.0.0.1:9/debian"}]
    variables = json.dumps({"registry_base_images": rows})
    ran = play(BASE_IMAGES, "--limit", REGISTRIES[0], "-e", variables)
    assert ran.returncode == 2
    assert f"{NAME}:13: http://127.0.0.1:9/debian/dists/trixie/InRelease cannot be fetched" in said(
        ran
    )
    assert made(REGISTRIES[0]) == before
    # The host has the inventory's settings again.
    again = play(BASE_IMAGES, "--limit", REGISTRIES[0])
    assert again.returncode == 0, again.stdout
