"""JSON as Go's encoding/json reads it (version 1 of that package, as of Go 1.26).

The registry is written in Go, and its own reading of a manifest decides which blobs a garbage
collection keeps. Go differs from Python's `json` in ways that matter here:

- A field's name is matched in any case, and U+017F and U+212A are matched as `s` and `k`.
- The same field twice: the second value is decoded *into* the first. A string is replaced, an
  object is merged field by field, a list is merged element by element. After a longer list, a
  shorter one, and a longer one again, even the elements that the shorter one had cut off reappear.
- `null` empties a list or pointer, and leaves a string, number or object as it is.
- Unknown fields may be anything: a number of any length, 10,000 levels of nesting.
- Bytes that are not UTF-8, and surrogates without their partner, become U+FFFD.

`scan` reads the text into a tree, `decode` a tree into a shape (`Struct`, `ListOf`, `TEXT` …).
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

MOST_LEVELS = 10_000


class NotJSON(ValueError):
    """The text is not JSON, as Go defines it."""


class Mismatch(Exception):
    """A value is not of the type that its field has. Go decodes such a document with an error."""


class Number(str):
    """A number, as it is written."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """An object: names and values, in the order of the text, duplicates included."""

    __slots__ = ()


# -- reading text ----------------------------------------------------------------------------------


def scan(data: bytes) -> Any:
    """The value in `data`: Pairs, list, str, Number, bool or None. Raises NotJSON.

    If the nesting is too deep for Python's own reader, containers more than a few levels down are
    checked but left empty: no field that is read lies there.
    """
    text = data.decode("utf-8", _REPLACE)
    if text.count("[") + text.count("{") <= MOST_LEVELS:
        try:
            return json.loads(
                text,
                object_pairs_hook=Pairs,
                parse_int=Number,
                parse_float=Number,
                parse_constant=_refuse,
            )
        except RecursionError:
            pass
        except ValueError as problem:
            raise NotJSON from problem
    return _scan_without_recursion(text)


def _replace_each_byte(problem: UnicodeError) -> tuple[str, int]:
    """U+FFFD for each single byte, as Go does; Python replaces several by one."""
    assert isinstance(problem, UnicodeDecodeError)
    return "\ufffd" * (problem.end - problem.start), problem.end


_REPLACE = "wharfinger-replace-each-byte"
codecs.register_error(_REPLACE, _replace_each_byte)


def _refuse(constant: str) -> None:
    """NaN and Infinity, which Python's reader accepts."""
    raise NotJSON(constant)


_TOKEN = re.compile(
    r"""[ \t\n\r]*(?:([\[\]{},:])|("(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")"""
    r"""|(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)|(true|false|null))"""
)
_CONSTANTS = {"true": True, "false": False, "null": None}
_LEVELS_KEPT = 12
_END = {"]": list, "}": Pairs}


def _scan_without_recursion(text: str) -> Any:
    """Like `scan`, for any depth."""
    top: list[Any] = []
    # The open containers, each with the name for its next value.
    open_: list[Any] = [top]
    names: list[str] = [""]
    # What may come next: "value", "first" (a value or the end), "name", "colon" or "more".
    wanted = "value"
    position = 0
    while not (len(open_) == 1 and wanted == "more"):
        token = _TOKEN.match(text, position)
        if token is None:
            raise NotJSON
        position = token.end()
        mark, string, number, constant = token.groups()
        inside = open_[-1]
        if mark in _END:
            if type(inside) is not _END[mark] or len(open_) == 1:
                raise NotJSON
            if wanted not in ("first", "more"):
                raise NotJSON
            open_.pop()
            names.pop()
            wanted = "more"
        elif mark == ",":
            if wanted != "more":
                raise NotJSON
            wanted = "name" if type(inside) is Pairs else "value"
        elif mark == ":":
            if wanted != "colon":
                raise NotJSON
            wanted = "value"
        elif string is not None and type(inside) is Pairs and wanted in ("first", "name"):
            names[-1] = json.loads(string)
            wanted = "colon"
        elif wanted == "value" or (wanted == "first" and type(inside) is list):
            if mark is not None:
                value: Any = Pairs() if mark == "{" else []
            elif string is not None:
                value = json.loads(string)
            else:
                value = Number(number) if number is not None else _CONSTANTS[constant]
            if len(open_) <= _LEVELS_KEPT:
                inside.append((names[-1], value) if type(inside) is Pairs else value)
            wanted = "more"
            if mark is not None:
                if len(open_) > MOST_LEVELS:
                    raise NotJSON
                open_.append(value)
                names.append("")
                wanted = "first"
        else:
            raise NotJSON
    if text[position:].strip(" \t\n\r"):
        raise NotJSON
    return top[0]


# -- decoding into shapes --------------------------------------------------------------------------


class Shape(Protocol):
    """A Go type. `zero` is the value of a field that the text does not name."""

    @property
    def zero(self) -> Any: ...

    def decode(self, before: Any, value: Any) -> Any:
        """What `before` becomes when `value` is decoded into it. Raises Mismatch."""


@dataclass(frozen=True)
class _Text:
    zero: str = ""

    def decode(self, before: Any, value: Any) -> Any:
        if value is None:
            return before
        if type(value) is not str:
            raise Mismatch("is not a string")
        return value if value.isascii() else _without_surrogates(value)


@dataclass(frozen=True)
class _Integer:
    """An int64. Its zero is None, to distinguish a missing field from one that is 0."""

    zero: None = None

    def decode(self, before: Any, value: Any) -> Any:
        if value is None:
            return before
        if type(value) is not Number or not re.fullmatch(r"-?[0-9]{1,19}", value):
            raise Mismatch("is not a whole number, or too large")
        number = int(value)
        if not -(1 << 63) <= number < 1 << 63:
            raise Mismatch("is not a whole number, or too large")
        return number


@dataclass(frozen=True)
class _Bytes:
    """Bytes in base64. They are checked and dropped."""

    zero: None = None

    def decode(self, before: Any, value: Any) -> Any:
        if type(value) is str:
            if not _BASE64.fullmatch(value.replace("\r", "").replace("\n", "")):
                raise Mismatch("is not base64")
        elif type(value) is list:
            # Go also accepts a list of bytes.
            for byte in value:
                if byte is not None and not (
                    type(byte) is Number and re.fullmatch("[0-9]{1,3}", byte) and int(byte) < 256
                ):
                    raise Mismatch("is not base64")
        elif value is not None:
            raise Mismatch("is not base64")
        return None


_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


@dataclass(frozen=True)
class MapOfTexts:
    """Annotations. They are checked and dropped."""

    zero: None = None

    def decode(self, before: Any, value: Any) -> Any:
        if value is None:
            return None
        if type(value) is not Pairs:
            raise Mismatch("is not an object")
        for _, text in value:
            TEXT.decode("", text)
        return None


class _Slice:
    """A Go slice: the first `length` elements of `kept`; the others are left from a longer list."""

    __slots__ = ("kept", "length")

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.length = 0


@dataclass(frozen=True)
class ListOf:
    """A list; None if it is missing or null."""

    of: Shape
    zero: None = None

    def decode(self, before: Any, value: Any) -> Any:
        if value is None:
            return None
        if type(value) is not list:
            raise Mismatch("is not a list")
        slice_: _Slice = before if before is not None and value else _Slice()
        for index, element in enumerate(value):
            if index == len(slice_.kept):
                slice_.kept.append(self.of.zero)
            slice_.kept[index] = self.of.decode(slice_.kept[index], element)
        slice_.length = len(value)
        return slice_


@dataclass(frozen=True)
class Struct:
    """An object with these fields, which a dictionary of the same names holds."""

    fields: Mapping[str, Shape]
    _folded: Mapping[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_folded", {fold(name): name for name in self.fields})

    @property
    def zero(self) -> dict[str, Any]:
        return {name: shape.zero for name, shape in self.fields.items()}

    def decode(self, before: Any, value: Any) -> Any:
        if value is None:
            return before
        if type(value) is not Pairs:
            raise Mismatch("is not an object")
        for written, inner in value:
            name = self._folded.get(fold(written))
            if name is not None:
                try:
                    before[name] = self.fields[name].decode(before[name], inner)
                except Mismatch as problem:
                    raise Mismatch(*_place(name, problem)) from None
        return before


@dataclass(frozen=True)
class PointerTo:
    """An object that may be missing; it is None then."""

    to: Struct
    zero: None = None

    def decode(self, before: Any, value: Any) -> Any:
        if value is None:
            return None
        return self.to.decode(self.to.zero if before is None else before, value)


TEXT = _Text()
INTEGER = _Integer()
BYTES = _Bytes()


def decode(shape: Struct, value: Any) -> dict[str, Any]:
    """The fields of `shape` as Go reads them from a tree of `scan`. Raises Mismatch: `args` are the
    field's name with those of its parents (`layers.digest`), and what is wrong with it."""
    try:
        fields: dict[str, Any] = shape.decode(shape.zero, value)
    except Mismatch as problem:
        raise Mismatch(*_place("", problem)) from None
    return fields


def elements(value: _Slice | None) -> list[Any]:
    """The elements of a decoded list."""
    return value.kept[: value.length] if value is not None else []


def _place(name: str, problem: Mismatch) -> tuple[str, str]:
    *inner, what = problem.args
    return ".".join(part for part in (name, *inner) if part), what


def fold(name: str) -> str:
    """A field's name as Go compares it, for names in ASCII."""
    return name.replace("\u017f", "s").replace("\u212a", "k").lower()


def plain(value: Any, levels: int = 200) -> Any:
    """A tree of `scan` as `json.loads` would return it, for people to read. The last of two equal
    names counts, a number that is too long for an int is a string, and a container that is nested
    too deeply is empty."""
    if isinstance(value, Pairs):
        return {name: plain(entry, levels - 1) for name, entry in value if levels}
    if isinstance(value, list):
        return [plain(entry, levels - 1) for entry in value if levels]
    if isinstance(value, Number):
        try:
            return int(value)
        except ValueError:
            return float(value) if len(value) < 400 else str(value)
    return _without_surrogates(value) if isinstance(value, str) else value


def _without_surrogates(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
