"""How a repository, a tag or a digest is written: HOST[:PORT]/NAME[:TAG][@DIGEST], as docker does.

Follows the grammar of the OCI distribution specification 1.1 (names and tags) and docker's rule
for the host: the part before the first slash, if it has a dot or a colon or is `localhost`.
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
    """HOST[:PORT] from an argument, or without one from WHARF_REGISTRY. Raises UsageError."""
    host = text if text is not None else os.environ.get(REGISTRY_VARIABLE, "")
    if not host:
        raise UsageError(
            "which registry? Write its HOST[:PORT] after the command, or set "
            f"{REGISTRY_VARIABLE}=HOST[:PORT]"
        )
    _refuse_scheme(host)
    if not HOST.fullmatch(host.rstrip("/")):
        raise UsageError(f"{host!r} is not a registry: write HOST or HOST:PORT")
    return host.rstrip("/")


def reference(text: str) -> Reference:
    """The reference in an argument. Raises UsageError."""
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
    # The host with its port is already removed: a colon can only begin a tag.
    name, colon, tag = rest.partition(":")
    if host == DOCKER_HUB and "/" not in name:
        name = f"library/{name}"
    if not name:
        raise UsageError(f"{text!r} names a registry, not a repository: write {first}/NAME")
    if len(name) > LONGEST_REPOSITORY or not REPOSITORY.fullmatch(name):
        raise UsageError(
            f"{name!r} is not the name of a repository: lower-case letters and digits, with . _ - "
            "between them, in segments separated by /"
        )
    if colon and not TAG.fullmatch(tag):
        raise UsageError(
            f"{tag!r} is not a tag: at most 128 letters, digits, dots, hyphens and underscores, "
            "not beginning with a dot or hyphen"
        )
    return Reference(host, name, tag or None, digest or None)


def is_host(text: str) -> bool:
    """Whether docker reads this as a registry's HOST[:PORT] and not as part of a name."""
    return "." in text or ":" in text or text == "localhost"


def _refuse_scheme(text: str) -> None:
    scheme, separator, _ = text.partition("://")
    if separator:
        # The message leaves out the rest: a pasted address may contain a password.
        raise UsageError(f"write HOST[:PORT] or HOST[:PORT]/NAME, without {scheme}:// before it")


def repository_only(text: str) -> Reference:
    """The reference in an argument that must name a whole repository. Raises UsageError."""
    wanted = reference(text)
    if wanted.tag or wanted.digest:
        raise UsageError(
            f"{text!r} names a tag or digest: write the repository alone, "
            f"{wanted.registry}/{wanted.repository}"
        )
    return wanted
