"""How fast the check of a registry's contents reads, against sha256sum of the same files.

A storage of 2 GB in a temporary folder, blobs of all sizes; each side three times in turn, after
one round that fills the page cache, so that all are measured by what they compute. Python computes
with OpenSSL, which uses the processor's own instructions; not every sha256sum does, so that
`openssl dgst` is measured too. With `--plans` also what planning takes with 200,000 blobs and
20,000 tags (making them takes minutes).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests/library")]

from support.storage_tree import DAY, NOW, Tree
from wharfinger.host.contents.storage import (
    Storage,
    garbage,
    obstacles,
    plan_retention,
    plan_untagged,
    scrub,
)

MEGABYTE = 1_000_000
# Number and size of the blobs: one large layer, many of the usual size, thousands of small ones.
BLOBS = ((1, 1000 * MEGABYTE), (12, 50 * MEGABYTE), (76, 5 * MEGABYTE), (5000, 4000))
ROUNDS = 3


def fill(tree: Tree) -> None:
    """Blobs of random content."""
    chunk = os.urandom(MEGABYTE)
    for number, size in BLOBS:
        for _ in range(number):
            content = [os.urandom(16), *[chunk] * (size // MEGABYTE), chunk[: size % MEGABYTE]]
            hashed = hashlib.sha256()
            for part in content:
                hashed.update(part)
            path = tree.blob_path(f"sha256:{hashed.hexdigest()}")
            path.parent.mkdir(parents=True)
            with path.open("wb") as stream:
                stream.writelines(content)


def hash_all(tree: Tree, command: str) -> None:
    """Hashes every blob with another program."""
    everything = f"find . -name data -print0 | xargs -0 {command}"
    subprocess.run(["sh", "-c", everything], cwd=tree.root, stdout=subprocess.DEVNULL, check=True)


def seconds(act: Callable[[], object]) -> float:
    """Seconds that this takes."""
    begun = time.monotonic()
    act()
    return time.monotonic() - begun


def read() -> None:
    """Measures the check against other programs."""
    with tempfile.TemporaryDirectory() as directory:
        tree = Tree(Path(directory))
        fill(tree)
        storage = Storage(tree.path)
        sides: dict[str, Callable[[], object]] = {
            "sha256sum": lambda: hash_all(tree, "sha256sum"),
            "openssl dgst": lambda: hash_all(tree, "openssl dgst -sha256"),
            "the check": lambda: scrub(storage),
        }
        report = scrub(storage)
        assert not report["damage"] and not report["harmless"], report
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(ROUNDS):
            for name, act in sides.items():
                taken[name].append(seconds(act))
    size = report["bytes"] / MEGABYTE
    speeds = {name: size / statistics.median(times) for name, times in taken.items()}
    print(f"{report['blobs']} blobs, {size:.0f} MB")
    for name, speed in speeds.items():
        print(f"{name:12} {speed:7.0f} MB/s   the check: {speeds['the check'] / speed:.2f} x")


def plans() -> None:
    """Measures planning for 200,000 blobs and 20,000 tags, and the peak memory so far."""
    settings = {
        "retention": [{"number": 1, "on": [".*"], "newest": 10}],
        "untagged_keep": 14 * DAY,
    }
    with tempfile.TemporaryDirectory() as directory:
        tree = Tree(Path(directory))
        for repository in range(200):
            for image in range(100):
                name = f"{repository} {image}"
                layers = [f"layer {layer} of {name}".encode() for layer in range(8)]
                where = f"team{repository % 10}/app{repository}"
                tree.image(where, name, tag=f"v{image}", age=image * DAY, layers=layers)
        storage = Storage(tree.path)
        for label, act in (
            ("retention", lambda: plan_retention(storage, settings, NOW)),
            ("untagged", lambda: plan_untagged(storage, settings, NOW)),
            ("garbage", lambda: garbage(storage)),
            ("obstacles", lambda: obstacles(storage)),
            ("check", lambda: scrub(storage)),
        ):
            taken = seconds(act)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{label:10} {taken:6.1f} s   at most {memory:.0f} MiB")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", action="store_true", help="also planning in a large registry")
    if parser.parse_args().plans:
        plans()
    read()


if __name__ == "__main__":
    main()
