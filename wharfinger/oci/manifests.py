"""What a manifest refers to: children, blobs, subject. Any bytes have an answer.

A stored manifest is read exactly as the registry (distribution 3.1) reads it to serve it and to
collect garbage: with the same kinds, fields and types of fields. Only the content decides; the
Content-Type of the push is no longer known. Fields that the registry does not read (`subject`,
`artifactType`) count if they are well formed and are ignored otherwise, because the registry
accepts anything there.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from .digests import DIGEST
from .go_json import (
    BYTES,
    INTEGER,
    TEXT,
    ListOf,
    MapOfTexts,
    Mismatch,
    NotJSON,
    PointerTo,
    Shape,
    Struct,
    decode,
    elements,
    plain,
    scan,
)
from .media_types import (
    DOCKER_IMAGE,
    DOCKER_LIST,
    INDEXES,
    MANIFESTS,
    OCI_ARTIFACT,
    OCI_IMAGE,
    OCI_INDEX,
    SCHEMA_1,
    is_elsewhere,
)

# The registry does not read larger manifests (maxBlobGetSize).
MAX_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference of a manifest. `size`: in bytes; None if it is missing. `elsewhere`: a layer that
    clients may fetch from another server, so that it may be missing here. `media_type`: as the
    manifest names it."""

    digest: str
    size: int | None
    elsewhere: bool = False
    media_type: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that was read. `children` are manifests. `blobs` are layers (also those of a build
    cache's index, or an artifact's blobs) without the config. `collected` is False for a kind that
    distribution 3 cannot read: its garbage collection then stops there."""

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
    def references(self) -> tuple[Descriptor, ...]:
        """Everything that the registry keeps for this manifest."""
        return (*self.children, *self.contents)

    @property
    def members(self) -> tuple[Descriptor, ...]:
        """Everything that an index names, of whatever media type."""
        return (*self.children, *self.blobs) if self.media_type in INDEXES else ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a manifest cannot be read; `why` continues "the manifest is unreadable: ". `damaged`: its
    bytes are missing or are not those that were pushed. Otherwise the bytes are intact, and the
    registry cannot read them."""

    why: str
    damaged: bool = False


# The types of fields, as in distribution's and the image specification's Go source.
_PLATFORM: dict[str, Shape] = {
    "architecture": TEXT,
    "os": TEXT,
    "os.version": TEXT,
    "os.features": ListOf(TEXT),
    "variant": TEXT,
}
_DESCRIPTOR: dict[str, Shape] = {
    "mediaType": TEXT,
    "digest": TEXT,
    "size": INTEGER,
    "urls": ListOf(TEXT),
    "annotations": MapOfTexts(),
    "data": BYTES,
    "platform": PointerTo(Struct(_PLATFORM)),
    "artifactType": TEXT,
}
_LIST_MEMBER: dict[str, Shape] = {
    **_DESCRIPTOR,
    "platform": Struct({**_PLATFORM, "features": ListOf(TEXT)}),
}
_VERSIONED: dict[str, Shape] = {"schemaVersion": INTEGER, "mediaType": TEXT}
_IMAGE: dict[str, Shape] = {
    **_VERSIONED,
    "config": Struct(_DESCRIPTOR),
    "layers": ListOf(Struct(_DESCRIPTOR)),
}
_SHAPES = {
    DOCKER_IMAGE: Struct(_IMAGE),
    OCI_IMAGE: Struct({**_IMAGE, "annotations": MapOfTexts()}),
    DOCKER_LIST: Struct({**_VERSIONED, "manifests": ListOf(Struct(_LIST_MEMBER))}),
    OCI_INDEX: Struct(
        {
            **_VERSIONED,
            "manifests": ListOf(Struct(_DESCRIPTOR)),
            "annotations": MapOfTexts(),
        }
    ),
    # Distribution 3 does not know it; older registries and other products do.
    OCI_ARTIFACT: Struct({**_VERSIONED, "blobs": ListOf(Struct(_DESCRIPTOR))}),
}
_SUBJECT = Struct({"subject": PointerTo(Struct({"digest": TEXT}))})
_ARTIFACT_TYPE = Struct({"artifactType": TEXT})


def parse(data: bytes) -> Manifest | Unreadable:
    """The manifest in `data`; never raises."""
    if not data:
        return Unreadable("it is empty")
    if len(data) > MAX_BYTES:
        return Unreadable("it is larger than 4 MiB")
    try:
        tree = scan(data)
    except NotJSON:
        return Unreadable("it is not JSON, or cut off")
    try:
        return _read(tree)
    except Mismatch as problem:
        name, what = problem.args
        return Unreadable(f"its field {name} {what}" if name else "it is not a JSON object")


def document(data: bytes) -> dict[str, Any]:
    """The manifest's JSON object, for people to read; {} if it is not one."""
    try:
        tree = plain(scan(data))
    except NotJSON:
        return {}
    return tree if isinstance(tree, dict) else {}


def _read(tree: Any) -> Manifest | Unreadable:
    versioned = decode(Struct(_VERSIONED), tree)
    version, media_type = versioned["schemaVersion"] or 0, versioned["mediaType"]
    if media_type == OCI_ARTIFACT:
        return _manifest(tree, media_type, decode(_SHAPES[media_type], tree), collected=False)
    if version == 1:
        # It refers to layers only, never to other manifests.
        return Manifest(media_type or SCHEMA_1, collected=False)
    if version != 2:
        return Unreadable(f"its schemaVersion is {version}, not 2")
    if not media_type:
        # Distribution panics if the field has another type than in an index.
        index = decode(_SHAPES[OCI_INDEX], tree)
        media_type = OCI_INDEX if index["manifests"] is not None else OCI_IMAGE
    shape = _SHAPES.get(media_type)
    if shape is None:
        return Unreadable(f"its media type {media_type[:100]!r} is unknown")
    return _manifest(tree, media_type, decode(shape, tree))


def _manifest(
    tree: Any, media_type: str, fields: dict[str, Any], *, collected: bool = True
) -> Manifest:
    """A manifest with these fields."""
    members = _descriptors(fields.get("manifests"))
    blobs = [*_descriptors(fields.get("layers")), *_descriptors(fields.get("blobs"))]
    config = _descriptor(fields["config"]) if "config" in fields else None
    return Manifest(
        media_type,
        children=tuple(member for member in members if member.media_type in MANIFESTS),
        blobs=(*blobs, *(member for member in members if member.media_type not in MANIFESTS)),
        config=config,
        subject=_subject(tree),
        artifact_type=_artifact_type(tree),
        collected=collected,
    )


def _subject(tree: Any) -> str | None:
    """The digest of the subject; None if it has none, or one that is malformed."""
    try:
        subject = decode(_SUBJECT, tree)["subject"]
    except Mismatch:
        return None
    if subject is None or not DIGEST.fullmatch(subject["digest"]):
        return None
    return str(subject["digest"])


def _artifact_type(tree: Any) -> str | None:
    try:
        return decode(_ARTIFACT_TYPE, tree)["artifactType"] or None
    except Mismatch:
        return None


def _descriptors(values: Any) -> list[Descriptor]:
    descriptors = [_descriptor(descriptor) for descriptor in elements(values)]
    return [descriptor for descriptor in descriptors if descriptor is not None]


def _descriptor(fields: dict[str, Any]) -> Descriptor | None:
    """The descriptor; None without a valid digest. The registry accepts no reference without one,
    but an image that was pushed as an index may have such a config."""
    digest = fields["digest"]
    if not DIGEST.fullmatch(digest):
        return None
    media_type = fields["mediaType"]
    elsewhere = is_elsewhere(media_type) or bool(elements(fields["urls"]))
    return Descriptor(digest, fields["size"], elsewhere, sys.intern(media_type))
