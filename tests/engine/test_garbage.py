"""Compares what the host program expects of `garbage-collect` with what the registry's own does."""

from __future__ import annotations

import os
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.storage_tree import DAY, NOW, Tree
from wharfinger.host.contents.storage import (
    Storage,
    Usage,
    apply,
    collectable,
    garbage,
    make_collectable,
    named_by_manifests,
    needed_blobs,
    obstacles,
    plan_untagged,
    usage,
)
from wharfinger.host.contents.storage.grace import held_blobs
from wharfinger.oci.media_types import OCI_INDEX

CONFIGURATION = """\
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: /data}, delete: {enabled: true}}
http: {addr: ":5000"}
"""

Collect = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty storage."""
    return Tree(tmp_path / "storage")


@pytest.fixture
def collect(images: dict[str, dict[str, object]], tmp_path: Path, tree: Tree) -> Collect:
    """Runs the real collection over the storage."""
    reference = str(images["registry"]["reference"])
    if os.geteuid() != 0 or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("needs root and a running Docker Engine")
    present = subprocess.run(["docker", "image", "inspect", reference], capture_output=True)
    if present.returncode:
        archive = str(images["registry"]["path"])
        subprocess.run(["docker", "load", "--input", archive], capture_output=True, check=True)
    tree.root.mkdir(parents=True)
    configuration = tmp_path / "config.yml"
    configuration.write_text(CONFIGURATION)

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *("docker", "run", "--rm", "--network", "none", "--user", "0"),
                *("--volume", f"{tree.path}:/data", "--volume", f"{configuration}:/config.yml:ro"),
                *(reference, "garbage-collect", *options, "/config.yml"),
            ],
            capture_output=True,
            text=True,
        )

    return run


def fill(tree: Tree, seed: int) -> None:
    """Repositories of all sorts: shared layers, indexes, referrers, unfinished pushes."""
    chance = random.Random(seed)
    layers = [f"layer {number}".encode() for number in range(8)]
    for repository in ("app", "team", "team/app", "team/app/deep"):
        digests: list[str] = []
        for number in range(chance.randint(1, 6)):
            digest = tree.image(
                repository,
                f"{seed} {number}",
                tag=chance.choice([None, f"v{number}", "latest"]),
                age=chance.randint(0, 60) * DAY,
                layers=chance.sample(layers, chance.randint(0, 4)),
                subject=chance.choice([None, None, *digests]),
            )
            digests.append(digest)
        children = chance.sample(digests, chance.randint(0, len(digests)))
        tree.index(repository, children, age=chance.randint(0, 60) * DAY)
        for digest in chance.sample(digests, len(digests) // 2):
            if chance.random() < 0.7:
                tree.revision_path(repository, digest).unlink()
        tree.layer(repository, f"lost in {repository} {chance.randint(0, 3)}".encode())
    for number in range(chance.randint(0, 5)):
        tree.blob(f"in no repository {number}".encode())


@pytest.mark.parametrize("seed", range(8))
def test_exactly_what_was_expected_is_deleted(tree: Tree, collect: Collect, seed: int) -> None:
    fill(tree, seed)
    storage = Storage(tree.path)
    assert obstacles(storage) == []
    expected = garbage(storage)
    dry = collect("--dry-run")
    eligible = set(re.findall(r"blob eligible for deletion: (sha256:[0-9a-f]{64})", dry.stdout))
    sizes = [tree.blob_path(digest).stat().st_size for digest in eligible]
    assert (len(sizes), sum(sizes)) == expected
    removals = plan_untagged(storage, {"untagged_keep": 14 * DAY}, NOW)["removals"]
    blobs, size = garbage(storage, removals)
    before = usage(storage)
    apply(storage, removals)
    done = collect()
    assert done.returncode == 0, done.stderr
    assert usage(storage) == Usage(before.blobs - blobs, before.bytes - size)
    assert garbage(storage) == (0, 0)
    assert obstacles(storage) == []


def test_an_index_without_some_platforms_keeps_what_is_there(tree: Tree, collect: Collect) -> None:
    index = tree.sparse("base/app", tag="13")
    nobodys = tree.blob(b"nobody's")
    storage = Storage(tree.path)
    assert obstacles(storage) == []
    removals = plan_untagged(storage, {"untagged_keep": 14 * DAY}, NOW + 90 * DAY)["removals"]
    assert removals == []
    before = usage(storage)
    done = collect()
    assert done.returncode == 0, done.stderr
    assert usage(storage) == Usage(before.blobs - 1, before.bytes - len(b"nobody's"))
    assert tree.blob_path(index).exists()
    assert not tree.blob_path(nobodys).exists()


def test_a_collection_keeps_blobs_in_their_grace_period(tree: Tree, collect: Collect) -> None:
    """Layers of a push without a manifest, and everything that a deleted manifest needed."""
    tree.image("app", "kept", tag="v1", layers=[b"kept"])
    deleted = tree.image("app", "deleted", layers=[b"of the deleted"])
    tree.changed("app", 600, deleted)
    waiting = [tree.layer("app", b"waits"), tree.layer("team/app", b"waits elsewhere")]
    # From the first push into a repository, which has no manifest yet.
    waiting += [tree.layer("first/push", b"waits for the first manifest")]
    tree.image("team/app", "other", tag="v1")
    old = tree.layer("app", b"old")
    os.utime(tree.layer_path("app", old), (NOW - 20 * DAY, NOW - 20 * DAY))
    nobodys = tree.blob(b"nobody's")
    storage = Storage(tree.path)
    layers = held_blobs(storage, 14 * DAY, NOW, needed_blobs(storage))
    expected = garbage(storage, (), [name for names in layers.values() for name in names])
    before = usage(storage)
    with named_by_manifests(storage, layers):
        done = collect()
        assert done.returncode == 0, done.stderr
    assert expected[0] == 2
    assert usage(storage) == Usage(before.blobs - expected[0], before.bytes - expected[1])
    assert not any(tree.blob_path(name).exists() for name in (old, nobodys))
    assert all(tree.blob_path(name).exists() for name in (deleted, *waiting))
    assert tree.layer_path("app", waiting[0]).exists()
    # Their grace period is over.
    assert held_blobs(storage, 14 * DAY, NOW + 15 * DAY, needed_blobs(storage)) == {}
    assert collect().returncode == 0
    assert not any(tree.blob_path(name).exists() for name in (deleted, *waiting))


def _empty(path: Path) -> None:
    path.write_text("")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:30])


@pytest.mark.parametrize(
    "damage",
    [
        lambda tree, digest, layer: _empty(tree.revision_path("app", digest)),
        lambda tree, digest, layer: _empty(tree.layer_path("app", layer)),
        lambda tree, digest, layer: _cut(tree.blob_path(digest)),
        lambda tree, digest, layer: _empty(tree.blob_path(digest)),
        lambda tree, digest, layer: tree.image("Upper", "image"),
    ],
)
def test_a_collection_that_would_fail_does_not_begin(
    tree: Tree, collect: Collect, damage: Callable[[Tree, str, str], object]
) -> None:
    digest = tree.image("app", "image", tag="v1")
    damage(tree, digest, tree.layer("app", b"layer"))
    assert collect("--dry-run").returncode != 0
    assert len(obstacles(Storage(tree.path))) == 1


@pytest.mark.parametrize("content", [{"schemaVersion": 1}, {"schemaVersion": 2, "layers": 5}])
def test_a_manifest_that_the_registry_cannot_read_does_not_end_a_collection(
    tree: Tree, collect: Collect, tmp_path: Path, content: dict[str, object]
) -> None:
    unread = tree.manifest("app", content, 0)
    own = tree.layer("app", b"perhaps needed")
    other = tree.layer("other", b"nobody's")
    tree.image("other", "image", tag="v1")
    storage, journal = Storage(tree.path), tmp_path / "aside.json"
    assert collect("--dry-run").returncode == 1
    assert obstacles(storage) == []
    expected = garbage(storage)
    before = usage(storage)
    with collectable(storage, journal):
        assert collect().returncode == 0
    assert usage(storage) == Usage(before.blobs - 1, before.bytes - len(b"nobody's"))
    assert expected == (1, len(b"nobody's"))
    assert tree.blob_path(own).exists()
    assert not tree.blob_path(other).exists()
    assert tree.revision_path("app", unread).read_text() == unread


def test_an_index_without_children_no_longer_ends_a_collection(
    tree: Tree, collect: Collect
) -> None:
    tree.manifest("app", {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}, 0)
    assert collect("--dry-run").returncode == 1
    make_collectable(Storage(tree.path))
    assert collect("--dry-run").returncode == 0
