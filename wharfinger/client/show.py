"""`wharf show`: everything about one manifest."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from wharfinger.oci import manifests
from wharfinger.oci.digests import BELONGING_TAG
from wharfinger.oci.media_types import INDEXES, MANIFESTS

from . import kinds, names
from .api import Fetched, Registry, each
from .asked import Asked
from .errors import ClientError, Damaged, NotFound
from .listing import kind_in_words
from .output import Column, Output, print_table
from .text import clean, size

DEFAULT_TAG = "latest"


def show_reference(argument: str, raw: bool, json: bool, asked: Asked) -> None:
    """Prints what a tag or digest is."""
    wanted = names.reference(argument)

    async def work(api: Registry) -> tuple[Fetched, dict[str, Any]]:
        fetched = await fetch(api, wanted)
        return fetched, {} if raw else await describe(api, wanted, fetched)

    fetched, found = asked.run(wanted.registry, work)
    if raw:
        sys.stdout.buffer.write(fetched.data)
        sys.stdout.buffer.flush()
    elif json:
        Output().document(found)
    else:
        _print(found)


async def fetch(api: Registry, wanted: names.Reference) -> Fetched:
    """The manifest that a reference names. Where there is no tag latest, the error names some."""
    if wanted.digest or wanted.tag:
        return await api.manifest(wanted.repository, wanted.digest or wanted.tag or "")
    try:
        return await api.manifest(wanted.repository, DEFAULT_TAG)
    except NotFound:
        tags = [
            one for one in await api.tags(wanted.repository) if not BELONGING_TAG.fullmatch(one)
        ]
        some = ", ".join(tags[:8]) + (", …" if len(tags) > 8 else "")
        raise NotFound(
            f"{wanted} has no tag {DEFAULT_TAG}: "
            + (f"name one of {some}" if tags else "it has no tags at all")
        ) from None


async def describe(api: Registry, wanted: names.Reference, fetched: Fetched) -> dict[str, Any]:
    """The manifest and what belongs to it, as --json prints it. Sizes in bytes."""
    manifest, document = fetched.manifest, fetched.document
    found: dict[str, Any] = {
        "reference": str(wanted),
        "digest": fetched.digest,
        "media_type": fetched.media_type,
        "manifest_size": len(fetched.data),
        "type": kinds.of_manifest(document) or None,
        "artifact_type": manifest.artifact_type,
        "subject": manifest.subject,
        "annotations": _texts(document.get("annotations")),
    }
    if fetched.media_type in INDEXES:
        found["manifests"] = await _members(api, wanted.repository, fetched)
        sizes = [one["size"] for one in found["manifests"]]
        found["size"] = None if None in sizes else sum(sizes)
    else:
        found["size"] = total(manifest)
        found["layers"] = [
            {
                "digest": one["digest"],
                "size": one.get("size"),
                "media_type": str(one.get("mediaType", "")),
            }
            for one in _objects(document.get("layers") or document.get("blobs"))
        ]
        found["configuration"] = (
            await _configuration(api, wanted.repository, manifest) if manifest.config else {}
        )
    found["referrers"] = await _referrers(api, wanted.repository, fetched.digest)
    return found


def total(manifest: manifests.Manifest) -> int | None:
    """What an image's blobs take, each once; None where a size is not said."""
    sizes = {one.digest: one.size for one in manifest.contents if not one.elsewhere}
    known = [one for one in sizes.values() if one is not None]
    return sum(known) if len(known) == len(sizes) else None


async def _members(api: Registry, repository: str, index: Fetched) -> list[dict[str, Any]]:
    """An index's entries, each with its type and the size of what it is made of. A blob among them
    (a layer of a build cache) is as large as the index says."""
    blobs = {one.digest for one in index.manifest.blobs}

    async def one(entry: Mapping[str, Any]) -> dict[str, Any]:
        digest = str(entry["digest"])
        artifact, annotations = str(entry.get("artifactType") or ""), entry.get("annotations")
        state, complete, kind = "", entry.get("size"), kinds.of_type(artifact, annotations)
        if digest not in blobs:
            complete = None
            try:
                child = await api.manifest(repository, digest)
                complete, kind = total(child.manifest), kinds.of_manifest(child.document)
            except NotFound:
                state = "missing"
            except Damaged:
                state = "unreadable"
        return {
            "platform": platform(entry.get("platform")),
            "digest": digest,
            "media_type": str(entry.get("mediaType", "")),
            "type": kind or None,
            "artifact_type": artifact or None,
            "annotations": _texts(annotations),
            "size": complete,
            "problem": state or None,
        }

    entries = _objects(index.document.get("manifests"))
    return await each(entries, one)


async def _configuration(
    api: Registry, repository: str, manifest: manifests.Manifest
) -> dict[str, Any]:
    config = manifest.config
    # An artifact's configuration may be anything, of any size.
    if config is None or (config.size or 0) > manifests.MAX_BYTES:
        return {}
    return await api.configuration(repository, config.digest)


async def _referrers(api: Registry, repository: str, digest: str) -> list[dict[str, Any]]:
    """Manifests whose subject this is, and tags that belong to it by their name."""
    found = [
        {
            "digest": str(one["digest"]),
            "type": kinds.of_type(one.get("artifactType"), one.get("annotations")) or None,
            "artifact_type": str(one.get("artifactType", "")) or None,
            "tag": None,
            "annotations": _texts(one.get("annotations")),
        }
        for one in await api.referrers(repository, digest)
    ]
    try:
        tags = await api.tags(repository)
    except ClientError:
        tags = []  # an extra, which a registry may not give
    wanted = digest.replace(":", "-", 1)
    # The tag without an ending is the list of referrers itself, which is read already.
    found += [
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
    return found


def platform(value: object) -> str:
    """`linux/arm64/v8`, as docker writes a platform; empty where none is said."""
    if not isinstance(value, Mapping):
        return ""
    parts = [str(value.get(key) or "") for key in ("os", "architecture", "variant")]
    return clean("/".join(part for part in parts if part))


def _objects(values: object) -> list[dict[str, Any]]:
    return (
        [one for one in values if isinstance(one, dict) and "digest" in one]
        if isinstance(values, list)
        else []
    )


def _texts(value: object) -> dict[str, str]:
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, Mapping) else {}


# For people


def _print(found: Mapping[str, Any]) -> None:
    facts = [
        ("digest", found["digest"]),
        ("kind", kind_in_words(found["media_type"])),
        ("type", _type_in_words(found)),
        ("subject", found["subject"]),
        ("manifest", size(found["manifest_size"])),
        (
            "size",
            f"{size(found['size'])} (each blob once)"
            if "layers" in found
            else f"{size(found['size'])} ({_together(found)})",
        ),
        *_image_facts(found.get("configuration") or {}),
    ]
    _section(found["reference"], [(key, value) for key, value in facts if value])
    _section("annotations", list(found["annotations"].items()))
    if "manifests" in found:
        columns = [
            Column("platform", "PLATFORM"),
            Column("digest", "DIGEST"),
            Column("media_type", "KIND", kind_in_words),
            Column("type", "TYPE"),
            Column("size", "SIZE", size, right=True),
            Column("problem", ""),
        ]
        blobs = any(one["media_type"] not in MANIFESTS for one in found["manifests"])
        _titled("members" if blobs else "manifests", columns, found["manifests"])
    layers = found.get("layers", [])
    columns = [
        Column("digest", "DIGEST"),
        Column("size", "SIZE", size, right=True),
        Column("media_type", "KIND"),
    ]
    _titled("layers", columns, layers)
    columns = [
        Column("created", "CREATED"),
        Column("size", "SIZE", lambda number: "" if number is None else size(number), right=True),
        Column("created_by", "BY"),
    ]
    _titled("history, oldest first", columns, history(found.get("configuration") or {}, layers))
    columns = [
        Column("tag", "TAG"),
        Column("digest", "DIGEST"),
        Column("type", "TYPE"),
    ]
    _titled("refers to it", columns, found["referrers"])


def _type_in_words(found: Mapping[str, Any]) -> str:
    """The type, and its media type where that is another word."""
    words, exact = found["type"] or "", found["artifact_type"] or ""
    return f"{words} ({exact})" if words and exact and words != exact else words or exact


def _together(found: Mapping[str, Any]) -> str:
    """What an index's size is the sum of."""
    platforms = [one for one in found["manifests"] if one["platform"]]
    return "all platforms together" if platforms else "all members together"


def _image_facts(configuration: Mapping[str, Any]) -> list[tuple[str, str]]:
    inner = configuration.get("config")
    settings: Mapping[str, Any] = inner if isinstance(inner, Mapping) else {}

    def words(key: str) -> str:
        value = settings.get(key)
        return " ".join(map(str, value)) if isinstance(value, list) else str(value or "")

    facts = [
        ("platform", platform(configuration)),
        ("created", str(configuration.get("created") or "")),
        ("entrypoint", words("Entrypoint")),
        ("command", words("Cmd")),
        ("user", words("User")),
        ("folder", words("WorkingDir")),
        ("ports", " ".join(_texts(settings.get("ExposedPorts")))),
    ]
    environment = settings.get("Env")
    facts += [
        ("environment", str(one)) for one in environment or [] if isinstance(environment, list)
    ]
    facts += [("label", f"{key}={value}") for key, value in _texts(settings.get("Labels")).items()]
    return facts


def history(configuration: Mapping[str, Any], layers: list[Any]) -> list[dict[str, Any]]:
    """The steps that made an image, each with the size of the layer that it made, if any."""
    entries = configuration.get("history")
    steps = [one for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
    making = [one for one in steps if not one.get("empty_layer")]
    sizes = iter([one["size"] for one in layers] if len(making) == len(layers) else [])
    return [
        {
            "created": str(one.get("created") or "")[:19],
            "size": None if one.get("empty_layer") else next(sizes, None),
            "created_by": str(one.get("created_by") or one.get("comment") or ""),
        }
        for one in steps
    ]


def _section(title: str, facts: list[tuple[str, str]]) -> None:
    if not facts:
        return
    print(clean(title))
    width = max(len(key) for key, _ in facts)
    last = ""
    for key, value in facts:
        print(f"  {clean('' if key == last else key).ljust(width)}  {clean(value)}")
        last = key


def _titled(title: str, columns: list[Column], rows: list[Any]) -> None:
    if not rows:
        return
    used = [c for c in columns if any(row.get(c.key) not in (None, "") for row in rows)]
    print(f"\n{title}")
    print_table(used, rows, indent=2)
