"""Digests: their grammar, and how to compute one."""

from __future__ import annotations

import hashlib
import re
from io import BufferedReader

# The algorithms that the registry supports, and their number of hexadecimal digits.
ALGORITHMS = {"sha256": 64, "sha384": 96, "sha512": 128}
DIGEST = re.compile("|".join(f"{name}:[0-9a-f]{{{size}}}" for name, size in ALGORITHMS.items()))
SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
# The grammar of the image specification, which also allows algorithms that do not exist yet.
ANY_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-zA-Z=_-]{32,}")

# The tag `sha256-HEX`, which lists a manifest's referrers if the registry has no API for them, and
# cosign's `sha256-HEX.sig`, `.att` and `.sbom`.
BELONGING_TAG = re.compile(r"sha256-([0-9a-f]{64})(\.[A-Za-z0-9._-]+)?")


def subject_of(tag: str) -> str | None:
    """The digest in the name of a tag that belongs to a manifest; None for any other tag."""
    match = BELONGING_TAG.fullmatch(tag)
    return f"sha256:{match[1]}" if match else None


# Longer digests are cut to 64 digits.
LIST_TAG = re.compile(r"(?:sha256|sha384|sha512)-[0-9a-f]{64}")


def list_tag(subject: str) -> str:
    """The tag of the list of a digest's referrers (the specification's "Referrers Tag Schema")."""
    algorithm, _, value = subject.partition(":")
    return f"{algorithm}-{value[:64]}"


def is_list_tag(tag: str, digest: str) -> bool:
    """Whether a tag that leads to this digest has the name of a list of referrers.

    A tag named after this very digest is not a list: some tools keep images under such tags.
    """
    return LIST_TAG.fullmatch(tag) is not None and tag != list_tag(digest)


def digest_of(data: bytes, like: str = "") -> str:
    """The digest of bytes, by the algorithm of the digest `like`; sha256 if that is unknown."""
    algorithm = like.partition(":")[0]
    if algorithm not in ALGORITHMS:
        algorithm = "sha256"
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def has_digest(stream: BufferedReader, digest: str) -> bool:
    """Whether a file, open to be read from its beginning, has this digest."""
    algorithm, _, value = digest.partition(":")
    return hashlib.file_digest(stream, algorithm).hexdigest() == value
