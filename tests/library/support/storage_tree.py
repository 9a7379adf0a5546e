"""A registry's storage on disk, as distribution writes it, with real digests."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wharfinger.oci.digests import digest_of
from wharfinger.oci.media_types import OCI_IMAGE, OCI_INDEX, OCI_LAYER

OCI_LAYER_GZIP = f"{OCI_LAYER}+gzip"
CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"
NOW = 1_800_000_000.0
DAY = 86400.0


def descriptor(data: bytes, media_type: str = "application/octet-stream") -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


class Tree:
    """A storage below `path` to fill, and to break."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path / "docker/registry/v2"

    def blob(self, data: bytes) -> str:
        digest = digest_of(data)
        self._write(self.blob_path(digest), data)
        return digest

    def layer(self, repository: str, data: bytes) -> str:
        digest = self.blob(data)
        self._link(self.layer_path(repository, digest), digest, 0)
        return digest

    def manifest(self, repository: str, content: Mapping[str, Any] | bytes, age: float) -> str:
        """Any manifest, pushed `age` seconds before NOW."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        digest = self.blob(data)
        self._link(self.revision_path(repository, digest), digest, age)
        return digest

    def image(
        self,
        repository: str,
        name: str,
        *,
        tag: str | None = None,
        age: float = 0,
        subject: str | None = None,
        layers: Iterable[bytes] | None = None,
    ) -> str:
        """An image with a config and a layer of its own; returns its digest."""
        config = json.dumps({"name": name}).encode()
        contents = [f"layer of {name}".encode()] if layers is None else list(layers)
        for data in (config, *contents):
            self.layer(repository, data)
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE,
            "config": descriptor(config),
            "layers": [descriptor(data) for data in contents],
        }
        if subject:
            manifest["subject"] = {"mediaType": OCI_IMAGE, "digest": subject, "size": 1}
        digest = self.manifest(repository, manifest, age)
        if tag:
            self.tag(repository, tag, digest, age)
        return digest

    def index(
        self,
        repository: str,
        children: Iterable[str],
        *,
        tag: str | None = None,
        age: float = 0,
        platforms: Iterable[str] = (),
    ) -> str:
        """An index of existing manifests, with these platforms (OS/ARCHITECTURE) if there are any;
        returns its digest."""
        entries: list[dict[str, Any]] = [
            {
                "mediaType": OCI_IMAGE,
                "digest": child,
                "size": self.blob_path(child).stat().st_size,
            }
            for child in children
        ]
        for entry, text in zip(entries, platforms, strict=False):
            entry["platform"] = dict(zip(("os", "architecture"), text.split("/"), strict=True))
        content = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        digest = self.manifest(repository, content, age)
        if tag:
            self.tag(repository, tag, digest, age)
        return digest

    def sparse(self, repository: str, *, tag: str) -> str:
        """An index of an image for amd64, and of one for arm64 that is nowhere; returns the index's
        digest."""
        kept = self.image(repository, "amd64")
        entries = [
            {
                "mediaType": OCI_IMAGE,
                "digest": kept,
                "size": self.blob_path(kept).stat().st_size,
                "platform": {"os": "linux", "architecture": "amd64"},
            },
            descriptor(b"an image for arm64", OCI_IMAGE)
            | {"platform": {"os": "linux", "architecture": "arm64"}},
        ]
        content = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        digest = self.manifest(repository, content, 0)
        self.tag(repository, tag, digest)
        return digest

    def cache(self, repository: str, layers: Iterable[bytes], *, tag: str, age: float = 0) -> str:
        """BuildKit's cache in its old form: an index of the layers and of their description;
        returns the index's digest."""
        config = json.dumps({"layers": [digest_of(layer) for layer in layers]}).encode()
        for data in (*layers, config):
            self.layer(repository, data)
        entries = [descriptor(layer, OCI_LAYER_GZIP) for layer in layers]
        entries.append(descriptor(config, CACHE_CONFIG))
        content = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        digest = self.manifest(repository, content, age)
        self.tag(repository, tag, digest, age)
        return digest

    def tag(self, repository: str, tag: str, digest: str, age: float = 0) -> None:
        folder = self.tag_path(repository, tag)
        self._link(folder / "index" / digest.replace(":", "/") / "link", digest, age)
        self._link(folder / "current" / "link", digest, age)

    def blob_path(self, digest: str) -> Path:
        algorithm, value = digest.split(":")
        return self.root / "blobs" / algorithm / value[:2] / value / "data"

    def revision_path(self, repository: str, digest: str) -> Path:
        return self._manifests(repository) / "revisions" / digest.replace(":", "/") / "link"

    def layer_path(self, repository: str, digest: str) -> Path:
        return self._repository(repository) / "_layers" / digest.replace(":", "/") / "link"

    def tag_path(self, repository: str, tag: str) -> Path:
        return self._manifests(repository) / "tags" / tag

    def _repository(self, repository: str) -> Path:
        return self.root / "repositories" / repository

    def _manifests(self, repository: str) -> Path:
        return self._repository(repository) / "_manifests"

    def _link(self, path: Path, digest: str, age: float) -> None:
        self._write(path, digest.encode())
        os.utime(path, (NOW - age, NOW - age))
        self.quiet(path.parents)

    def quiet(self, folders: Iterable[Path] | None = None) -> None:
        """Sets the times of folders to long ago, as if no tag was ever removed. Tests about these
        times set them themselves."""
        for folder in self.root.rglob("*") if folders is None else folders:
            if folder.is_relative_to(self.root) and folder.is_dir():
                os.utime(folder, (0, 0))

    def changed(self, repository: str, age: float, *more: str) -> None:
        """A tag of the repository was created or removed `age` seconds before NOW; with a digest in
        `more`, that manifest was deleted."""
        folder = self._manifests(repository) / "tags"
        for digest in more:
            folder = self.revision_path(repository, digest).parent
            (folder / "link").unlink(missing_ok=True)
        folder.mkdir(exist_ok=True)
        os.utime(folder, (NOW - age, NOW - age))

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
