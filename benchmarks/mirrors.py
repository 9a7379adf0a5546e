"""The first copy of a mirror, and a run that changes nothing, beside `skopeo sync` of the same.

The upstream is Debian's docker-registry (TLS, htpasswd); each side copies into a registry of its
own: ours with token server and nginx. All of them share this machine's cores. Requests are counted
in the upstream's own log. skopeo has no lock, so it reads every tag's manifest.

The shortest run of each side counts. Needs root, nginx, and Debian's packages docker-registry,
python3-httpx and skopeo.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests/library")]

from benchmarks.stack import table
from load.image import Image, digest, made
from local.registries import ADDRESS, DEBIANS, Served, debians, ours
from support.program import registry_program
from wharfinger.client.api import Fetched, Registry
from wharfinger.client.credentials import Credentials
from wharfinger.client.transport import Settings, Transport
from wharfinger.oci import manifests

LOGIN = Credentials("admin", "admin-pw")
# As on a host: the system's Python with Debian's httpx.
PYTHON = "/usr/bin/python3"
MB = 1_000_000
LAYERS = 5
LARGE, MANY = "bench/large", "bench/many"
SIDES = ("wharfinger", "skopeo")


class Bench:
    """The upstream, what it holds, and a registry that copies go to."""

    def __init__(self, upstream: Served, goal: Served) -> None:
        self.upstream, self.goal = upstream, goal

    def run(self, side: str, repository: str) -> tuple[float, int]:
        """Seconds of one run, and how many requests the upstream has logged for it."""
        before = self._logged()
        began = time.monotonic()
        getattr(self, f"_{side}")(repository)
        seconds = time.monotonic() - began
        return seconds, self._logged() - before

    def _wharfinger(self, repository: str) -> None:
        mirror = {
            "from": f"{self.upstream.name}/{repository}",
            "upstream": self.upstream.name,
            "source": repository,
            "to": repository,
            "tags": ["*"],
            "username": LOGIN.user,
            "password": LOGIN.password,
            "ca": self.upstream.ca.read_text(),
            "lines": self.lines(repository),
        }
        registry = {
            "name": self.goal.name,
            "address": ADDRESS,
            "user": LOGIN.user,
            "password": LOGIN.password,
            "ca": self.goal.ca.read_text(),
        }
        request = {"task": "copy", "registry": registry, "mirrors": [mirror]}
        answer = json.loads(said([PYTHON, "-m", "wharfinger.copier"], json.dumps(request)))
        (found,) = answer["mirrors"]
        if found["problem"] or found["failed"]:
            sys.exit(f"{found['problem']} {found['failed']}")

    def _skopeo(self, repository: str) -> None:
        login = f"{LOGIN.user}:{LOGIN.password}"
        namespace = repository.rpartition("/")[0]
        said(
            [
                # The images are not signed, so there is no policy of signatures to check them by.
                *("skopeo", "--insecure-policy", "sync", "--all", "--src", "docker"),
                *("--dest", "docker", "--src-creds", login, "--dest-creds", login),
                *("--src-cert-dir", str(certificates(self.upstream))),
                *("--dest-cert-dir", str(certificates(self.goal))),
                *(f"{self.upstream.name}/{repository}", f"{self.goal.name}/{namespace}"),
            ]
        )

    def lines(self, repository: str) -> dict[str, str]:
        """Tag → digest, as mirror.lock would have them."""
        tags: dict[str, str] = json.loads((self.upstream.folder / name_of(repository)).read_text())
        return tags

    def _logged(self) -> int:
        log = (self.upstream.folder / "1.log").read_text(errors="replace")
        return sum(' HTTP/1.1" ' in line for line in log.splitlines())


def said(command: list[str], text: str = "") -> str:
    """The output of a command; if it fails, its own message ends the program."""
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, cwd=PROJECT, check=False
    )
    if done.returncode:
        sys.exit(f"{command[0]}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def certificates(served: Served) -> Path:
    """A folder with the registry's authority and nothing else, which skopeo wants."""
    folder = served.folder / "authority"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(served.ca, folder / "ca.crt")
    return folder


def name_of(repository: str) -> str:
    """The file with the tags of a repository."""
    return f"{repository.replace('/', '.')}.tags"


def fill(upstream: Served, repository: str, images: Iterator[tuple[str, Image]]) -> None:
    """Pushes images, and notes their digests."""
    tags: dict[str, str] = {}

    async def main() -> None:
        async with Transport(upstream.name, Settings(LOGIN, upstream.ca)) as transport:
            registry = Registry(transport)
            for tag, image in images:
                for blob in (image.config, *image.layers):

                    async def content(blob: bytes = blob) -> AsyncIterator[bytes]:
                        for start in range(0, len(blob), 1 << 20):
                            yield blob[start : start + (1 << 20)]

                    await registry.blobs.push(repository, digest(blob), len(blob), content)
                read = manifests.parse(image.manifest)
                assert isinstance(read, manifests.Manifest)
                name = digest(image.manifest)
                fetched = Fetched(name, read.media_type, image.manifest, read)
                await registry.put_manifest(repository, tag, fetched)
                tags[tag] = name

    asyncio.run(main())
    (upstream.folder / name_of(repository)).write_text(json.dumps(tags))


def large(size: int) -> Iterator[tuple[str, Image]]:
    """Images of five layers of 100 MB each, or of smaller ones where `size` (bytes) is small."""
    layer = min(100 * MB, size // LAYERS)
    for number in range(max(1, size // (LAYERS * layer))):
        yield str(number), made((layer,) * LAYERS)


def many(tags: int) -> Iterator[tuple[str, Image]]:
    """Small images, each with a layer of its own."""
    for number in range(tags):
        yield f"1.{number}", made((1000,))


@contextmanager
def goal(folder: Path, program: Path) -> Iterator[Served]:
    """An empty registry of ours; its content is removed afterwards."""
    folder.mkdir()
    try:
        with ours(folder, program, cost=10) as served:
            yield served
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What happened → side → seconds and requests. The sides take turns at being first."""
    results: dict[str, dict[str, Any]] = {}
    program = registry_program(folder)
    (folder / "upstream").mkdir()
    with debians(folder / "upstream") as upstream:
        fill(upstream, LARGE, large(int(options.gigabytes * 1000) * MB))
        fill(upstream, MANY, many(options.tags))
        os.sync()
        for number in range(options.rounds):
            for side in SIDES if number % 2 else reversed(SIDES):
                with goal(folder / f"{side}-{number}", program) as served:
                    bench = Bench(upstream, served)
                    first = f"first copy of {options.gigabytes:g} GB"
                    _best(results, first, side, bench.run(side, LARGE))
                    bench.run(side, MANY)
                    again = f"{options.tags} tags, nothing changes"
                    for _ in range(options.runs):
                        _best(results, again, side, bench.run(side, MANY))
    return results


def _best(results: dict[str, Any], what: str, side: str, now: tuple[float, int]) -> None:
    """Keeps the shortest run of each side: whatever else the machine does only adds to it."""
    sides = results.setdefault(what, {})
    sides[side] = min(sides.get(side, now), now)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=5)
    parser.add_argument("--tags", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=2, help="first copies of each side")
    parser.add_argument("--runs", type=int, default=3, help="runs that change nothing, in each")
    options = parser.parse_args()
    needs: dict[str, Callable[[], bool]] = {
        "root": lambda: os.geteuid() == 0,
        "docker-registry": lambda: Path(DEBIANS).exists(),
        "skopeo": lambda: shutil.which("skopeo") is not None,
        "python3-httpx": lambda: not subprocess.call([PYTHON, "-c", "import httpx"]),
    }
    missing = [name for name, is_there in needs.items() if not is_there()]
    if missing:
        sys.exit(f"this needs {', '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="wharfinger-benchmark-") as name:
        # nginx reads blobs as its own user.
        Path(name).chmod(0o755)
        results = measure(Path(name), options)
    rows = []
    for what, sides in results.items():
        (seconds, requests), (theirs, other) = (sides[side] for side in SIDES)
        rows.append(
            [
                what,
                *(f"{seconds:.1f}", f"{requests:,}", f"{theirs:.1f}", f"{other:,}"),
                f"{seconds / theirs:.2f} ×",
            ]
        )
    table(["", "s", "upstream requests", "skopeo sync, s", "upstream requests", "time"], rows)


if __name__ == "__main__":
    main()
