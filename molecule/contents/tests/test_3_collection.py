"""Collection frees the disk of unneeded data and keeps all other data, while reads go on.

The tests run in the order in which they are written.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable

import httpx
import pytest
from testinfra.host import Host

from filling import manifests
from filling.fill import LARGE, one_image
from filling.manifests import configuration
from filling.site import REPOSITORIES, STORAGE, Site, blob_path, layer_path
from load.image import made
from load.record import Attempt
from load.session import Unexpected
from load.transfer import Transfer, chunked, monolithic
from support.docker import Docker
from support.hosts import registry
from support.registry import MANIFEST, digest

MIB = 1024 * 1024
CONTAINER = "wharfinger-collection"

ENOUGH = "/run/held-for-long-enough"
# Runs on the host: pauses the collection half-way until a file exists, for five minutes at most.
# By Docker's socket, because the command takes longer to start than a small collection to end.
HELD = f"""
import http.client, os, socket, sys, time

def told(action):
    connection = http.client.HTTPConnection("docker")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect("/run/docker.sock")
    connection.request("POST", "/containers/{CONTAINER}/" + action)
    return connection.getresponse().status

deadline = time.time() + 120
while told("pause") != 204:
    if time.time() > deadline:
        sys.exit("no collection was seen")
    time.sleep(0.001)
deadline = time.time() + 300
while not os.path.exists({ENOUGH!r}) and time.time() < deadline:
    time.sleep(0.1)
if told("unpause") != 204:
    sys.exit("the collection does not go on")
"""


def garbage(site: Site, repository: str = "garbage/app") -> str:
    """Pushes a blob that nothing has needed for weeks, and returns its digest."""
    blob = site.pushing(repository).blob(repository, os.urandom(4096))
    site.aged(20, layer_path(repository, blob))
    return blob


def is_there(site: Site, blob: str) -> bool:
    """Whether a blob is in the storage."""
    return bool(site.machine.file(str(blob_path(blob))).exists)


@pytest.fixture(scope="module")
def docker(client: Host) -> Docker:
    """Docker on the client machine, signed in."""
    signed_in = Docker(client, registry("debian13"))
    login = signed_in.login("admin")
    assert login.rc == 0, login.stderr
    return signed_in


@pytest.fixture(scope="module")
def built(docker: Docker, client: Host) -> str:
    """The name of an image that docker has built, with a layer of 4 MiB."""
    name = f"{docker.registry.name}/built/app:1"
    client.check_output("mkdir -p /tmp/built && head -c 4194304 /dev/urandom > /tmp/built/app")
    client.check_output("printf 'FROM scratch\\nCOPY app /app\\n' > /tmp/built/Dockerfile")
    client.check_output("DOCKER_BUILDKIT=0 docker build --tag %s /tmp/built", name)
    pushed = docker("push", name)
    assert pushed.rc == 0, pushed.stderr
    return name


def test_without_garbage_nothing_happens(site: Site, built: str) -> None:
    before = site.generation()
    assert site.done("collect")["actions"] == []
    assert site.generation() == before
    site.whole()


def test_old_revisions_that_nothing_leads_to_go_and_all_others_stay(site: Site) -> None:
    # Everything is old, including children of kept indexes, subjects and signatures.
    site.machine.check_output(
        f"find {REPOSITORIES} -path '*/revisions/*' -name link -exec touch -d '20 days ago' {{}} +"
    )
    young = one_image(site.pushing("daily/app"), "daily/app", "latest", day="today")
    site.settled()
    before = site.whole()
    gone = {
        repository: site.content[repository].untagged for repository in ("daily/app", "daily/multi")
    }
    # Pushing `latest` again has left five images, and an index with three children, without a tag.
    assert [len(digests) for digests in gone.values()] == [5, 4]
    with site.read():
        answer = site.done("collect")
    after = site.whole()
    assert young.digest in after["revisions"]["daily/app"]
    for repository, digests in gone.items():
        assert digests <= set(before["revisions"][repository])
        assert not digests & set(after["blobs"])
    for repository in site.content.repositories:
        content = site.content[repository]
        assert set(after["revisions"][repository]) == content.reached()
        for name in content.untagged:
            del content.manifests[name]
    freed = sum(size for blob, size in before["blobs"].items() if blob not in after["blobs"])
    assert answer["freed"] == freed > 0


def test_a_collected_image_can_be_pushed_and_pulled_again(
    site: Site, docker: Docker, built: str, client: Host
) -> None:
    pushing = site.pushing(LARGE, "built/app")
    image = site.content[LARGE].manifests[site.content[LARGE].tags["1"]]
    [large] = site.content.large.values()
    pushing.delete(LARGE, image.digest)
    by_docker = pushing.digest_of("built/app", "1")
    assert by_docker is not None
    pushing.delete("built/app", by_docker)
    # The blobs that they needed stay for a while.
    assert site.done("collect")["blobs"] == 0
    site.settled()
    with site.read(writing=True) as beside:
        # A docker that pushes meanwhile does not notice.
        other = docker.image("built/meanwhile")
        meanwhile = threading.Thread(target=lambda: pushes.append(docker("push", other)))
        pushes: list[object] = []
        run = site.begin("collect")
        site.closed()
        meanwhile.start()
        answer = run()
        meanwhile.join()
    [pushed] = pushes
    assert pushed.rc == 0, pushed.stderr  # type: ignore[attr-defined]
    assert answer["freed"] > large.size
    assert not is_there(site, large.digest)
    site.whole()
    # Clients were only told to wait, in the registry's own form.
    writer = beside.writer
    assert writer is not None and writer.problems == []
    assert writer.statuses == [202, 503, 202]
    assert {(answer.content_type, answer.code) for answer in writer.refused} == {
        ("application/json", "UNAVAILABLE")
    }
    # Pushes exactly the same to the same registry again.
    pushing.large(LARGE, large)
    config = configuration(number="1")
    pushing.blob(LARGE, config)
    pushing.manifest(LARGE, image, "1")
    site.whole()
    pushing.pull(LARGE, "1")
    again = docker("push", built)
    assert again.rc == 0, again.stderr
    client.check_output("docker image rm --force %s", built)
    pulled = docker("pull", built)
    assert pulled.rc == 0, pulled.stderr
    assert pushing.digest_of("built/app", "1") == by_docker
    site.served()


def test_blobs_of_a_push_wait_for_its_manifest(site: Site) -> None:
    pushing = site.pushing("unfinished/app")
    layer, config = os.urandom(4096), configuration(of="unfinished")
    image = manifests.image(config, [manifests.layer(layer)])
    for content in (layer, config):
        pushing.blob("unfinished/app", content)
    nobodys = garbage(site)
    site.done("collect")
    assert not is_there(site, nobodys)
    pushing.manifest("unfinished/app", image, "1")
    pushing.pull("unfinished/app", "1")


def test_those_that_waited_for_weeks_go_and_a_second_push_heals(site: Site) -> None:
    pushing = site.pushing("left/app")
    layer, config = os.urandom(4096), configuration(of="left")
    image = manifests.image(config, [manifests.layer(layer)])
    blobs = [pushing.blob("left/app", content) for content in (layer, config)]
    site.aged(20, *(layer_path("left/app", blob) for blob in blobs))
    assert site.done("collect")["freed"] > len(layer)
    answer = pushing.request(
        "PUT", "/v2/left/app/manifests/1", image.content, Content_Type=MANIFEST
    )
    assert answer.status_code == 400
    assert {error["code"] for error in answer.json()["errors"]} == {"MANIFEST_BLOB_UNKNOWN"}
    for content in (layer, config):
        pushing.blob("left/app", content)
    pushing.manifest("left/app", image, "1")
    pushing.pull("left/app", "1")


@pytest.mark.parametrize(
    "upload",
    [
        pytest.param(monolithic(4), id="in one piece that ends in time"),
        pytest.param(monolithic(20), id="in one piece that is paused"),
        pytest.param(chunked(4, 6), id="in parts"),
    ],
)
def test_an_upload_ends_or_is_refused_and_pushing_again_succeeds(
    site: Site, upload: Callable[..., None]
) -> None:
    image = made((2 * MIB, 64 * 1024))
    named = manifests.Manifest(image.manifest, MANIFEST)
    refused: list[str] = []
    over = threading.Event()

    def push() -> None:
        """Pushes again until it works, as a person does."""
        deadline = time.monotonic() + 180
        how = upload
        while time.monotonic() < deadline:
            pushing = Transfer(site.session.another(), "slow/app", threading.Event())
            try:
                for blob in (image.config, *image.layers):
                    if not site.pushing("slow/app").size("slow/app", digest(blob)):
                        how(pushing, Attempt(), blob)
                site.pushing("slow/app").manifest("slow/app", named, "1")
                over.set()
                return
            except (Unexpected, httpx.TransportError) as problem:
                refused.append(f"{type(problem).__name__}: {problem}")
                how = monolithic()
                time.sleep(2)

    garbage(site)
    thread = threading.Thread(target=push)
    thread.start()
    time.sleep(1.5)
    with site.read():
        site.done("collect")
    thread.join()
    assert over.is_set(), refused
    # Each refusal says that it is one.
    assert [
        problem for problem in refused if not re.search(r"answered (503|429|400) ", problem)
    ] == []
    site.whole()
    site.pulls("slow/app")


def test_a_long_window_says_until_when(site: Site, docker: Docker) -> None:
    garbage(site)
    name = docker.image("built/long")
    with site.read(writing=True) as beside:
        writer = beside.writer
        assert writer is not None
        run = site.begin("collect")
        held = threading.Thread(target=site.script, args=(HELD,))
        held.start()
        deadline = time.monotonic() + 180
        while writer.statuses[-1:] != [429]:
            assert time.monotonic() < deadline, writer.statuses
            time.sleep(0.2)
        pushed = docker("push", name)
        site.machine.check_output("touch %s", ENOUGH)
        held.join()
        run()
    site.machine.check_output("rm %s", ENOUGH)
    assert writer.problems == []
    assert writer.statuses == [202, 503, 429, 202]
    answers = [answer for answer in writer.refused if answer.status == 429]
    assert {(answer.content_type, answer.code) for answer in answers} == {
        ("application/json", "TOOMANYREQUESTS")
    }
    sentence = r"takes no changes until \d\d:\d\d UTC at the latest: pulling goes on"
    assert re.search(sentence, answers[0].message), answers[0]
    # docker shows the sentence at once.
    assert pushed.rc != 0
    assert re.search(sentence, pushed.stderr), pushed.stderr


def test_an_empty_registry_has_nothing_to_collect(site: Site) -> None:
    folder = STORAGE / "docker/registry"
    site.machine.check_output(f"mv {folder} {STORAGE}/aside")
    try:
        for command in ("collect", "check_contents", "retention"):
            assert site.done(command)["actions"] == []
        # One blob, and no repository.
        orphan = blob_path(digest(b"nobody's"))
        site.machine.check_output(
            f"mkdir -p {orphan.parent} && printf nobody\\'s > {orphan}"
            f" && chown -R --reference={STORAGE}/docker {folder}"
        )
        assert site.done("collect")["freed"] == len(b"nobody's")
    finally:
        site.machine.check_output(f"rm -rf {folder} && mv {STORAGE}/aside {folder}")
    site.whole()
