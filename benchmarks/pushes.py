"""How fast blobs come in: nginx with TLS against the registry itself without TLS, and against the
usual recipe. Each is stored and confirmed (201) by the registry, which checks its digest.

A 400 MB blob in one piece (PUT), and as docker sends it (PATCH in chunks, then PUT); 16 clients at
once; 400 small layers by 8 clients. Clients are curl and share the cores with all servers.
Medians of alternating rounds.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from benchmarks.stack import (
    MB,
    SIDES,
    alternating,
    contents,
    digest_of,
    running,
    said,
    together,
)
from benchmarks.transfers import REPOSITORY, command_line, draw
from benchmarks.transfers import Bench as Transfers

# Without this, curl would wait for a 100 Continue.
BODY = ("--header", "Expect:", "--header", "Content-Type: application/octet-stream")


class Bench(Transfers):
    """A stack, and files to push to it."""

    def file(self, size: int, seed: int = 0) -> tuple[Path, str]:
        path = self.stack.folder / f"push.{size}.{seed}"
        path.write_bytes(contents(size, seed))
        return path, digest_of(path.read_bytes())

    def begun(self, side: str, times: int = 1) -> list[str]:
        """Addresses of uploads that have been started, each with its `?`."""
        words = ("--request", "POST", "--header", "Content-Length: 0")
        config = self.stack.folder / f"begin.{side}.{times}"
        address = f"{self.stack.sides[side]}/v2/{REPOSITORY}/blobs/uploads/"
        config.write_text(
            f'url = "{address}"\noutput = /dev/null\n' * times
            + 'write-out = "%header{location}\\n"\n'
        )
        locations = said(*self.stack.curl(REPOSITORY, *words, "--config", str(config))).split()
        assert len(locations) == times
        return [
            self.stack.sides[side] + location[location.index("/v2/") :] for location in locations
        ]

    def clean(self) -> None:
        """Removes uploads that were started but not finished."""
        uploads = self.stack.storage / f"docker/registry/v2/repositories/{REPOSITORY}/_uploads"
        shutil.rmtree(uploads, ignore_errors=True)

    def whole(self, side: str, blob: tuple[Path, str]) -> float:
        """MB/s of one PUT."""
        path, digest = blob
        (address,) = self.begun(side)
        size = path.stat().st_size
        command = self.stack.curl(REPOSITORY, *BODY, "--upload-file", str(path))
        with self.spending(side, size):
            seconds = together([[*command, f"{address}&digest={digest}"]])
        return size / MB / seconds

    def chunked(self, side: str, blob: tuple[Path, str]) -> float:
        """MB/s of a PATCH of unknown length and the PUT that ends it."""
        path, digest = blob
        (address,) = self.begun(side)
        began = time.monotonic()
        sent = said(
            *self.stack.curl(REPOSITORY, *BODY, "--header", "Transfer-Encoding: chunked"),
            *("--request", "PATCH", "--upload-file", str(path), "--output", "/dev/null"),
            *("--write-out", "%header{location}", address),
        )
        address = self.stack.sides[side] + sent[sent.index("/v2/") :].strip()
        end = ("--request", "PUT", "--header", "Content-Length: 0", f"{address}&digest={digest}")
        said(*self.stack.curl(REPOSITORY, *end))
        return path.stat().st_size / MB / (time.monotonic() - began)

    def many(self, side: str, blob: tuple[Path, str], clients: int) -> float:
        """MB/s of simultaneous PUTs."""
        path, digest = blob
        command = self.stack.curl(REPOSITORY, *BODY, "--upload-file", str(path))
        commands = [
            [*command, f"{address}&digest={digest}"] for address in self.begun(side, clients)
        ]
        return clients * path.stat().st_size / MB / together(commands)

    def small(self, side: str, blobs: list[tuple[Path, str]], clients: int) -> float:
        """Blobs a second; the uploads are started beforehand, and that time is included."""
        began = time.monotonic()
        addresses = self.begun(side, len(blobs))
        requests = [
            {"url": f"{address}&digest={digest}", "upload-file": str(path)}
            for address, (path, digest) in zip(addresses, blobs, strict=True)
        ]
        together(self.shared(f"small.{side}", requests, clients, *BODY))
        return len(blobs) / (time.monotonic() - began)


def main() -> None:
    """Measures and prints."""
    options = command_line(__doc__)
    with running() as stack:
        bench = Bench(stack)
        big, middle = bench.file(400 * MB), bench.file(40 * MB)
        small = [bench.file(20_000, number) for number in range(400)]
        results = {
            "one client, 400 MB, one PUT (MB/s)": alternating(
                SIDES, options.rounds, lambda side: bench.whole(side, big)
            ),
            "one client, 400 MB, PATCH in chunks as docker (MB/s)": alternating(
                SIDES, options.rounds, lambda side: bench.chunked(side, big)
            ),
            "16 clients at once, 40 MB each (MB/s)": alternating(
                SIDES, 2, lambda side: bench.many(side, middle, 16), warm=False
            ),
            "400 layers of 20 kB, 8 clients (layers/s)": alternating(
                SIDES, 3, lambda side: bench.small(side, small, 8), warm=False
            ),
        }
        bench.tell("pushed", results)
    if options.picture:
        draw(
            options.picture,
            "One client pushes a 400 MB blob, as docker does",
            results["one client, 400 MB, PATCH in chunks as docker (MB/s)"],
        )


if __name__ == "__main__":
    main()
