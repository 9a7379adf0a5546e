"""How fast blobs leave: nginx with TLS and blobs from disk, against the registry itself without
TLS and against the usual recipe. And whether a slow disk holds anybody up.

One client and a 400 MB blob; 64 clients at once; 2,000 small layers by 8 clients; readers of a disk
that gives 10 MB/s beside somebody who pulls small blobs (needs loop devices and cgroup v1's blkio).
Clients are curl and share the machine's cores with all servers. Medians of alternating rounds.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from benchmarks.stack import (
    MB,
    SIDES,
    Stack,
    alternating,
    contents,
    running,
    said,
    table,
    together,
)
from benchmarks.transfers import REPOSITORY, command_line, draw
from benchmarks.transfers import Bench as Transfers

BLKIO = Path("/sys/fs/cgroup/blkio")
THREADS = "aio threads;"


class Bench(Transfers):
    """A stack with blobs in it."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack)
        self.token = stack.token(REPOSITORY)

    def push(self, size: int, seed: int = 0) -> str:
        return self.stack.push(REPOSITORY, contents(size, seed), self.token)

    def address(self, side: str, digest: str) -> str:
        return f"{self.stack.sides[side]}/v2/{REPOSITORY}/blobs/{digest}"

    def pull(self, side: str, digest: str, size: int) -> float:
        """MB/s to one client."""
        words = ("--output", "/dev/null", "--write-out", "%{size_download} %{time_total}")
        with self.spending(side, size):
            figures = said(*self.stack.curl(REPOSITORY, *words, self.address(side, digest))).split()
        assert int(figures[0]) == size
        return size / MB / float(figures[1])

    def checked(self, side: str, digest: str, size: int) -> float:
        """MB/s to one client that computes the digest of what it receives, as docker does."""
        began = time.monotonic()
        with (
            subprocess.Popen(
                self.stack.curl(REPOSITORY, self.address(side, digest)), stdout=subprocess.PIPE
            ) as curl,
            subprocess.Popen(
                ["openssl", "dgst", "-sha256", "-r"], stdin=curl.stdout, stdout=subprocess.PIPE
            ) as sha256,
        ):
            output, _ = sha256.communicate()
        assert output.decode().split()[0] == digest.removeprefix("sha256:")
        return size / MB / (time.monotonic() - began)

    def many(self, side: str, digest: str, size: int, clients: int) -> float:
        """MB/s to all clients together."""
        command = self.stack.curl(REPOSITORY, "--output", "/dev/null", self.address(side, digest))
        return clients * size / MB / together([command] * clients)

    def small(self, side: str, digests: list[str], clients: int) -> float:
        """Blobs a second; each client requests one after another on one connection."""
        requests = [
            {"url": self.address(side, digest), "output": "/dev/null"} for digest in digests
        ]
        return len(digests) / together(self.shared(f"small.{side}", requests, clients))


@contextmanager
def slow_disk(bench: Bench, size: int, rate: int) -> Iterator[str]:
    """A blob on its own disk that gives nginx `rate` bytes a second; yields the blob's digest."""
    digest = bench.push(size, 77)
    blob = bench.stack.storage / "docker/registry/v2/blobs/sha256" / digest[7:9] / digest[7:]
    image = bench.stack.folder / "slow.img"
    with image.open("wb") as file:
        file.truncate(size + 64 * MB)
    said("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
    device = said("losetup", "--find", "--show", str(image)).strip()
    group = BLKIO / "wharfinger-benchmark"
    number = Path(device).stat().st_rdev
    try:
        mounted = bench.stack.folder / "slow"
        mounted.mkdir()
        said("mount", device, str(mounted))
        said("cp", str(blob / "data"), str(mounted / "data"))
        said("umount", str(mounted))
        said("mount", "-o", "ro", device, str(blob))
        group.mkdir(exist_ok=True)
        limit = f"{os.major(number)}:{os.minor(number)} {rate}"
        (group / "blkio.throttle.read_bps_device").write_text(limit)
        bench.stack.cgroup = group / "cgroup.procs"
        yield digest
    finally:
        bench.stack.stop_nginx()
        bench.stack.cgroup = None
        for command in (["umount", str(blob)], ["losetup", "--detach", device]):
            subprocess.run(command, capture_output=True, check=False)
        with contextlib.suppress(OSError):
            group.rmdir()
        bench.stack.start_nginx()


def latencies(bench: Bench, digest: str, seconds: float) -> list[float]:
    """Milliseconds of small pulls, one after another, on two connections in turn."""
    trust = ssl.create_default_context(cafile=str(bench.stack.ca))
    host = bench.stack.sides["ours"].removeprefix("https://")
    times = []
    headers = {"Authorization": f"Bearer {bench.token}"}
    connections = [http.client.HTTPSConnection(host, context=trust, timeout=60) for _ in "ab"]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for connection in connections:
            began = time.monotonic()
            connection.request("GET", f"/v2/{REPOSITORY}/blobs/{digest}", headers=headers)
            answer = connection.getresponse()
            assert answer.status == 200
            answer.read()
            times.append((time.monotonic() - began) * 1000)
    for connection in connections:
        connection.close()
    return sorted(times)


def beside_a_slow_disk(bench: Bench, digest: str, seconds: float) -> list[list[str]]:
    """p99 of small pulls alone and beside 8 readers of a slow disk, with and without threads."""
    rows = []
    with slow_disk(bench, 200 * MB, 10 * MB) as slow:
        for name, change in (
            ("as here (`aio threads`)", lambda site: site),
            ("without `aio threads`", lambda site: site.replace(THREADS, "")),
        ):
            bench.stack.reconfigure(change)
            alone = latencies(bench, digest, seconds)
            Path("/proc/sys/vm/drop_caches").write_text("1")
            command = bench.stack.curl(REPOSITORY, "--output", "/dev/null")
            readers = [subprocess.Popen([*command, bench.address("ours", slow)]) for _ in range(8)]
            time.sleep(0.5)
            beside = latencies(bench, digest, seconds)
            at_work = sum(reader.poll() is None for reader in readers)
            for reader in readers:
                reader.terminate()
            for reader in readers:
                reader.wait()
            # Unless small pulls were held up for so long that the readers finished.
            assert at_work == 8 or beside[-1] > 1000, "the disk was not slow"
            rows.append([name, *_row(alone), *_row(beside)])
    return rows


def _row(times: list[float]) -> list[str]:
    return [f"{times[len(times) // 2]:.1f}", f"{times[int(len(times) * 0.99)]:.1f}"]


def main() -> None:
    """Measures and prints."""
    options = command_line(__doc__)
    with running() as stack:
        bench = Bench(stack)
        big, middle = bench.push(400 * MB), bench.push(40 * MB)
        small = [bench.push(20_000, number) for number in range(2000)]
        said("sync")
        results = {
            "one client, 400 MB (MB/s)": alternating(
                SIDES, options.rounds, lambda side: bench.pull(side, big, 400 * MB)
            ),
            "one client that checks the digest as docker does, 400 MB (MB/s)": alternating(
                SIDES, options.rounds, lambda side: bench.checked(side, big, 400 * MB)
            ),
            "4 clients at once, 400 MB each (MB/s)": alternating(
                SIDES, 2, lambda side: bench.many(side, big, 400 * MB, 4), warm=False
            ),
            "64 clients at once, 40 MB each (MB/s)": alternating(
                SIDES, 2, lambda side: bench.many(side, middle, 40 * MB, 64), warm=False
            ),
            "2,000 layers of 20 kB, 8 clients (layers/s)": alternating(
                SIDES, 2, lambda side: bench.small(side, small, 8), warm=False
            ),
        }
        bench.tell("pulled", results)
        if (BLKIO / "blkio.throttle.read_bps_device").exists():
            table(
                ["small pulls (ms)", "p50", "p99", "p50 beside 8 slow readers", "p99"],
                beside_a_slow_disk(bench, small[0], 8),
            )
        else:
            print("\nNo slow disk here: it takes cgroup v1's blkio.")
    if options.picture:
        draw(
            options.picture, "One client pulls a 400 MB blob", results["one client, 400 MB (MB/s)"]
        )


if __name__ == "__main__":
    main()
