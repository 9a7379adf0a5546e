"""Pinned digests: the image that a reference must lead to (images/pinned.yml, images_pinned)."""

from __future__ import annotations

from collections.abc import Mapping

from wharfinger.oci.digests import SHA256
from wharfinger.values import kind


def problems(pins: Mapping[object, object]) -> list[str]:
    """What is wrong with the pins, one sentence per entry; no sentence repeats a value."""
    sentences = []
    for reference, digest in pins.items():
        if not isinstance(reference, str) or not reference:
            sentences.append(
                f"a key is {kind(reference)}: write an image's reference, in quotes, such as "
                '"docker.io/library/registry:3.1.2"'
            )
        elif digest != "" and not (isinstance(digest, str) and SHA256.fullmatch(digest)):
            sentences.append(
                f"{reference}: the value is not a digest: write sha256: and 64 hexadecimal digits "
                'in lower case, or "" where the image is not pinned'
            )
    return sentences
