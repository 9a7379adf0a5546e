"""How a repository, a tag or a digest is written: HOST[:PORT]/NAME[:TAG][@DIGEST], as docker does.

Follows the grammar of the OCI distribution specification 1.1 (names and tags) and docker's rule
for the host: the part before the first slash, where it has a dot or a colon or is `localhost`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from wharfinger.oci.digests import ANY_DIGEST
from wharfinger.oci.names import HOST, LONGEST_REPOSITORY, REPOSITORY, TAG

from .errors import UsageError

REGISTRY_VARIABLE = "WHARF_REGISTRY"

DOCKER_HUB = "docker.io"
DEFAULT_TAG = "latest"


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository of a registry, and perhaps a tag, a digest or both in it."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    def with_tag(self, tag: str) -> Reference:
        """The same repository with this tag and no digest."""
        return Reference(self.registry, self.repository, tag)

    def with_digest(self, digest: str) -> Reference:
        """The same repository with this digest and no tag."""
        return Reference(self.registry, self.repository, None, digest)


def registry(text: str | None) -> str:
    """HOST[:PORT] of an argument, or of WHARF_REGISTRY where there is none. Raises UsageError."""
    host = text if text is not None else os.environ.get(REGISTRY_VARIABLE, "")
    if not host:
        raise UsageError(
            "which registry? Write its HOST[:PORT] after the command, or set "
            f"{REGISTRY_VARIABLE}=HOST[:PORT]"
        )
    _refuse_scheme(host)
    if not HOST.fullmatch(host.rstrip("/")):
        raise UsageError(f"{host!r} is no registry: write HOST or HOST:PORT")
    return host.rstrip("/")


def reference(text: str) -> Reference:
    """The reference that an argument writes. Raises UsageError."""
    _refuse_scheme(text)
    rest, at, digest = text.partition("@")
    if at and not ANY_DIGEST.fullmatch(digest):
        raise UsageError(
            f"{text!r}: after the @ comes a digest, such as sha256: and 64 hexadecimal digits"
        )
    first, slash, tail = rest.partition("/")
    if slash and is_host(first):
        host, rest = registry(first), tail
    else:
        host = os.environ.get(REGISTRY_VARIABLE, "")
        if not host:
            raise UsageError(
                f"{text!r} names no registry: write HOST[:PORT]/{rest}, or set "
                f"{REGISTRY_VARIABLE}=HOST[:PORT]"
            )
        host = registry(None)
    # A colon can only be a tag's here: the host is off.
    name, colon, tag = rest.partition(":")
    if host == DOCKER_HUB and "/" not in name:
        name = f"library/{name}"
    if not name:
        raise UsageError(f"{text!r} names a registry, not a repository: write {first}/NAME")
    if len(name) > LONGEST_REPOSITORY or not REPOSITORY.fullmatch(name):
        raise UsageError(
            f"{name!r} is no repository's name: lower-case letters and digits, with . _ - between "
            "them, in segments parted by /"
        )
    if colon and not TAG.fullmatch(tag):
        raise UsageError(
            f"{tag!r} is no tag: at most 128 letters, digits, dots, hyphens and underscores, "
            "beginning with none of the dots and hyphens"
        )
    return Reference(host, name, tag or None, digest or None)


def is_host(text: str) -> bool:
    """Whether docker takes this for a registry's HOST[:PORT] and not for a part of a name."""
    return "." in text or ":" in text or text == "localhost"


def _refuse_scheme(text: str) -> None:
    scheme, separator, _ = text.partition("://")
    if separator:
        # What follows is not repeated: a pasted address may carry a password.
        raise UsageError(f"write HOST[:PORT] or HOST[:PORT]/NAME, without {scheme}:// before it")


def repository_only(text: str) -> Reference:
    """The reference of an argument that is to name a whole repository. Raises UsageError."""
    wanted = reference(text)
    if wanted.tag or wanted.digest:
        raise UsageError(
            f"{text!r} names a tag or digest: write the repository alone, "
            f"{wanted.registry}/{wanted.repository}"
        )
    return wanted
