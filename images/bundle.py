"""Images in one file, for hosts and controllers without internet (``images_source: archive``).

A bundle is a tar whose first member, ``bundle.json``, names the images after it with every digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from images.toolbox import BuildError

KINDS = ("registry", "token_server")
INDEX = "bundle.json"
FORMAT = 1


@dataclass(frozen=True)
class Wanted:
    """An image, named by what it is built from. This needs no build and no network.

    ``inputs`` is the hash of the sources, ``reference`` is NAME:VERSION-HASH.
    """

    version: str
    inputs: str
    reference: str


@dataclass(frozen=True)
class Built(Wanted):
    """An image that has been built.

    ``path`` is its tar; ``sha256`` and ``size`` (bytes) are the tar's. ``ids`` are the two digests
    by which an engine may know the image: its configuration's (classic store) and its manifest's
    (containerd store).
    """

    path: str
    sha256: str
    ids: list[str]
    size: int


def write(built: Mapping[str, Built], architecture: str, output: Path) -> None:
    """Write one tar with the images and an index of their digests, for ``images_source: archive``.

    Raises BuildError if ``output`` cannot be written.
    """
    index: dict[str, object] = {"format": FORMAT, "architecture": architecture}
    index["images"] = {
        kind: {**asdict(image), "path": f"{kind}.tar"} for kind, image in built.items()
    }
    text = json.dumps(index, indent=2, sort_keys=True).encode() + b"\n"
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
            header = tarfile.TarInfo(INDEX)
            header.size = len(text)
            archive.addfile(header, io.BytesIO(text))
            for kind, image in sorted(built.items()):
                header = tarfile.TarInfo(f"{kind}.tar")
                header.size = image.size
                with Path(image.path).open("rb") as file:
                    archive.addfile(header, file)
        temporary.rename(output)
    except OSError as error:
        raise BuildError(
            f"--output: {output} cannot be written ({error.strerror}): name a file in a folder "
            "that exists and has room"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def unpack(path: Path, architecture: str | None, cache: Path) -> dict[str, Built]:
    """Check every digest of a bundle and unpack its images into the cache.

    ``architecture`` is the one that the images must have; None accepts any. Raises BuildError,
    whose message begins with ``images_archive: FILE``.
    """
    where = f"images_archive: {path}"
    try:
        with tarfile.open(path, "r:") as archive:
            images = _index(where, archive, architecture)
            return {
                kind: _image(where, archive, kind, image, cache) for kind, image in images.items()
            }
    except FileNotFoundError:
        raise BuildError(
            f"{where}: there is no such file: write the path of a file on the controller that "
            "`images/build.py bundle` has written"
        ) from None
    except tarfile.ReadError:
        raise BuildError(
            f"{where}: it is damaged or not a bundle: copy the bundle again, or make one with "
            "`images/build.py bundle`"
        ) from None
    except OSError as error:
        raise BuildError(f"{where}: {error.filename or 'the file'}: {error.strerror}") from None


def _index(where: str, archive: tarfile.TarFile, architecture: str | None) -> dict[str, Built]:
    """The images that bundle.json lists, by kind. Raises BuildError if it cannot be used."""
    first = archive.next()
    file = archive.extractfile(first) if first and first.name == INDEX else None
    if file is None:
        raise BuildError(
            f"{where}: it does not begin with {INDEX}, so it is not a bundle: write the path of a "
            "file that `images/build.py bundle` has written"
        )
    try:
        index = json.loads(file.read())
        made_for = index["architecture"]
        images = {kind: Built(**image) for kind, image in index["images"].items()}
        understood = index["format"] == FORMAT and set(images) <= set(KINDS)
    except (ValueError, KeyError, TypeError, AttributeError):
        understood = False
    if not understood:
        raise BuildError(
            f"{where}: its {INDEX} was written by another version of the toolkit: make the bundle "
            "with this version"
        )
    if architecture is not None and made_for != architecture:
        raise BuildError(
            f"{where}: its images are for {made_for}, but the host is {architecture}: make a "
            f"bundle with --architecture {architecture}"
        )
    return images


def _image(where: str, archive: tarfile.TarFile, kind: str, listed: Built, cache: Path) -> Built:
    """Check an image against the index, and put it into the cache under its own digest."""
    name = f"{kind}.tar"
    try:
        source = archive.extractfile(name)
    except KeyError:
        source = None
    if source is None:
        raise BuildError(f"{where}: {name} is missing: copy the bundle again")
    folder = cache / "archive"
    folder.mkdir(parents=True, exist_ok=True)
    path, temporary = folder / f"{listed.sha256}.tar", folder / f".{name}.{os.getpid()}"
    try:
        with temporary.open("w+b") as file:
            hashing = hashlib.sha256()
            while block := source.read(1 << 20):
                hashing.update(block)
                file.write(block)
            sha256 = hashing.hexdigest()
            if sha256 != listed.sha256:
                raise BuildError(
                    f"{where}: {name}: its SHA-256 is {sha256}, but {INDEX} says {listed.sha256}: "
                    "copy the bundle again"
                )
            file.seek(0)
            # An engine goes by these digests, so they are computed and not taken from the index.
            ids = _ids(file)
            if ids != listed.ids:
                raise BuildError(
                    f"{where}: {name}: the image in it is {' and '.join(ids) or 'none'}, but "
                    f"{INDEX} says {' and '.join(map(str, listed.ids))}: make the bundle again"
                )
        # Replaces a file that already exists, since that may have been damaged.
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    return Built(**{**asdict(listed), "path": str(path), "size": path.stat().st_size})


def _ids(file: IO[bytes]) -> list[str]:
    """The digests of an image tar's configuration and manifest; empty if it is not an image."""
    digests: dict[str, str] = {}
    documents: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as image:
            for member in image:
                content = image.extractfile(member)
                if content is not None and member.size < 1 << 20:
                    documents[member.name] = content.read()
                    digest = hashlib.sha256(documents[member.name]).hexdigest()
                    digests[member.name] = f"sha256:{digest}"
        manifest = json.loads(documents["index.json"])["manifests"][0]["digest"]
        configuration = json.loads(documents["manifest.json"])[0]["Config"]
        return [digests[configuration], digests["blobs/" + manifest.replace(":", "/")]]
    except (tarfile.ReadError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        return []
