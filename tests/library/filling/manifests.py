"""Manifests of every kind, as bytes (pure)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from support.registry import CONFIG, LAYER, MANIFEST, digest
from wharfinger.oci.media_types import DOCKER_CONFIG, DOCKER_LIST
from wharfinger.oci.media_types import DOCKER_IMAGE as DOCKER_MANIFEST
from wharfinger.oci.media_types import OCI_INDEX as INDEX

DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
SIGNATURE = "application/vnd.dev.cosign.simplesigning.v1+json"
SBOM = "application/spdx+json"
CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"
EMPTY = "application/vnd.oci.empty.v1+json"
# What a client accepts that can handle every type.
ACCEPTED = ", ".join((INDEX, MANIFEST, DOCKER_LIST, DOCKER_MANIFEST))

PLATFORMS = (("amd64", ""), ("arm64", "v8"), ("arm", "v7"))


@dataclass(frozen=True)
class Manifest:
    """A manifest as it is pushed."""

    content: bytes
    media_type: str

    @property
    def digest(self) -> str:
        return digest(self.content)

    @property
    def parsed(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.content)
        return parsed

    @property
    def children(self) -> list[str]:
        """The digests of an index's manifests."""
        return [member["digest"] for member in self._members if _is_manifest(member)]

    @property
    def _members(self) -> list[dict[str, Any]]:
        members: list[dict[str, Any]] = self.parsed.get("manifests", [])
        return members

    @property
    def subject(self) -> str | None:
        subject = self.parsed.get("subject")
        return None if subject is None else str(subject["digest"])

    @property
    def blobs(self) -> Iterator[tuple[str, int]]:
        """Digest and size of everything that it needs besides other manifests."""
        parsed = self.parsed
        members = [member for member in self._members if not _is_manifest(member)]
        for descriptor in [parsed.get("config"), *parsed.get("layers", []), *members]:
            if descriptor is not None:
                yield descriptor["digest"], descriptor["size"]

    def descriptor(self, **more: Any) -> dict[str, Any]:
        """The descriptor by which other manifests refer to it."""
        return described(self.media_type, self.digest, len(self.content), **more)


def _is_manifest(member: dict[str, Any]) -> bool:
    """Whether an index's member is a manifest; the members of a build cache are layers."""
    return member["mediaType"] in (INDEX, MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)


def described(media_type: str, name: str, size: int, **more: Any) -> dict[str, Any]:
    """A descriptor."""
    return {"mediaType": media_type, "digest": name, "size": size, **more}


def of(media_type: str, content: bytes, **more: Any) -> dict[str, Any]:
    """A descriptor of content in memory."""
    return described(media_type, digest(content), len(content), **more)


def configuration(architecture: str = "amd64", variant: str = "", **more: Any) -> bytes:
    """An image's configuration; `more` makes it a different one."""
    parsed = {
        "architecture": architecture,
        "os": "linux",
        **({"variant": variant} if variant else {}),
        "created": "2026-01-02T03:04:05Z",
        "config": {"Cmd": ["/app"], "Labels": {key: str(value) for key, value in more.items()}},
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [{"created": "2026-01-02T03:04:05Z", "created_by": "COPY app /app"}],
    }
    return json.dumps(parsed).encode()


def made(media_type: str, **more: Any) -> Manifest:
    """A manifest of this type."""
    parsed = {"schemaVersion": 2, "mediaType": media_type, **more}
    return Manifest(json.dumps(parsed).encode(), media_type)


def image(config: bytes, layers: Sequence[dict[str, Any]], **more: Any) -> Manifest:
    """An OCI image of these layers (descriptors)."""
    return made(MANIFEST, config=of(CONFIG, config), layers=list(layers), **more)


def layer(content: bytes) -> dict[str, Any]:
    """A layer's descriptor."""
    return of(LAYER, content)


def index(children: Sequence[dict[str, Any]], **more: Any) -> Manifest:
    """An OCI index of these manifests (descriptors)."""
    return made(INDEX, manifests=list(children), **more)


def docker_image(config: bytes, layers: Sequence[bytes]) -> Manifest:
    """An image in docker's own family."""
    return made(
        DOCKER_MANIFEST,
        config=of(DOCKER_CONFIG, config),
        layers=[of(DOCKER_LAYER, content) for content in layers],
    )


def docker_list(children: Sequence[dict[str, Any]]) -> Manifest:
    """docker's counterpart of an index."""
    return made(DOCKER_LIST, manifests=list(children))


def artifact(kind: str, content: bytes, subject: Manifest) -> Manifest:
    """An artifact that belongs to a subject: the empty configuration, one blob."""
    return made(
        MANIFEST,
        artifactType=kind,
        config=of(EMPTY, b"{}"),
        layers=[of(kind, content)],
        subject=subject.descriptor(),
    )


def platform(architecture: str, variant: str) -> dict[str, str]:
    """The platform that an index states for a child."""
    return {
        "architecture": architecture,
        "os": "linux",
        **({"variant": variant} if variant else {}),
    }


def belonging(name: str, ending: str) -> str:
    """The tag for something that belongs to a digest: `sha256-HEX` and the ending."""
    return name.replace(":", "-") + ending


def cache(layers: Sequence[bytes], config: bytes) -> Manifest:
    """BuildKit's cache as it was written by default before 0.21: an index of layers."""
    return index([*(layer(content) for content in layers), of(CACHE_CONFIG, config)])
