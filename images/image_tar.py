"""Container images from plain entries, byte for byte the same wherever they are built.

One tar serves every engine. It is an OCI image layout (OCI image specification 1.1), which the
containerd image store reads, and it has the ``manifest.json`` that ``docker load`` of the classic
store has read since 1.10. Layers are not compressed, because the output of compressors differs
between versions, and the digest with it.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wharfinger.oci import images
from wharfinger.oci.digests import digest_of
from wharfinger.oci.media_types import OCI_IMAGE, OCI_INDEX, OCI_LAYER


@dataclass(frozen=True)
class Entry:
    """A path of an image: a file (``content``), a symbolic link (``target``) or a directory.

    ``path`` is relative to the image's root, without a leading slash. Its owner is root.
    """

    path: str
    mode: int = 0o644
    content: bytes | None = None
    target: str | None = None


@dataclass(frozen=True)
class Image:
    """The two digests of a built image, each ``sha256:`` and 64 hexadecimal digits.

    The classic store of an engine knows the image by its configuration's digest, the containerd
    store by its manifest's.
    """

    configuration: str
    manifest: str


def directory(path: str, mode: int = 0o755) -> Entry:
    """An empty directory. Parents of other entries are added without it."""
    return Entry(path, mode)


def symlink(path: str, target: str) -> Entry:
    """A symbolic link at ``path``."""
    return Entry(path, 0o777, target=target)


def digest(content: bytes) -> str:
    """``sha256:`` and the hexadecimal digest of ``content``."""
    return digest_of(content)


def layer(entries: Iterable[Entry]) -> bytes:
    """A layer: sorted by path, with time 0 and owner 0; missing parents are added with mode 0755.

    Raises ValueError if a path occurs twice or leaves the root.
    """
    known: dict[str, Entry] = {}
    for entry in entries:
        parts = PurePosixPath(entry.path).parts
        if not parts or entry.path != "/".join(parts) or ".." in parts or parts[0] == "/":
            raise ValueError(f"{entry.path!r} is not a path below an image's root")
        if entry.path in known:
            raise ValueError(f"{entry.path!r} occurs twice in one layer")
        known[entry.path] = entry
    for path in list(known):
        for parent in PurePosixPath(path).parents:
            if str(parent) != ".":
                known.setdefault(str(parent), directory(str(parent)))
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(known):
            entry = known[path]
            if entry.target is not None:
                info = _header(path, entry.mode, tarfile.SYMTYPE)
                info.linkname = entry.target
                archive.addfile(info)
            elif entry.content is not None:
                _add_file(archive, path, entry.content, entry.mode)
            else:
                archive.addfile(_header(path, entry.mode, tarfile.DIRTYPE))
    return output.getvalue()


def write(
    output: Path,
    *,
    reference: str,
    architecture: str,
    layers: Sequence[bytes],
    settings: Mapping[str, object],
    labels: Mapping[str, str],
) -> Image:
    """Write the image's tar to ``output``.

    ``reference`` is NAME:TAG without a registry. ``architecture`` is amd64 or arm64. ``settings``
    is the ``config`` object of the OCI image configuration, without its labels.
    """
    configuration = images.configuration(
        architecture,
        {**settings, "Labels": dict(labels)},
        [digest(content) for content in layers],
        "1970-01-01T00:00:00Z",
    )
    manifest = images.manifest(
        configuration, [images.descriptor(OCI_LAYER, content) for content in layers]
    )
    name, tag = reference.rsplit(":", 1)
    index = images.json_bytes(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                {
                    **images.descriptor(OCI_IMAGE, manifest),
                    "platform": images.platform(architecture),
                    "annotations": {
                        # containerd's import needs the whole name, as docker writes it.
                        "io.containerd.image.name": f"docker.io/{name}:{tag}",
                        "org.opencontainers.image.ref.name": tag,
                    },
                }
            ],
        }
    )
    classic = images.json_bytes(
        [
            {
                "Config": _blob_path(configuration),
                "RepoTags": [reference],
                "Layers": [_blob_path(content) for content in layers],
            }
        ]
    )
    with tarfile.open(output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        _add_file(archive, "oci-layout", images.json_bytes({"imageLayoutVersion": "1.0.0"}))
        _add_file(archive, "index.json", index)
        _add_file(archive, "manifest.json", classic)
        # Equal layers are one blob.
        blobs = {_blob_path(blob): blob for blob in (manifest, configuration, *layers)}
        for path, blob in blobs.items():
            _add_file(archive, path, blob)
    return Image(digest(configuration), digest(manifest))


def _header(path: str, mode: int, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.mode = mode
    info.type = kind
    return info


def _add_file(archive: tarfile.TarFile, path: str, content: bytes, mode: int = 0o644) -> None:
    info = _header(path, mode, tarfile.REGTYPE)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def _blob_path(content: bytes) -> str:
    return "blobs/" + digest(content).replace(":", "/")
