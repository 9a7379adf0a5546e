"""Images that no registry has: their layers are random, so that no push skips one as existing."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from support.registry import CONFIG, LAYER, MANIFEST, digest

__all__ = ["CONFIG", "LAYER", "MANIFEST", "Image", "digest"]


@dataclass(frozen=True)
class Image:
    """An image as its client made it."""

    config: bytes = field(repr=False)
    layers: tuple[bytes, ...] = field(repr=False)

    @property
    def manifest(self) -> bytes:
        """The manifest, which is pushed last."""
        return json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {
                    "mediaType": CONFIG,
                    "digest": digest(self.config),
                    "size": len(self.config),
                },
                "layers": [
                    {"mediaType": LAYER, "digest": digest(layer), "size": len(layer)}
                    for layer in self.layers
                ],
            }
        ).encode()


def made(sizes: Sequence[int]) -> Image:
    """An image with layers of these sizes, in bytes."""
    layers = tuple(os.urandom(size) for size in sizes)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
        }
    ).encode()
    return Image(config, layers)
