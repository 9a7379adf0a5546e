#!/usr/bin/env python3
"""Build Wharfinger's two images on the controller, or take them from a bundle.

    images/build.py inputs --architecture amd64
    images/build.py ready --architecture amd64 [--only registry] [--cache DIR]
    images/build.py build --architecture amd64 [--only registry] [--refresh] [--cache DIR]
    images/build.py bundle --architecture amd64 --output FILE [--cache DIR]
    images/build.py open FILE [--architecture amd64] [--cache DIR]

The answer is JSON on standard output; progress goes to standard error. It needs Python 3.11, and
for building the programs that docs/images.md names.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

if not __package__:
    # When this file is the program, Python looks for modules in images/. Ours are named from the
    # repository's root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from images import bundle as bundles
from images import downloads, image_tar, toolbox
from images.bundle import KINDS, Built, Wanted
from images.registry import recipe as registry
from images.token_server import recipe as token_server
from images.toolbox import ARCHITECTURES, BuildError, say

# How many images of a kind the cache keeps: the older ones serve a return to an older checkout.
KEPT_IMAGES = 4

_SHARED_SOURCES = (Path(image_tar.__file__), Path(toolbox.__file__))


@dataclass(frozen=True)
class Recipe:
    """How an image is made. The functions are those of its recipe.py."""

    name: str
    version: Callable[[], str]
    sources: Callable[[], list[Path]]
    settings: Mapping[str, object]
    layers: Callable[[Path, str], list[bytes]]
    labels: Mapping[str, str] = field(default_factory=dict)


RECIPES = {
    "registry": Recipe(
        registry.NAME,
        registry.version,
        registry.sources,
        registry.SETTINGS,
        registry.build,
        registry.LABELS,
    ),
    "token_server": Recipe(
        token_server.NAME,
        token_server.version,
        token_server.sources,
        token_server.SETTINGS,
        token_server.build,
    ),
}


def wanted(kind: str, architecture: str) -> Wanted:
    """The image that belongs to this checkout.

    The recipes import ids and ports from wharfinger/deployment/fixed.py. Their settings are part of
    the hash, that file is not: a change of another number in it builds nothing.
    """
    recipe = RECIPES[kind]
    inputs = toolbox.hash_sources(
        [*recipe.sources(), *_SHARED_SOURCES],
        architecture=architecture,
        settings=json.dumps(recipe.settings, sort_keys=True),
    )
    version = recipe.version()
    return Wanted(version, inputs, f"{recipe.name}:{version}-{inputs[:12]}")


def default_cache() -> Path:
    """The folder of images unless --cache names another (XDG base directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "wharfinger" / "images"


def build(kind: str, architecture: str, cache: Path, *, refresh: bool = False) -> Built:
    """The image of this checkout, from the cache or built now.

    With ``refresh`` it is built again with today's Debian packages and replaces the image in the
    cache. Raises BuildError.
    """
    goal = wanted(kind, architecture)
    cache.mkdir(parents=True, exist_ok=True)
    with _lock(cache / f".lock-{kind}-{architecture}", f"{goal.reference} is being built"):
        prefix = f"{kind}-{architecture}-"
        folder = cache / f"{prefix}{goal.inputs[:12]}"
        image = None if refresh else _from_cache(folder, goal)
        if image is None:
            for left_over in cache.glob(f".{prefix}*"):  # of a build that was killed
                shutil.rmtree(left_over, ignore_errors=True)
            work = Path(tempfile.mkdtemp(dir=cache, prefix=f".{prefix}"))
            try:
                image = _make(kind, architecture, goal, work, folder)
            finally:
                shutil.rmtree(work, ignore_errors=True)
            _forget_old(cache, prefix)
        folder.touch()
    return image


def ready(kinds: Sequence[str], architecture: str, cache: Path) -> dict[str, Wanted]:
    """The images that are not in the cache.

    Raises BuildError if this machine cannot build one of them: a tool is missing, or a source of
    downloads does not answer.
    """
    goals = {kind: wanted(kind, architecture) for kind in kinds}
    missing = {
        kind: goal
        for kind, goal in goals.items()
        if _from_cache(cache / f"{kind}-{architecture}-{goal.inputs[:12]}", goal) is None
    }
    if "token_server" in missing:
        token_server.require_tools(f"building {token_server.NAME} for {architecture}")
    with ThreadPoolExecutor(len(KINDS)) as pool:
        for check in [pool.submit(downloads.check, kind, architecture) for kind in missing]:
            check.result()
    return missing


def _make(kind: str, architecture: str, goal: Wanted, work: Path, folder: Path) -> Built:
    recipe = RECIPES[kind]
    result, scratch = work / "result", work / "scratch"
    result.mkdir()
    scratch.mkdir()
    tar = result / "image.tar"
    ids = image_tar.write(
        tar,
        reference=goal.reference,
        architecture=architecture,
        layers=recipe.layers(scratch, architecture),
        settings=recipe.settings,
        labels={
            **recipe.labels,
            "org.opencontainers.image.title": recipe.name,
            "org.opencontainers.image.version": goal.version,
            "io.wharfinger.inputs": goal.inputs,
        },
    )
    if wanted(kind, architecture) != goal:
        raise BuildError(
            f"{goal.reference}: its sources were edited while it was being built: run it again"
        )
    built = Built(
        **asdict(goal),
        path=str(folder / "image.tar"),
        sha256=toolbox.file_sha256(tar),
        ids=[ids.configuration, ids.manifest],
        size=tar.stat().st_size,
    )
    (result / "image.json").write_text(json.dumps(asdict(built)), encoding="utf-8")
    # A folder appears whole or not at all. A refresh first moves the old folder away.
    if folder.exists():
        folder.rename(work / "replaced")
    result.rename(folder)
    say(f"{goal.reference} is built: {built.ids[0]}, {built.size // 1_000_000} MB")
    return built


def _from_cache(folder: Path, goal: Wanted) -> Built | None:
    try:
        record = json.loads((folder / "image.json").read_text(encoding="utf-8"))
        # The cache may have been moved since.
        built = Built(**{**record, "path": str(folder / "image.tar")})
        intact = (
            built.inputs == goal.inputs and toolbox.file_sha256(Path(built.path)) == built.sha256
        )
    except (OSError, ValueError, TypeError):
        return None
    return built if intact else None


def _forget_old(cache: Path, prefix: str) -> None:
    folders = sorted(cache.glob(f"{prefix}*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in folders[KEPT_IMAGES:]:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _lock(path: Path, activity: str) -> Iterator[None]:
    """Hold a lock on ``path``. The kernel releases it however this process ends.

    ``activity``: what the process that holds it does, such as "a:b is being built".
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{activity} by another process: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build_all(
    kinds: Sequence[str], architecture: str, cache: Path, *, refresh: bool = False
) -> dict[str, Built]:
    """Build several images at once. If some fail, the others are still built, and the first
    failure is raised."""
    with ThreadPoolExecutor(len(kinds)) as pool:
        futures = {
            kind: pool.submit(build, kind, architecture, cache, refresh=refresh) for kind in kinds
        }
    return {kind: future.result() for kind, future in futures.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit status 0, 1 (with a message on standard error) or 2 (usage)."""
    options = _parser().parse_args(arguments)
    cache = Path(options.cache).expanduser().resolve() if options.cache else default_cache()
    try:
        answer = _answer(options, cache)
    except BuildError as error:
        say(str(error))
        return 1
    except OSError as error:
        say(
            f"images: {error.filename or cache}: {error.strerror}: make room or choose another "
            "folder with --cache"
        )
        return 1
    print(json.dumps({kind: asdict(image) for kind, image in answer.items()}, indent=2))
    return 0


def _answer(options: argparse.Namespace, cache: Path) -> Mapping[str, Wanted]:
    if options.command == "open":
        return bundles.unpack(Path(options.file), options.architecture, cache)
    architecture = str(options.architecture)
    if architecture not in ARCHITECTURES:
        raise BuildError(
            f"--architecture: {architecture} is not supported: write {' or '.join(ARCHITECTURES)}"
        )
    if options.command == "inputs":
        return {kind: wanted(kind, architecture) for kind in KINDS}
    kinds = [options.only] if options.only else KINDS
    if options.command == "ready":
        return ready(kinds, architecture, cache)
    built = build_all(kinds, architecture, cache, refresh=options.refresh)
    if options.command == "bundle":
        bundles.write(built, architecture, Path(options.output).resolve())
    return built


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="images/build.py",
        description="Build Wharfinger's two images, or take them from a bundle.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    descriptions = {
        "inputs": "print which images belong to this checkout, without building them",
        "ready": "check that this machine can build the missing images, without building them",
        "build": "build the images that are not in the cache",
        "bundle": "build the images and write them to one file, for images_source: archive",
        "open": "check a bundle and unpack it into the cache",
    }
    for name, description in descriptions.items():
        command = commands.add_parser(name, help=description, description=description)
        command.add_argument(
            "--architecture",
            default=None if name == "open" else toolbox.native_architecture(),
            help=f"of the host: {' or '.join(ARCHITECTURES)} (default: this machine's; "
            "open: the bundle's)",
        )
        command.add_argument("--only", choices=KINDS, help="this image only")
        command.add_argument("--cache", help=f"default: {default_cache()}")
        command.add_argument(
            "--refresh", action="store_true", help="build again, with today's Debian packages"
        )
        if name == "bundle":
            command.add_argument("--output", required=True, help="the file to write")
        if name == "open":
            command.add_argument("file", help="a file that `bundle` has written")
    return parser


if __name__ == "__main__":
    sys.exit(main())
