"""Garbage collection of real storage: what goes, what stays, and what clients see meanwhile."""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from filling import manifests
from support.registry import MANIFEST, Account, Answer, Registry, digest, manifest
from support.slow import SlowPush
from support.waiting import enough
from wharfinger.host.commands import run
from wharfinger.host.system.errors import HostError
from wharfinger.host.system.files import write_atomically

from .stack import HOSTNAME, KILLED, PORT, STACK, Stack, was_killed
from .test_stack import Load

REPOSITORY = "wharfinger-verification/contents"
LARGE = os.urandom(1 << 20)


class Contents:
    """The registry of a stack. The stack's only account fills it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        paths = stack.host.paths
        self.registry = Registry(HOSTNAME, "127.0.0.1", str(paths.certificates / "ca.crt"), PORT)
        self.account = Account(
            "wharfinger-verification", paths.verification_password.read_text().strip()
        )
        settings = {
            "storage_path": str(stack.folder / "storage"),
            "retention": [{"number": 1, "on": ["^wharfinger-verification/.*$"], "newest": 1}],
            "untagged_keep": 0.0,
            "gc_max_seconds": 300,
        }
        write_atomically(paths.contents_settings, json.dumps(settings).encode(), 0o644)

    def push(self, tag: str, layer: bytes, repository: str = REPOSITORY) -> str:
        answer = self.registry.push(self.account, repository, tag, layer)
        assert answer.status == 201, answer
        return answer.headers["docker-content-digest"]

    def pulls(self, reference: str, layer: bytes, repository: str = REPOSITORY) -> bool:
        """Whether the image can be pulled and its layer is the same, byte for byte."""
        manifest = self.registry.pull(self.account, repository, reference)
        if manifest.status != 200:
            return False
        blob = self.registry.blob(self.account, repository, digest(layer))
        return blob.status == 200 and blob.body == layer

    def pushed(self, tag: str) -> str:
        """The digest that a tag points to."""
        manifest = self.registry.pull(self.account, REPOSITORY, tag)
        return manifest.headers["docker-content-digest"]

    def upload_of_nobody(self) -> None:
        """A blob that nothing needs."""
        answer = self.registry.upload(self.account, REPOSITORY, os.urandom(1 << 16))
        assert answer.status == 201

    def run(self, command: str, **request: Any) -> dict[str, Any]:
        return run(command, request, host=self.stack.host)


@pytest.fixture
def contents(deployed: Stack) -> Contents:
    return Contents(deployed)


def test_a_deleted_image_is_collected_and_can_be_pushed_again(contents: Contents) -> None:
    other = b"a layer that stays"
    deleted = contents.push("gone", LARGE)
    contents.push("kept", other, f"{REPOSITORY}/a/b")
    assert contents.registry.delete(contents.account, REPOSITORY, deleted).status == 202
    with Load() as load:
        answer = contents.run("collect")
        assert contents.run("collect")["changed"] is False
        enough(lambda: load.answered, 100)
    assert load.failed == []
    assert answer["freed"] > len(LARGE) and answer["blobs"] == 3
    assert 0 < answer["window_seconds"] < 100
    assert contents.registry.pull(contents.account, REPOSITORY, "gone").status == 404
    assert contents.pulls("kept", other, f"{REPOSITORY}/a/b")
    # Push exactly the same again: the registry must not remember what is no longer on the disk.
    assert contents.push("gone", LARGE) == deleted
    assert contents.pulls("gone", LARGE)
    # Still the container that was paused meanwhile.
    assert contents.stack.containers() == [f"{STACK}-registry-1", f"{STACK}-token_server-1"]
    contents.stack.verify()


def test_an_empty_registry_is_collected_without_a_word(contents: Contents) -> None:
    assert contents.run("collect") | {"seconds": 0, "at": 0} == {
        "actions": [],
        "at": 0,
        "blobs": 0,
        "changed": False,
        "damage": [],
        "freed": 0,
        "history": [],
        "in_doubt": False,
        "job": "collect",
        "ok": True,
        "problem": None,
        "seconds": 0,
        "untagged": 0,
    }


def test_untagged_manifests_go_and_layers_that_others_need_stay(contents: Contents) -> None:
    contents.push("latest", LARGE)
    contents.push("latest", b"the newer one")
    contents.push("other", LARGE, f"{REPOSITORY}/other")
    answer = contents.run("collect")
    assert answer["untagged"] == 1
    assert contents.pulls("latest", b"the newer one")
    assert contents.pulls("other", LARGE, f"{REPOSITORY}/other")


def test_retention_removes_tags_and_the_collection_after_it_their_bytes(contents: Contents) -> None:
    contents.push("v1", LARGE)
    contents.push("v2", b"newer")
    assert contents.run("retention")["removed"] == 1
    assert contents.registry.pull(contents.account, REPOSITORY, "v1").status == 404
    assert contents.run("collect")["freed"] > len(LARGE)
    assert contents.pulls("v2", b"newer")


def test_layers_without_their_manifest_are_collected_and_a_second_push_heals(
    contents: Contents,
) -> None:
    contents.push("kept", b"so that there is a repository")
    layer = b"pushed, and its manifest not yet"
    assert contents.registry.upload(contents.account, REPOSITORY, layer).status == 201
    contents.run("collect")
    config = b"{}"
    assert contents.registry.upload(contents.account, REPOSITORY, config).status == 201
    scope = f"repository:{REPOSITORY}:pull,push"
    path = f"/v2/{REPOSITORY}/manifests/late"
    answer = contents.registry.call(
        contents.account,
        scope,
        "PUT",
        path,
        headers={"Content-Type": MANIFEST},
        body=manifest(config, layer),
    )
    assert (answer.status, answer.codes) == (400, ["MANIFEST_BLOB_UNKNOWN"])
    contents.push("late", layer)
    assert contents.pulls("late", layer)


def test_a_truncated_manifest_is_named_and_its_deletion_is_the_way_on(contents: Contents) -> None:
    broken = contents.push("broken", b"a layer of the broken one")
    contents.push("kept", b"kept")
    data = contents.stack.folder / "storage/docker/registry/v2/blobs/sha256"
    name = broken.partition(":")[2]
    path = data / name[:2] / name / "data"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(HostError) as refused:
        contents.run("collect")
    assert f"{REPOSITORY}@{broken}" in str(refused.value)
    assert contents.registry.delete(contents.account, REPOSITORY, broken).status == 202
    assert contents.run("collect")["freed"] > 0
    assert contents.pulls("kept", b"kept")


def test_a_damaged_blob_is_found_and_repaired_by_removing_it_and_pushing_again(
    contents: Contents,
) -> None:
    contents.push("v1", LARGE)
    name = digest(LARGE).partition(":")[2]
    path = contents.stack.folder / f"storage/docker/registry/v2/blobs/sha256/{name[:2]}/{name}/data"
    path.write_bytes(LARGE[:-1] + bytes([LARGE[-1] ^ 1]))
    with pytest.raises(HostError) as refused:
        contents.run("check_contents", rate=0)
    assert f"{REPOSITORY}:v1" in str(refused.value) and str(path) in str(refused.value)
    path.unlink()
    contents.push("v1", LARGE)
    assert contents.run("check_contents", rate=0)["damage"] == []
    assert contents.pulls("v1", LARGE)


COLLECTED = (
    KILLED
    + """
from wharfinger.host.commands import run
run("collect", {}, host=host)
"""
)


@pytest.mark.slow
def test_sigkill_after_every_persisted_step_fails_no_reader_and_loses_nothing(
    contents: Contents,
) -> None:
    kept = os.urandom(1 << 16)
    contents.push("kept", kept)
    kills = 0
    with Load() as load:
        for number in range(1, 40, 2):
            deleted = contents.push("gone", f"to be collected {number}".encode())
            contents.registry.delete(contents.account, REPOSITORY, deleted)
            if not was_killed(COLLECTED, contents.stack.folder, number):
                break
            kills += 1
            contents.run("reopen")
            assert contents.pulls("kept", kept)
            again = f"pushed after kill {number}".encode()
            contents.push("again", again)
            assert contents.pulls("again", again)
    assert kills >= 5
    assert load.failed == []
    contents.stack.verify()


def test_a_slow_upload_is_finished_or_refused_and_never_half_there(contents: Contents) -> None:
    contents.push("gone", LARGE)
    deleted = contents.registry.pull(contents.account, REPOSITORY, "gone").headers[
        "docker-content-digest"
    ]
    contents.registry.delete(contents.account, REPOSITORY, deleted)
    answers: list[int] = []
    slow = os.urandom(1 << 18)

    def upload() -> None:
        scope = f"repository:{REPOSITORY}:pull,push"
        headers = contents.registry.authorization(contents.account, scope)
        begun = contents.registry.request(
            "POST", f"/v2/{REPOSITORY}/blobs/uploads/", headers=headers
        )
        location = begun.headers["location"]
        for at in range(0, len(slow), 1 << 15):
            piece = slow[at : at + (1 << 15)]
            sent = contents.registry.request("PATCH", location, headers=headers, body=piece)
            answers.append(sent.status)
            if sent.status != 202:
                return
            location = sent.headers["location"]
            time.sleep(0.5)
        mark = "&" if "?" in location else "?"
        path = f"{location}{mark}digest={digest(slow)}"
        answers.append(contents.registry.request("PUT", path, headers=headers).status)

    with ThreadPoolExecutor(1) as pool:
        client = pool.submit(upload)
        # The upload has begun: before, the collection could refuse it as a whole.
        while not (answers or client.done()):
            time.sleep(0.05)
        contents.run("collect")
        client.result()
    assert answers[-1] in (201, 503)
    blob = contents.registry.blob(contents.account, REPOSITORY, digest(slow))
    assert blob.status == (200 if answers[-1] == 201 else 404)
    contents.push("slow", slow)
    assert contents.pulls("slow", slow)


def test_slow_uploads_keep_nobody_out_and_end_whole(contents: Contents) -> None:
    """Both ways to send a layer. Each upload lasts until the work is over, so the work must not
    wait for it."""
    contents.push("gone", LARGE)
    contents.push("v1", b"older")
    contents.push("v2", b"newer")
    contents.registry.delete(contents.account, REPOSITORY, contents.pushed("gone"))
    pushes = [
        SlowPush(contents.registry, contents.account, f"{REPOSITORY}/{method.lower()}", method)
        for method in ("PATCH", "PUT")
    ]
    for push in pushes:
        push.begin()
    with Load() as load:
        removed = contents.run("retention")
        freed = contents.run("collect")
        # This push goes to the same process as before, which was paused twice.
        contents.push("v3", b"beside them")
    assert load.failed == []
    assert removed["removed"] == 1 and freed["freed"] > len(LARGE)
    for answer in (removed, freed):
        assert "registry: generation 1 is paused" in answer["actions"]
        # Far less than the pushes take.
        assert answer["window_seconds"] <= 60
    assert [push.end()[-1] for push in pushes] == [201, 201]
    for push in pushes:
        assert {status for _, status in statuses(push)} <= {201, 202}
        assert push.pulls()
    assert contents.run("check_contents", rate=0)["damage"] == []
    assert contents.stack.containers() == [f"{STACK}-registry-1", f"{STACK}-token_server-1"]


def statuses(push: SlowPush) -> list[tuple[str, int]]:
    return [(name, answer.status) for name, answer in push.answers]


@pytest.mark.parametrize("at", [3, 6], ids=["before it is paused", "while it is paused"])
def test_killed_beside_a_slow_upload_that_goes_on(contents: Contents, at: int) -> None:
    contents.push("kept", b"so that there is a repository")
    contents.upload_of_nobody()
    push = SlowPush(contents.registry, contents.account, f"{REPOSITORY}/slow", "PUT")
    push.begin()
    assert was_killed(COLLECTED, contents.stack.folder, at)
    contents.run("reopen")
    contents.push("again", b"afterwards")
    assert push.end() == [201, 202, 201, 201]
    assert push.pulls()
    assert contents.stack.containers() == [f"{STACK}-registry-1", f"{STACK}-token_server-1"]


class Cache(Contents):
    """The same, with indexes."""

    def put(self, tag: str, made: manifests.Manifest) -> Answer:
        """Pushes a manifest."""
        return self.registry.call(
            self.account,
            f"repository:{REPOSITORY}:pull,push",
            "PUT",
            f"/v2/{REPOSITORY}/manifests/{tag}",
            headers={"Content-Type": made.media_type},
            body=made.content,
        )

    def upload(self, *blobs: bytes) -> None:
        for blob in blobs:
            assert self.registry.upload(self.account, REPOSITORY, blob).status == 201

    def blobs(self, *blobs: bytes) -> list[int]:
        """The status of the answer for each blob."""
        return [self.registry.blob(self.account, REPOSITORY, digest(blob)).status for blob in blobs]


@pytest.fixture
def cache(deployed: Stack) -> Cache:
    return Cache(deployed)


def test_a_build_cache_survives_a_collection_and_the_former_one_goes(cache: Cache) -> None:
    shared, old, new, config = b"of both", b"of yesterday", b"of today", b"{}"
    cache.upload(shared, old, new, config)
    for layer in (old, new):
        answer = cache.put("cache", manifests.cache([shared, layer], config))
        assert answer.status == 201, answer
    assert cache.run("collect")["untagged"] == 1
    assert cache.blobs(shared, new, config, old) == [200, 200, 200, 404]
    assert cache.registry.pull(cache.account, REPOSITORY, "cache").status == 200
    assert cache.run("check_contents", rate=0)["damage"] == []


def test_an_index_whose_members_a_collection_has_taken_meanwhile_is_refused(cache: Cache) -> None:
    """A client first sends the members, or finds that they exist, and then names them in an index.
    In between, a collection may remove members that nothing names yet."""
    cache.push("kept", b"so that there is a repository")
    layer, config = b"a layer of a cache", b"{}"
    child = manifests.image(config, [manifests.layer(layer)])
    for index in (
        manifests.cache([layer], config),
        manifests.index([child.descriptor()]),
        manifests.docker_list([child.descriptor()]),
    ):
        cache.upload(layer, config)
        assert cache.put(child.digest, child).status == 201
        cache.run("collect")
        answer = cache.put("late", index)
        assert (answer.status, set(answer.codes)) == (400, {"MANIFEST_BLOB_UNKNOWN"})
        assert cache.registry.pull(cache.account, REPOSITORY, "late").status == 404
        # A second push repairs it.
        cache.upload(layer, config)
        assert cache.put(child.digest, child).status == 201
        assert cache.put("late", index).status == 201
        cache.run("collect")
        assert cache.blobs(layer, config) == [200, 200]
        assert cache.run("check_contents", rate=0)["damage"] == []
        assert cache.registry.delete(cache.account, REPOSITORY, index.digest).status == 202
        cache.run("collect")


def test_indexes_that_are_pushed_beside_collections_have_all_their_members(cache: Cache) -> None:
    """An index that is accepted with 201 is complete, however its push and a collection overlap."""
    cache.push("kept", b"so that there is a repository")
    over = threading.Event()
    accepted: dict[str, list[bytes]] = {}
    refused: list[int] = []

    def push(writer: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            layers = [f"layer {part} of {writer}, {number}".encode() for part in range(3)]
            sent = [
                cache.registry.upload(cache.account, REPOSITORY, layer).status for layer in layers
            ]
            tag = f"cache-{writer}-{number}"
            answer = cache.put(tag, manifests.cache(layers[:-1], layers[-1]))
            if answer.status == 201:
                accepted[tag] = layers
            else:
                refused.append(answer.status)
            assert set(sent) <= {201, 202, 503, 429}, sent

    writers = [threading.Thread(target=push, args=(number,)) for number in range(3)]
    for thread in writers:
        thread.start()
    for number in range(2):
        cache.upload(f"so that there is something to collect {number}".encode())
        cache.run("collect")
    over.set()
    for thread in writers:
        thread.join()
    assert accepted
    assert set(refused) <= {400, 503, 429}
    for layers in accepted.values():
        assert cache.blobs(*layers) == [200, 200, 200]
    assert cache.run("check_contents", rate=0)["damage"] == []
