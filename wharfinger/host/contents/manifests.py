"""What a manifest says about others: children, blobs, subject. Any bytes have an answer.

Read as distribution 3 reads them (Go's encoding/json): names of fields in any case, the last of two
equal ones counts, null is as good as absent, broken UTF-8 is replaced. Whatever is not certain is
unreadable, because what an unread manifest needs cannot be known.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from typing import Any

OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+json"
SCHEMA_1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
INDEXES = (OCI_INDEX, DOCKER_LIST)
# What an index's member may call itself that is a manifest. Any other member is a blob: BuildKit's
# cache is an index of layers.
MANIFESTS = (OCI_IMAGE, DOCKER_IMAGE, OCI_ARTIFACT, SCHEMA_1, SCHEMA_1_SIGNED, *INDEXES, "")

# Distribution reads no manifest that is larger (maxBlobGetSize).
MAX_BYTES = 4 << 20

DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")

# Layers that a client fetches from their own addresses: no registry has to have them.
_ELSEWHERE = re.compile(r"\.foreign\.|\.nondistributable\.")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest refers to. `size` in bytes, None where it is not said; `elsewhere`: a layer
    that clients may fetch from another place, so that it is no damage where it is not here;
    `media_type` as the manifest says it."""

    digest: str
    size: int | None
    elsewhere: bool = False
    media_type: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that was read. `children` are manifests, `blobs` are layers (also those of a build
    cache's index, or an artifact's blobs) without the config. `collected` is False where
    distribution 3 cannot read this kind, so that its garbage collection stops at it."""

    media_type: str
    children: tuple[Descriptor, ...] = ()
    blobs: tuple[Descriptor, ...] = ()
    config: Descriptor | None = None
    subject: str | None = None
    artifact_type: str | None = None
    collected: bool = True

    @property
    def contents(self) -> tuple[Descriptor, ...]:
        """Config and blobs."""
        return self.blobs if self.config is None else (self.config, *self.blobs)

    @property
    def members(self) -> tuple[Descriptor, ...]:
        """All that an index names, whatever it calls it."""
        return (*self.children, *self.blobs) if self.media_type in INDEXES else ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why nothing is known about a manifest, to follow after "the manifest is unreadable: "."""

    why: str


class _Wrong(Exception):
    """What is wrong with a field."""


def parse(data: bytes) -> Manifest | Unreadable:
    """The manifest in `data`; never raises."""
    if not data:
        return Unreadable("it is empty")
    if len(data) > MAX_BYTES:
        return Unreadable("it is larger than 4 MiB")
    try:
        found = json.loads(
            data.decode("utf-8", "replace"), object_pairs_hook=_fold, parse_constant=_refuse
        )
    except (ValueError, RecursionError):
        return Unreadable("it is not JSON, or cut off")
    if not isinstance(found, dict):
        return Unreadable("it is no JSON object")
    try:
        return _read(found)
    except _Wrong as problem:
        return Unreadable(str(problem))


def _fold(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's fields as Go matches them: in any case, the last one counts, null is absent."""
    return {name.casefold(): value for name, value in pairs if value is not None}


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _read(found: dict[str, Any]) -> Manifest | Unreadable:
    version = found.get("schemaversion", 0)
    if type(version) is not int:
        raise _Wrong("its schemaVersion is no number")
    media_type = _text(found, "mediatype")
    if media_type == OCI_ARTIFACT:
        return _manifest(found, media_type, blobs="blobs", collected=False)
    if version == 1:
        # What it refers to are layers only, and never other manifests.
        return Manifest(media_type or SCHEMA_1, collected=False)
    if version != 2:
        return Unreadable(f"its schemaVersion is {version}, not 2")
    if not media_type:
        media_type = OCI_INDEX if "manifests" in found else OCI_IMAGE
    if media_type in INDEXES:
        return _manifest(found, media_type, members="manifests")
    if media_type in (OCI_IMAGE, DOCKER_IMAGE):
        return _manifest(found, media_type, blobs="layers", config="config")
    return Unreadable(f"its media type {media_type[:100]!r} is unknown")


def _manifest(
    found: dict[str, Any],
    media_type: str,
    *,
    members: str = "",
    blobs: str = "",
    config: str = "",
    collected: bool = True,
) -> Manifest:
    """A manifest whose references stand in the fields of these names."""
    named = _descriptors(found, members)
    subject = _descriptor(found["subject"], "subject") if "subject" in found else None
    return Manifest(
        media_type,
        children=tuple(one for one in named if one.media_type in MANIFESTS),
        blobs=(
            *_descriptors(found, blobs),
            *(one for one in named if one.media_type not in MANIFESTS),
        ),
        config=_descriptor(found[config], config) if config and config in found else None,
        subject=None if subject is None else subject.digest,
        artifact_type=_text(found, "artifacttype") or None,
        collected=collected,
    )


def _text(found: dict[str, Any], name: str) -> str:
    value = found.get(name, "")
    if not isinstance(value, str):
        raise _Wrong(f"its {name} is no text")
    return value


def _descriptors(found: dict[str, Any], name: str) -> tuple[Descriptor, ...]:
    values = found.get(name, [])
    if not isinstance(values, list):
        raise _Wrong(f"its {name} are no list")
    return tuple(_descriptor(value, name) for value in values)


def _descriptor(value: object, name: str) -> Descriptor:
    if not isinstance(value, dict):
        raise _Wrong(f"an entry of its {name} is no object")
    digest = _text(value, "digest")
    if not DIGEST.fullmatch(digest):
        raise _Wrong(f"a digest in its {name} is none")
    size = value.get("size")
    if size is not None and type(size) is not int:
        raise _Wrong(f"a size in its {name} is no number")
    media_type = _text(value, "mediatype")
    elsewhere = bool(_ELSEWHERE.search(media_type)) or bool(value.get("urls"))
    return Descriptor(digest, size, elsewhere, sys.intern(media_type))
