"""Backup and restore against restic alone on the same tree, and what a large registry needs.

Parts: `transfers` (first and unchanged backup, and restore, of layers that cannot be compressed),
`settings` (compression and pack sizes of restic), `links` (the list of a million links, written and
restored), `memory` (restic's, by the number of chunks). All on this machine's disk: 30 GB must be
free.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests/library")]

from benchmarks.stack import table
from support.storage_tree import Tree
from wharfinger.host.backup import backup as backups
from wharfinger.host.backup import links, listing
from wharfinger.host.backup import restore as restores
from wharfinger.host.backup.restic import BESIDE
from wharfinger.host.contents.storage import Storage
from wharfinger.host.system.context import Host
from wharfinger.host.system.paths import Paths

MB = 1_000_000
GB = 1000 * MB
TB = 1000 * GB
# What restic cuts files into, on average.
CHUNK = 1.5 * MB
PARTS = ("transfers", "settings", "links", "memory")


@dataclass(frozen=True)
class Taken:
    """Seconds of the clock, seconds of CPU of the programs that were started, and the most memory
    of the largest of them, in bytes."""

    seconds: float
    cpu: float
    memory: int


def taken(act: Callable[[], object]) -> Taken:
    """Runs `act` in a process of its own, so that its memory is known."""
    os.sync()
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe()

    def run() -> None:
        began = time.monotonic()
        act()
        seconds = time.monotonic() - began
        usages = [
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        cpu = sum(usage.ru_utime + usage.ru_stime for usage in usages)
        sender.send(Taken(seconds, cpu, max(usage.ru_maxrss for usage in usages) * 1024))

    process = context.Process(target=run)
    process.start()
    sender.close()
    try:
        result: Taken = receiver.recv()
    except EOFError:
        sys.exit("what was to be measured failed")
    process.join()
    return result


class Bench:
    """A storage below `folder`, and the ways to save and restore it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        self.restored = folder / "restored"
        self.source = self._host(folder / "source")
        self.tree = Tree(folder / "source/data")
        self.password = self.source.paths.backup / "password"

    def _host(self, top: Path) -> Host:
        host = Host.real(Paths(etc=top / "etc", var=top / "var"))
        host.registry_id = os.getuid()
        host.paths.backup.mkdir(parents=True)
        host.paths.var.mkdir(parents=True)
        settings = {"hostname": "registry.example.com", "storage_path": str(top / "data")}
        settings |= {"keep": {}, "rate": 0, "free_minimum": 0, "version": "0.1.0"}
        for name, text in (
            ("repository", str(self.repository)),
            ("password", os.urandom(16).hex()),
            ("settings.json", json.dumps(settings)),
        ):
            (host.paths.backup / name).write_text(text)
        return host

    def fill(self, size: int, layer: int = 50 * MB) -> None:
        """Images of two layers of random bytes, `size` bytes in all."""
        for number in range(max(1, size // (2 * layer))):
            contents = [os.urandom(layer) for _ in range(2)]
            self.tree.image(
                f"team/app{number % 20}", str(number), tag=f"v{number}", layers=contents
            )

    def restic(self, *arguments: str, beside: tuple[str, ...] = ()) -> str:
        """restic alone, with a cache and a password of its own. `beside`: what starts it."""
        environment = {"RESTIC_REPOSITORY": str(self.repository)}
        environment |= {"RESTIC_PASSWORD_FILE": str(self.password)}
        environment |= {"RESTIC_CACHE_DIR": str(self.folder / "cache")}
        done = subprocess.run(
            [*beside, "restic", "--quiet", *arguments],
            env=os.environ | environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def forget(self, *paths: Path) -> None:
        for path in (*paths, self.folder / "cache"):
            shutil.rmtree(path, ignore_errors=True)

    def ours(self) -> dict[str, Taken]:
        """First and unchanged backup and restore by the toolkit."""
        backups.repository(self.source, {}, False)
        first = taken(lambda: backups.backup(self.source, {}, False))
        unchanged = taken(lambda: backups.backup(self.source, {}, False))
        target = self._host(self.restored)
        shutil.copy(self.password, target.paths.backup / "password")
        restored = taken(lambda: restores.restore(target, {}, False))
        assert len(list(self.restored.glob("data/docker/registry/v2/blobs/*/*/*/data"))) == len(
            list(self.tree.root.glob("blobs/*/*/*/data"))
        )
        self.forget(self.repository, self.restored, self.source.paths.backup_work)
        return {"first backup": first, "unchanged backup": unchanged, "restore": restored}

    def alone(self) -> dict[str, Taken]:
        """The same by restic alone, whose backups give way to clients in the same way."""
        data = str(self.tree.path)
        self.restic("init")
        first = taken(lambda: self.restic("backup", data, beside=BESIDE))
        unchanged = taken(lambda: self.restic("backup", data, beside=BESIDE))
        restored = taken(lambda: self.restic("restore", "latest", "--target", str(self.restored)))
        self.forget(self.repository, self.restored)
        return {"first backup": first, "unchanged backup": unchanged, "restore": restored}


def transfers(folder: Path, size: int) -> None:
    """Prints MB/s of both, and the ratio."""
    bench = Bench(folder)
    bench.fill(size)
    mine, alone = bench.ours(), bench.alone()
    rows = []
    for what, side in mine.items():
        other = alone[what]
        rows.append(
            [
                f"{what}, {size / GB:g} GB",
                *(f"{size / MB / measured.seconds:,.0f}" for measured in (side, other)),
                f"{other.seconds / side.seconds:.2f}",
                *(f"{measured.cpu:.1f}" for measured in (side, other)),
                *(f"{measured.memory / MB:.0f}" for measured in (side, other)),
            ]
        )
    head = ["what", "here (MB/s)", "restic alone (MB/s)", "×"]
    table([*head, "CPU s", "CPU s, alone", "memory (MB)", "memory, alone"], rows)


def settings(folder: Path, size: int) -> None:
    """Prints first backup and restore by compression and pack size."""
    bench = Bench(folder)
    bench.fill(size)
    rows = []
    for compression, pack in (("auto", 16), ("off", 16), ("off", 64), ("off", 128)):
        options = ["--compression", compression, "--pack-size", str(pack)]
        bench.restic("init")
        saved = taken(partial(bench.restic, *options, "backup", str(bench.tree.path)))
        packs = len(list(bench.repository.glob("data/*/*")))
        stored = sum(path.stat().st_size for path in bench.repository.rglob("*") if path.is_file())
        restored = taken(lambda: bench.restic("restore", "latest", "--target", str(bench.restored)))
        bench.forget(bench.repository, bench.restored)
        rows.append(
            [
                f"compression {compression}, packs of {pack} MiB",
                f"{size / MB / saved.seconds:,.0f}",
                f"{saved.cpu:.1f}",
                f"{saved.memory / MB:.0f}",
                f"{size / MB / restored.seconds:,.0f}",
                f"{packs:,}",
                f"{stored / MB:,.0f}",
            ]
        )
    head = ["restic", "backup (MB/s)", "CPU s", "memory (MB)", "restore (MB/s)", "files"]
    table([*head, "MB stored"], rows)


def many_links(folder: Path, number: int) -> None:
    """Prints seconds and memory of the list of so many links, of its writing and its restore."""
    repositories = max(1, number // 5000)
    tree = Tree(folder / "data")
    digests = [tree.blob(str(layer).encode()) for layer in range(number // repositories)]
    for repository in range(repositories):
        for digest in digests:
            tree._link(tree.layer_path(f"team/app{repository}", digest), digest, 0)
    path, copy = folder / "list.jsonl", folder / "copy"

    def write() -> None:
        with path.open("w", encoding="utf-8") as stream:
            listing.write(Storage(tree.path), stream)

    def restore() -> None:
        with path.open(encoding="utf-8") as stream:
            links.write_all(Storage(copy), listing.read(stream), (), os.getuid())

    written = taken(write)
    lines = sum(1 for _ in path.open(encoding="utf-8"))
    size = path.stat().st_size
    shutil.rmtree(tree.path)
    back = taken(restore)
    shutil.rmtree(copy)
    rows = [
        [what, f"{measured.seconds:.0f}", f"{measured.cpu:.0f}", f"{measured.memory / MB:.0f}"]
        for what, measured in (
            ("the list is read from the storage", written),
            ("its links are written", back),
        )
    ]
    table([f"{lines:,} links, {size / MB:.0f} MB of list", "seconds", "CPU s", "memory (MB)"], rows)


def memory(folder: Path, most: int) -> None:
    """Prints restic's memory by the number of chunks, each a small file: an index has an entry for
    each, whatever its size."""
    bench = Bench(folder)
    generator = random.Random(1)
    rows, base = [], 0
    made = 0
    bench.restic("init")
    for number in (most // 100, most // 2, most):
        while made < number:
            path = bench.tree.path / f"{made // 1000:05}" / str(made)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(generator.randbytes(64))
            made += 1
        first = taken(lambda: bench.restic("--compression", "off", "backup", str(bench.tree.path)))
        again = taken(lambda: bench.restic("--compression", "off", "backup", str(bench.tree.path)))
        listed = taken(lambda: bench.restic("check", "--no-lock"))
        restored = taken(lambda: bench.restic("restore", "latest", "--target", str(bench.restored)))
        shutil.rmtree(bench.restored)
        largest = max(first.memory, again.memory, restored.memory)
        base = base or largest
        rows.append(
            [
                f"{number:,} ({number * CHUNK / TB:.2f} TB)",
                *(f"{measured.memory / MB:.0f}" for measured in (first, again, listed, restored)),
                f"{(largest - base) / MB / max(number * CHUNK / TB, 0.001):,.0f}",
            ]
        )
    table(
        ["chunks", "backup (MB)", "unchanged", "check", "restore", "more per TB"],
        rows,
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="0.2: a fifth of it all")
    parser.add_argument(
        "--quick", dest="scale", action="store_const", const=0.01, help="to try the program"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    options = parser.parse_args()
    if not shutil.which("restic"):
        sys.exit("restic is not installed")
    scale: float = options.scale
    parts: dict[str, Callable[[Path], Any]] = {
        "transfers": lambda folder: transfers(folder, int(10 * GB * scale)),
        "settings": lambda folder: settings(folder, int(4 * GB * scale)),
        "links": lambda folder: many_links(folder, int(1_000_000 * scale)),
        "memory": lambda folder: memory(folder, int(400_000 * scale)),
    }
    for name in options.parts:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            parts[name](Path(folder))


if __name__ == "__main__":
    main()
