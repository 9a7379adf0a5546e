"""The output of `wharf show` for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wharfinger.oci.media_types import MANIFESTS

from .. import kinds
from ..output import Column, print_table
from ..text import clean, size

# A member that an index names and its repository does not have.
NOT_MIRRORED = "not mirrored"


def print_manifest(shown: Mapping[str, Any]) -> None:
    """Prints the result of describe()."""
    facts = [
        ("digest", shown["digest"]),
        ("kind", kinds.of_media_type(shown["media_type"])),
        ("type", _type_in_words(shown)),
        ("subject", shown["subject"]),
        ("manifest", size(shown["manifest_size"])),
        (
            "size",
            f"{size(shown['size'])} (each blob once)"
            if "layers" in shown
            else f"{size(shown['size'])} ({_together(shown)})",
        ),
        *_image_facts(shown.get("configuration") or {}),
    ]
    _section(shown["reference"], [(key, value) for key, value in facts if value])
    _section("annotations", list(shown["annotations"].items()))
    if "manifests" in shown:
        columns = [
            Column("platform", "PLATFORM"),
            Column("digest", "DIGEST"),
            Column("media_type", "KIND", kinds.of_media_type),
            Column("type", "TYPE"),
            Column("size", "SIZE", size, right=True),
            Column("problem", ""),
        ]
        blobs = any(member["media_type"] not in MANIFESTS for member in shown["manifests"])
        _titled("members" if blobs else "manifests", columns, shown["manifests"])
    layers = shown.get("layers", [])
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
    _titled("history, oldest first", columns, history(shown.get("configuration") or {}, layers))
    columns = [
        Column("tag", "TAG"),
        Column("digest", "DIGEST"),
        Column("type", "TYPE"),
    ]
    _titled("refers to it", columns, shown["referrers"])


def _type_in_words(shown: Mapping[str, Any]) -> str:
    """The type, and its media type if that differs."""
    words, exact = shown["type"] or "", shown["artifact_type"] or ""
    return f"{words} ({exact})" if words and exact and words != exact else words or exact


def _together(shown: Mapping[str, Any]) -> str:
    """What an index's size adds up, in words."""
    members = shown["manifests"]
    what = "platforms" if any(member["platform"] for member in members) else "members"
    absent = sum(member["problem"] == NOT_MIRRORED for member in members)
    if absent:
        return f"{len(members) - absent} of {len(members)} {what}; the others are not mirrored"
    return f"all {what} together"


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
        ("ports", " ".join(texts(settings.get("ExposedPorts")))),
    ]
    environment = settings.get("Env")
    facts += [
        ("environment", str(variable))
        for variable in environment or []
        if isinstance(environment, list)
    ]
    facts += [("label", f"{key}={value}") for key, value in texts(settings.get("Labels")).items()]
    return facts


def history(configuration: Mapping[str, Any], layers: list[Any]) -> list[dict[str, Any]]:
    """The steps that made an image, each with the size of its layer, if it has one."""
    entries = configuration.get("history")
    steps = (
        [step for step in entries if isinstance(step, dict)] if isinstance(entries, list) else []
    )
    making = [step for step in steps if not step.get("empty_layer")]
    sizes = iter([layer["size"] for layer in layers] if len(making) == len(layers) else [])
    return [
        {
            "created": str(step.get("created") or "")[:19],
            "size": None if step.get("empty_layer") else next(sizes, None),
            "created_by": str(step.get("created_by") or step.get("comment") or ""),
        }
        for step in steps
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


def platform(value: object) -> str:
    """`linux/arm64/v8`, as docker writes a platform; empty if it is not stated."""
    if not isinstance(value, Mapping):
        return ""
    parts = [str(value.get(key) or "") for key in ("os", "architecture", "variant")]
    return clean("/".join(part for part in parts if part))


def texts(value: object) -> dict[str, str]:
    """A JSON object's entries as texts; empty for anything else."""
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, Mapping) else {}
