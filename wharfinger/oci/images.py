"""An image's configuration and manifest (OCI image specification 1.1), the same bytes each time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from .digests import digest_of
from .media_types import OCI_CONFIG, OCI_IMAGE


def json_bytes(value: object) -> bytes:
    """JSON with sorted keys and without spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def platform(architecture: str) -> dict[str, object]:
    """The platform of a Linux image for amd64 or arm64."""
    variant: dict[str, object] = {"variant": "v8"} if architecture == "arm64" else {}
    return {"architecture": architecture, "os": "linux", **variant}


def descriptor(media_type: str, content: bytes) -> dict[str, object]:
    """What names `content` in a manifest."""
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def configuration(
    architecture: str, settings: Mapping[str, object], layers: Sequence[str], created: str
) -> bytes:
    """An image's configuration.

    settings: its `config` object. layers: the digests of the layers before compression. created:
    a time such as 1970-01-01T00:00:00Z.
    """
    return json_bytes(
        {
            **platform(architecture),
            "created": created,
            "config": dict(settings),
            "rootfs": {"type": "layers", "diff_ids": list(layers)},
            "history": [{"created": created} for _ in layers],
        }
    )


def manifest(configuration: bytes, layers: Sequence[Mapping[str, object]]) -> bytes:
    """An image's manifest. layers: their descriptors."""
    return json_bytes(
        {
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE,
            "config": descriptor(OCI_CONFIG, configuration),
            "layers": list(layers),
        }
    )
