"""`wharf show`: everything about a manifest."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from wharfinger.oci import manifests
from wharfinger.oci.digests import BELONGING_TAG
from wharfinger.oci.media_types import INDEXES

from .. import kinds, references
from ..api import Fetched, Registry
from ..concurrency import each
from ..errors import ClientError, Damaged, NotFound
from ..options import Connection
from ..output import Output
from ..references import DEFAULT_TAG
from .manifest_table import NOT_MIRRORED, platform, print_manifest, texts


def show_reference(argument: str, raw: bool, json: bool, connection: Connection) -> None:
    """Prints the manifest of a tag or digest."""
    wanted = references.reference(argument)

    async def work(api: Registry) -> tuple[Fetched, dict[str, Any]]:
        fetched = await fetch(api, wanted)
        return fetched, {} if raw else await describe(api, wanted, fetched)

    fetched, description = connection.run(wanted.registry, work)
    if raw:
        sys.stdout.buffer.write(fetched.data)
        sys.stdout.buffer.flush()
    elif json:
        Output().document(description)
    else:
        print_manifest(description)


async def fetch(api: Registry, wanted: references.Reference) -> Fetched:
    """The manifest that a reference names. An error for a tag names the repository's other tags."""
    tag = wanted.tag or DEFAULT_TAG
    try:
        return await api.manifest(wanted.repository, wanted.digest or tag)
    except NotFound as error:
        if wanted.digest:
            raise
        raise NotFound(f"{error}: {await _instead(api, wanted.repository)}") from None


async def _instead(api: Registry, repository: str) -> str:
    """What to write instead of a tag that does not exist. Raises NotFound without a repository."""
    tags = [tag for tag in await api.tags(repository) if not BELONGING_TAG.fullmatch(tag)]
    some = ", ".join(tags[:8]) + (", …" if len(tags) > 8 else "")
    return f"name one of {some}" if tags else "it has no tags"


async def describe(api: Registry, wanted: references.Reference, fetched: Fetched) -> dict[str, Any]:
    """The manifest and what belongs to it, in the form of --json. Sizes are in bytes."""
    manifest, document = fetched.manifest, fetched.document
    description: dict[str, Any] = {
        "reference": str(wanted),
        "digest": fetched.digest,
        "media_type": fetched.media_type,
        "manifest_size": len(fetched.data),
        "type": kinds.of_manifest(document) or None,
        "artifact_type": manifest.artifact_type,
        "subject": manifest.subject,
        "annotations": texts(document.get("annotations")),
    }
    if fetched.media_type in INDEXES:
        description["manifests"] = await _members(api, wanted.repository, fetched)
        sizes = [
            entry["size"] for entry in description["manifests"] if entry["problem"] != NOT_MIRRORED
        ]
        description["size"] = None if None in sizes else sum(sizes)
    else:
        description["size"] = total(manifest)
        description["layers"] = [
            {
                "digest": entry["digest"],
                "size": entry.get("size"),
                "media_type": str(entry.get("mediaType", "")),
            }
            for entry in _objects(document.get("layers") or document.get("blobs"))
        ]
        description["configuration"] = (
            await _configuration(api, wanted.repository, manifest) if manifest.config else {}
        )
    description["referrers"] = await _referrers(api, wanted.repository, fetched.digest)
    return description


def total(manifest: manifests.Manifest) -> int | None:
    """The size of an image's blobs, each counted once; None if a size is missing."""
    sizes = {blob.digest: blob.size for blob in manifest.contents if not blob.elsewhere}
    known = [size for size in sizes.values() if size is not None]
    return sum(known) if len(known) == len(sizes) else None


async def _members(api: Registry, repository: str, index: Fetched) -> list[dict[str, Any]]:
    """An index's entries, each with its type and the size of its blobs. The size of an entry that
    is itself a blob (a layer of a build cache) comes from the index."""
    blobs = {blob.digest for blob in index.manifest.blobs}

    async def described(entry: Mapping[str, Any]) -> dict[str, Any]:
        digest = str(entry["digest"])
        artifact, annotations = str(entry.get("artifactType") or ""), entry.get("annotations")
        state, complete, kind = "", entry.get("size"), kinds.of_type(artifact, annotations)
        if digest not in blobs:
            complete = None
            try:
                child = await api.manifest(repository, digest)
                complete, kind = total(child.manifest), kinds.of_manifest(child.document)
            except NotFound:
                # Only the operator knows whether a mirror leaves it out.
                state = NOT_MIRRORED
            except Damaged:
                state = "unreadable"
        return {
            "platform": platform(entry.get("platform")),
            "digest": digest,
            "media_type": str(entry.get("mediaType", "")),
            "type": kind or None,
            "artifact_type": artifact or None,
            "annotations": texts(annotations),
            "size": complete,
            "problem": state or None,
        }

    entries = _objects(index.document.get("manifests"))
    return await each(entries, described)


async def _configuration(
    api: Registry, repository: str, manifest: manifests.Manifest
) -> dict[str, Any]:
    config = manifest.config
    # An artifact's configuration may be anything, of any size.
    if config is None or (config.size or 0) > manifests.MAX_BYTES:
        return {}
    return await api.blobs.configuration(repository, config.digest)


async def _referrers(api: Registry, repository: str, digest: str) -> list[dict[str, Any]]:
    """The manifests that have this one as their subject, and tags that belong to it by name."""
    shown = [
        {
            "digest": str(entry["digest"]),
            "type": kinds.of_type(entry.get("artifactType"), entry.get("annotations")) or None,
            "artifact_type": str(entry.get("artifactType", "")) or None,
            "tag": None,
            "annotations": texts(entry.get("annotations")),
        }
        for entry in await api.referrers(repository, digest)
    ]
    try:
        tags = await api.tags(repository)
    except ClientError:
        tags = []  # they are optional here, and a registry may refuse them
    wanted = digest.replace(":", "-", 1)
    # The tag without an ending is the list of referrers, which is already in `shown`.
    shown += [
        {
            "digest": None,
            "type": kinds.of_tag(tag) or None,
            "artifact_type": None,
            "tag": tag,
            "annotations": {},
        }
        for tag in tags
        if tag.startswith(wanted) and tag != wanted and BELONGING_TAG.fullmatch(tag)
    ]
    return shown


def _objects(values: object) -> list[dict[str, Any]]:
    return (
        [value for value in values if isinstance(value, dict) and "digest" in value]
        if isinstance(values, list)
        else []
    )
