"""Makes one image by mmdebstrap: the layer, the configuration and the manifest."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from ...oci import images
from ...oci.digests import digest_of
from ...oci.media_types import OCI_LAYER_GZIP
from ..system.context import Host
from ..system.errors import HostError
from . import archive, layer, namespace
from .archive import State
from .settings import Row

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
STATE_LABEL = "io.wharfinger.archive-state"
# An archive's InRelease files, and the bytes of one.
_MOST_LISTS = 16
_MOST_BYTES = 8 << 20
# Seconds after which mmdebstrap is ended.
_LONGEST = 3600.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Documentation and translations, as Debian's own slim images leave them out.
_SLIM = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)
_FULL = "the disk is full: make room in /var/lib/wharfinger"
_FAILURES = (
    (
        ("NO_PUBKEY", "is not signed", "Missing key", "public key is not available"),
        "this host's keys of Debian do not sign it: upgrade the package debian-archive-keyring, or "
        "write another `mirror`",
    ),
    (("Unable to locate package",), "a name in `packages` is not in the suite: see below"),
    (("No space left",), _FULL),
    (
        ("Could not resolve", "Could not connect", "Temporary failure", "Failed to fetch"),
        "the archive cannot be reached",
    ),
)


class Moved(HostError):
    """The archive has changed between the look at it and the download."""


@dataclass(frozen=True)
class Image:
    """What is pushed. layer: the file of the compressed layer, with this digest and size."""

    manifest: bytes
    configuration: bytes
    layer: Path
    layer_digest: str
    layer_size: int

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)


def build(host: Host, row: Row, state: State, work: Path) -> Image:
    """Makes the image of this state of the archive in `work`. Raises Moved if the archive has
    another one meanwhile, and HostError with what went wrong."""
    architecture = host.runner.run(["dpkg", "--print-architecture"]).output.strip()
    # Package scripts may write in `inside` alone: what root opens again by its path lies outside.
    target, errors, inside = work / "layer.tar.gz", work / "errors", work / "inside"
    lists = inside / "lists"
    lists.mkdir(parents=True)
    for path in (work, inside, lists):
        # apt reads as an account without rights.
        path.chmod(0o755)
    namespace.give(lists)
    environment = {
        "PATH": _PATH,
        "LC_ALL": "C.UTF-8",
        "TMPDIR": str(inside),
        "SOURCE_DATE_EPOCH": str(state.moment),
        "DEBIAN_FRONTEND": "noninteractive",
        **archive.proxies(host),
    }
    with (
        target.open("wb") as output,
        namespace.started(_command(row, lists), inside, environment, errors) as process,
        _compressed(output) as compressor,
        _ended_after(_LONGEST, process),
    ):
        written = _Counting(compressor)
        problem = _written(process, cast(IO[bytes], written), row, state)
        code = process.wait()
    if code != 0:
        raise HostError(failure(row, errors.read_text("utf-8", "replace")))
    if problem:
        raise HostError(f"{row.name}: mmdebstrap's tar cannot be read: {problem}")
    if used(lists) != state:
        raise Moved(f"{row.name}: Debian's archive changes at this moment: run this again later")
    return _image(row, state, architecture, target, written.digest)


def used(lists: Path) -> State | None:
    """The state of the archive that mmdebstrap has left here; None if that is anything else than
    the few files that it writes."""
    files = []
    for path in sorted(lists.iterdir())[:_MOST_LISTS]:
        with suppress(OSError):
            # Package scripts could have put anything here.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as stream:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    files.append(stream.read(_MOST_BYTES))
    try:
        return archive.state_of(files)
    except ValueError:
        return None


def _written(
    process: subprocess.Popen[bytes], output: IO[bytes], row: Row, state: State
) -> Exception | None:
    """Writes the layer; returns what is wrong with mmdebstrap's tar, as where mmdebstrap failed.
    Raises HostError if it cannot be written."""
    assert process.stdout is not None
    try:
        layer.write(process.stdout, output, sources(row).encode(), state.moment)
    except (tarfile.TarError, EOFError) as problem:
        return problem
    except OSError as problem:
        raise HostError(f"{row.name}: {_FULL} ({problem})") from problem
    finally:
        # It waits until somebody has read all of its output.
        while process.poll() is None and process.stdout.read(1 << 20):
            pass
    return None


def _command(row: Row, lists: Path) -> list[str]:
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=tar"]
    command += [f"--dpkgopt={option}" for option in _SLIM]
    if row.packages:
        command.append(f"--include={','.join(row.packages)}")
    # Run by a shell, with the image's root as $1.
    command.append(f'--customize-hook=cp "$1"/var/lib/apt/lists/*_InRelease {lists}/')
    command += [row.suite, "-"]
    return command + [
        f"deb [signed-by={KEYRING}] {mirror} {suite} main" for mirror, suite in row.sources
    ]


def sources(row: Row) -> str:
    """The image's own list of archives."""
    return "\n".join(
        f"Types: deb\nURIs: {mirror}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n"
        for mirror, suite in row.sources
    )


def _image(row: Row, state: State, architecture: str, target: Path, diff_id: str) -> Image:
    with target.open("rb") as stream:
        digest = "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
    size = target.stat().st_size
    configuration = images.configuration(
        architecture,
        {
            "Env": [f"PATH={_PATH}"],
            "Cmd": ["bash"],
            "Labels": {
                "org.opencontainers.image.created": state.date,
                "org.opencontainers.image.title": row.to,
                "org.opencontainers.image.version": row.tag,
                STATE_LABEL: f"{row.suite}@{state.date}",
            },
        },
        [diff_id],
        state.date,
    )
    described = {"mediaType": OCI_LAYER_GZIP, "digest": digest, "size": size}
    return Image(images.manifest(configuration, [described]), configuration, target, digest, size)


def failure(row: Row, said: str) -> str:
    """What mmdebstrap's errors mean, in one sentence, and the errors themselves."""
    lines = [line for line in said.splitlines() if line.startswith("E:")]
    why = next((text for words, text in _FAILURES if any(word in said for word in words)), "")
    shown = " ".join(lines[:4])[:600] or said[-300:].strip()
    return f"{row.name}: {why or 'mmdebstrap failed'} ({shown})"


class _Counting:
    """A stream that knows the digest of what was written to it."""

    def __init__(self, output: IO[bytes]) -> None:
        self._output, self._hash = output, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return self._output.write(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


@contextmanager
def _compressed(output: IO[bytes]) -> Iterator[IO[bytes]]:
    """A stream whose bytes go to `output` through gzip, the program: Python's zlib compresses
    differently on Debian 12 and 13, Debian's gzip does not."""
    with subprocess.Popen(
        ["gzip", "--no-name", "-6"], stdin=subprocess.PIPE, stdout=output
    ) as process:
        assert process.stdin is not None
        yield process.stdin
        process.stdin.close()
        if process.wait() != 0:
            raise HostError(f"gzip could not write the layer: {_FULL}")


@contextmanager
def _ended_after(seconds: float, process: subprocess.Popen[bytes]) -> Iterator[None]:
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
