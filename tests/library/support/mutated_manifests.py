"""Manifests of every kind, mutated as text: JSON that different readers understand differently.

Each manifest names blobs of its own, so what a registry marks for one is not marked for another.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wharfinger.oci.media_types import (
    DOCKER_IMAGE,
    DOCKER_LIST,
    OCI_CONFIG,
    OCI_IMAGE,
    OCI_INDEX,
    OCI_LAYER,
)

from .registry import digest

KINDS = (OCI_IMAGE, OCI_INDEX, DOCKER_IMAGE, DOCKER_LIST)


@dataclass(frozen=True)
class Mutated:
    """A manifest to push with this Content-Type, and the blobs that it may refer to."""

    kind: str
    data: bytes
    blobs: tuple[bytes, ...]


class Raw(str):
    """Text that goes into the JSON unchanged."""


class Fields(list[tuple[str, Any]]):
    """An object's fields, in order, duplicates included."""


def mutated(seed: int) -> Mutated:
    """The manifest with this number: the same each time."""
    chance = random.Random(seed)
    blobs = tuple(f"{seed} {number}".encode() for number in range(5))
    kind = chance.choice(KINDS)
    document = _document(chance, kind, blobs)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        chance.choice(_MUTATIONS)(chance, document, blobs)
    data = _text(chance, document).encode("utf-8", "surrogatepass")
    for _ in range(chance.choice((0, 0, 0, 0, 0, 0, 1))):
        data = chance.choice(_BYTES)(chance, data)
    return Mutated(kind, data, blobs)


def _document(chance: random.Random, kind: str, blobs: tuple[bytes, ...]) -> Fields:
    def descriptor(data: bytes, media_type: str) -> Fields:
        return Fields([("mediaType", media_type), ("digest", digest(data)), ("size", len(data))])

    layer = f"{OCI_LAYER}+gzip"
    fields = Fields([("schemaVersion", 2)])
    if kind in (DOCKER_IMAGE, DOCKER_LIST) or chance.random() < 0.5:
        fields.append(("mediaType", kind))
    if kind in (OCI_INDEX, DOCKER_LIST):
        members = [descriptor(blob, layer) for blob in blobs[: chance.randint(0, 4)]]
        fields.append(("manifests", members))
    else:
        fields.append(("config", descriptor(blobs[0], OCI_CONFIG)))
        fields.append(("layers", [descriptor(blob, layer) for blob in blobs[1:4]]))
    chance.shuffle(fields)
    return fields


# -- mutations of the document ---------------------------------------------------------------------


def _objects(value: Any) -> list[Fields]:
    """An object and all objects below it."""
    objects = [value] if isinstance(value, Fields) else []
    for entry in value if isinstance(value, list) else ():
        inner = entry[1] if isinstance(value, Fields) else entry
        objects += _objects(inner) if isinstance(inner, list) else []
    return objects


_NAMES = (
    *("schemaVersion", "mediaType", "manifests", "config", "layers", "annotations", "subject"),
    *("digest", "size", "urls", "data", "platform", "artifactType", "os", "architecture"),
    *("os.version", "os.features", "variant", "features", "blobs"),
)


def _somewhere(chance: random.Random, document: Fields) -> Fields:
    # The top matters most.
    return document if chance.random() < 0.4 else chance.choice(_objects(document))


def _value(chance: random.Random, blobs: tuple[bytes, ...]) -> Any:
    """Any value, at times of the right type."""
    known = digest(chance.choice(blobs))
    return chance.choice(
        (
            *(None, True, False, [], {}, "", 0, 2, -1, 5, "latest", known, known),
            *(
                ["a"],
                [None],
                [known],
                {"a": "b"},
                {"a": None},
                {"a": 5},
                [1, 2, 255],
                [256],
                "QQ==",
                "Q",
            ),
            *(Raw("2.0"), Raw("2e0"), Raw("-0"), Raw("1e999"), Raw("9" * 5000)),
            *(Raw("9223372036854775807"), Raw("9223372036854775808"), Raw("-9223372036854775808")),
            *(Raw("[" * 3000 + "]" * 3000), Raw("[" * 10_001 + "]" * 10_001)),
            *(Raw('{"a":' * 1200 + "1" + "}" * 1200), Raw("[" * 9_990 + "]" * 9_990)),
            *(OCI_IMAGE, OCI_INDEX, DOCKER_IMAGE),
            Fields([("digest", known)]),
            Fields([("digest", known), ("size", 3), ("urls", ["https://example.com/a"])]),
            [Fields([("digest", known)])],
            [Fields([("digest", digest(blob))]) for blob in blobs[:3]],
            [Fields([("size", 7)]), Fields([]), None],
            [Fields([("digest", "sha512:" + "a" * 128)])],
            [5],
        )
    )


def _add(chance: random.Random, document: Fields, blobs: tuple[bytes, ...]) -> None:
    """Adds a field, which may exist already, with any value."""
    fields = _somewhere(chance, document)
    at = chance.randint(0, len(fields))
    fields.insert(at, (chance.choice(_NAMES), _value(chance, blobs)))


def _again(chance: random.Random, document: Fields, blobs: tuple[bytes, ...]) -> None:
    """Repeats a field, the second time unchanged, shorter, empty or null."""
    fields = _somewhere(chance, document)
    if not fields:
        return
    name, value = chance.choice(fields)
    choices: list[Any] = [value, None, [], Fields([])]
    if isinstance(value, list) and value and not isinstance(value, Fields):
        choices += [value[:1], [*value, Fields([])], [Fields([]) for _ in value], [*value, *value]]
    for _ in range(chance.randint(1, 3)):
        fields.insert(chance.randint(0, len(fields)), (name, chance.choice(choices)))


def _remove(chance: random.Random, document: Fields, blobs: tuple[bytes, ...]) -> None:
    fields = _somewhere(chance, document)
    if fields:
        fields.pop(chance.randrange(len(fields)))


def _replace(chance: random.Random, document: Fields, blobs: tuple[bytes, ...]) -> None:
    fields = _somewhere(chance, document)
    if fields:
        at = chance.randrange(len(fields))
        fields[at] = (fields[at][0], _value(chance, blobs))


_LOOKALIKES = {
    "s": ("S", "\u017f"),
    "k": ("K", "\u212a"),
    "i": ("I", "\u0131", "\u0130"),
    "a": ("A", "\u00e5", "\u0430"),
    "e": ("E", "\u0435"),
}


def _rename(chance: random.Random, document: Fields, blobs: tuple[bytes, ...]) -> None:
    """Writes a name in another spelling, at times in addition to the right one."""
    fields = _somewhere(chance, document)
    if not fields:
        return
    at = chance.randrange(len(fields))
    name, value = fields[at]
    spelt = "".join(
        chance.choice(_LOOKALIKES.get(letter.lower(), (letter.upper(), letter)))
        if chance.random() < 0.5
        else letter
        for letter in name
    )
    if chance.random() < 0.3:
        spelt = name.replace("s", "\u017f").replace("k", "\u212a")
    if chance.random() < 0.5:
        fields[at] = (spelt, value)
    else:
        fields.insert(chance.randint(0, len(fields)), (spelt, chance.choice([value, None, []])))


def _unknown(chance: random.Random, document: Fields, blobs: tuple[bytes, ...]) -> None:
    """Adds a field that no reader asks for."""
    names = ("x", "subject", "artifactType", "blobs", "", "\ufffd", "manifest\u0000s", "fsLayers")
    fields = _somewhere(chance, document)
    fields.insert(chance.randint(0, len(fields)), (chance.choice(names), _value(chance, blobs)))


def _swapped(chance: random.Random, document: Fields, blobs: tuple[bytes, ...]) -> None:
    """Puts the fields of an image and of an index into one manifest, some of them null at the
    end."""
    inside = [Fields([("digest", digest(blob)), ("size", 3)]) for blob in blobs[:2]]
    if chance.random() < 0.6:
        document[:] = [field for field in document if field[0] != "mediaType"]
    for name, value in (("manifests", inside), ("layers", inside), ("config", inside[0])):
        if chance.random() < 0.6:
            wrong = _value(chance, blobs) if chance.random() < 0.5 else value
            document.append((name, wrong))
            if chance.random() < 0.9:
                document.append((name, None))


_MUTATIONS: tuple[Callable[[random.Random, Fields, tuple[bytes, ...]], None], ...] = (
    *(_add, _add, _again, _again, _again, _remove, _replace, _rename, _rename, _unknown, _unknown),
    *(_swapped, _swapped),
)


# -- the text --------------------------------------------------------------------------------------


def _text(chance: random.Random, value: Any) -> str:
    """The JSON, with spaces and escapes at random."""
    space = chance.choice(("", "", "", " ", "\t\r\n", "\n  "))
    escapes = chance.random() < 0.1

    def string(text: str) -> str:
        if escapes:
            return '"' + "".join(f"\\u{ord(character):04x}" for character in text) + '"'
        return json.dumps(text, ensure_ascii=chance.random() < 0.5)

    def write(part: Any) -> str:
        if isinstance(part, Raw):
            return str(part)
        if isinstance(part, Fields):
            inside = [f"{string(name)}{space}:{space}{write(inner)}" for name, inner in part]
            return "{" + space + f"{space},{space}".join(inside) + space + "}"
        if isinstance(part, list):
            return "[" + f",{space}".join(write(inner) for inner in part) + space + "]"
        if isinstance(part, dict):
            return write(Fields(part.items()))
        return string(part) if isinstance(part, str) else json.dumps(part)

    return space + write(value) + space


def _cut(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data))]


def _insert(chance: random.Random, data: bytes) -> bytes:
    """Inserts bytes that JSON never has, or has only in strings."""
    piece = chance.choice(
        (
            *(
                b"\xef\xbb\xbf",
                b"\xff",
                b"\xed\xa0\x80",
                b"\xf0\x9f",
                b"\x00",
                b"\x7f",
                b"\xc2\xa0",
            ),
            *(b"\\ud800", b"\\ud83d\\ude00", b"\\x41", b"//", b"NaN", b",", b"0", b" ", b"\x0c"),
        )
    )
    at = chance.choice((0, len(data), chance.randrange(len(data))))
    return data[:at] + piece + data[at:]


def _byte(chance: random.Random, data: bytes) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]


def _in_string(chance: random.Random, data: bytes) -> bytes:
    """Puts odd bytes into a string."""
    strings = [match.start() + 1 for match in re.finditer(rb'"[a-zA-Z]', data)]
    if not strings:
        return data
    at = chance.choice(strings)
    return data[:at] + chance.choice((b"\xff", b"\\ud800", b"\xe2\x84", b"\\/")) + data[at:]


_BYTES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _cut,
    _insert,
    _insert,
    _byte,
    _in_string,
)
