"""Reads a YAML file by a table of its keys, and notes every mistake with its line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from wharfinger.suggestions import nearest

# Messages go into the log and to /healthz: they show at most so many characters of the file.
LONGEST_SHOWN = 500
# libyaml recurses at each level: some ten thousand levels would crash the process.
DEEPEST = 20
# libyaml's loader, if PyYAML was built with it, is ten times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_MISSING = object()


class Problem(NamedTuple):
    """One mistake: where it is (`line` counts from 1) and what to write instead."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"{self.key}: " if self.key else ""
        return f"{self.file}:{self.line}: {where}{self.message}"


class Key(NamedTuple):
    """What the table says about one key.

    read: makes the value from the text, or raises ValueError; `bool` for true and false.
    wrong: the message for a ValueError; `{}` is the text, `{error}` the error's own message.
    make: makes the value of a mapping or list from the values in it.
    default: the value if the key is missing.
    """

    read: Callable[[str], Any] = str
    wrong: str = ""
    required: bool = False
    default: Any = None
    make: Callable[[Part], Any] | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A mapping or list that has been read: its valid `values`, and `nodes`, all children of a
    mapping, also the invalid ones."""

    values: Any
    nodes: Mapping[str, yaml.Node]
    node: yaml.Node
    path: str
    note: Callable[[yaml.Node, str, str], None]

    def problem(self, key: str, message: str) -> None:
        """Note a mistake in one child, or in the whole mapping or list ("")."""
        path = f"{self.path}.{key}" if key else self.path
        self.note(self.nodes.get(key.partition(".")[0], self.node), path, message)


class Reader:
    """Walks a file's nodes by the table, and does not stop at the first mistake.

    table: path → key. In a path, `*` stands for any key of a mapping and `[]` for an entry of a
    list; "" is the file. foreign: path → keys of docker_auth that this server does not have.
    Text below `users` may be a misplaced secret, so messages do not show it.
    """

    def __init__(
        self, file: str, table: Mapping[str, Key], foreign: Mapping[str, tuple[str, ...]]
    ) -> None:
        self.file = file
        self.table = table
        self.foreign = foreign
        self.problems: list[Problem] = []
        # Path → the line of the key.
        self.lines: dict[str, int] = {}
        self.children: dict[str, dict[str, str]] = {}
        for path in filter(None, table):
            entry = path.endswith("[]")
            parent, name = (path[:-2], "[]") if entry else path.rpartition(".")[::2]
            self.children.setdefault(parent, {})[name] = path

    def read(self, content: bytes) -> Any:
        """The value of the whole file; None if it has none."""
        try:
            root = composed(content)
        except TooDeep:
            self._note_at(1, "", "is nested too deeply")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            # Not the error's whole text: it shows a line of the file.
            self._note_at(mark.line + 1 if mark else 1, "", f"is not YAML: {error.problem}")
        except (yaml.YAMLError, UnicodeError):
            self._note_at(1, "", "is not YAML: it has characters that are not UTF-8 text")
        else:
            if root is not None:
                value = self._value("", root, "")
                return None if value is _MISSING else value
            required = [
                name for name, path in self.children[""].items() if self.table[path].required
            ]
            names = f"{', '.join(required[:-1])} and {required[-1]}"
            self._note_at(1, "", f"is empty: {names} are required")
        return None

    def _note_at(self, line: int, path: str, message: str) -> None:
        self.problems.append(Problem(self.file, line, on_a_line(path), on_a_line(message)))

    def _note(self, node: yaml.Node, path: str, message: str) -> None:
        self._note_at(node.start_mark.line + 1, path, message)

    def _value(self, pattern: str, node: yaml.Node, path: str) -> Any:
        """The value of a node; _MISSING if it is wrong, which is then noted."""
        inside, nodes = self.children.get(pattern), dict[str, yaml.Node]()
        if inside is None:
            return self._scalar(pattern, node, path)
        if "[]" in inside:
            values = self._list(inside["[]"], node, path)
        else:
            values = self._mapping(pattern, inside, node, path, nodes)
        make = self.table[pattern].make
        if values is _MISSING or make is None:
            return values
        return make(Part(values, nodes, node, path, self._note))

    def _list(self, pattern: str, node: yaml.Node, path: str) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            self._note(node, path, "must be a list ([] if it is empty)")
            return _MISSING
        values = [self._value(pattern, child, f"{path}[{i}]") for i, child in enumerate(node.value)]
        return [value for value in values if value is not _MISSING]

    def _mapping(
        self,
        pattern: str,
        inside: Mapping[str, str],
        node: yaml.Node,
        path: str,
        nodes: dict[str, yaml.Node],
    ) -> Any:
        """The values by key. Adds the nodes of known keys to `nodes`."""
        free = inside.get("*")
        if not isinstance(node, yaml.MappingNode):
            keys = f"must have keys of its own ({', '.join(inside)})"
            self._note(node, path, "must be a mapping ({} if it is empty)" if free else keys)
            return _MISSING
        values: dict[str, Any] = {}
        if not free:
            values = {name: self.table[child].default for name, child in inside.items()}
        missing = [name for name, child in inside.items() if self.table[child].required]
        for name_node, child in node.value:
            if not _is_text(name_node):
                self._note(name_node, path, "has a key that is not text")
                continue
            name = str(name_node.value)
            place = f"{path}.{name}" if path and name else f'{path}.""' if path else name
            known = inside.get(name, free)
            if known is None:
                self._unknown(pattern, inside, name_node, path, place)
            elif name in nodes:
                self._note(name_node, place, "is given twice: keep one")
            else:
                nodes[name] = child
                self.lines[place] = name_node.start_mark.line + 1
                value = self._value(known, child, place)
                if value is not _MISSING:
                    values[name] = value
                    missing = [key for key in missing if key != name]
        for name in missing:
            if name not in nodes:
                line = self.lines.get(path, node.start_mark.line + 1)
                self._note_at(line, f"{path}.{name}" if path else name, "is missing")
        return _MISSING if missing else values

    def _unknown(
        self, pattern: str, inside: Mapping[str, str], node: yaml.Node, path: str, place: str
    ) -> None:
        name = node.value
        if pattern.startswith("users."):
            # YAML reads `password:text`, without a space, as a key.
            meant = _meant(name.partition(":")[0], inside)
            self._note(node, path, f"has an unknown key (not shown, it may be a secret): {meant}")
        elif name in self.foreign.get(pattern, ()):
            message = "is a key of docker_auth only: this server does not have it; remove it"
            self._note(node, place, message)
        else:
            self._note(node, place, f"is not a key: {_meant(name, inside)}")

    def _scalar(self, pattern: str, node: yaml.Node, path: str) -> Any:
        """The value of a scalar as it is written: docker_auth also reads `yes` and `5` as text."""
        key = self.table[pattern]
        if key.read is bool:
            if node.tag == f"{_TAG}bool":
                return str(node.value).lower() in ("true", "yes", "on")
            self._note(node, path, key.wrong)
        elif not isinstance(node, yaml.ScalarNode):
            self._note(node, path, "must be text")
        elif node.tag == f"{_TAG}null":
            self._note(node, path, 'has no value: write one ("" for the empty text)')
        elif not _is_text(node):
            self._note(node, path, "must be text without a tag")
        else:
            text = str(node.value)
            try:
                return key.read(text)
            except ValueError as error:
                shown = shown_below_users(text) if pattern.startswith("users.") else f"'{text}'"
                self._note(node, path, key.wrong.format(shown, error=error))
        return _MISSING


def _is_text(node: yaml.Node) -> bool:
    foreign = node.tag in (f"{_TAG}null", f"{_TAG}binary") or not node.tag.startswith(_TAG)
    return isinstance(node, yaml.ScalarNode) and not foreign


def _meant(name: str, known: Mapping[str, str]) -> str:
    near = nearest(name, known)
    return f"did you mean {near}?" if near else f"the keys here are {', '.join(known)}"


def shown_below_users(text: str) -> str:
    """A wrong address or time, or "this" if the text may contain more than that: after a missing
    quotation mark, YAML reads everything that follows as one value, passwords included."""
    return f"'{text}'" if re.fullmatch(r"[0-9A-Fa-f.:/TZ+ -]{1,45}", text) else "this"


def on_a_line(text: str) -> str:
    """A text of the file for a message: on one line, at most LONGEST_SHOWN characters."""
    shown = text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


class TooDeep(Exception):
    """The file is nested deeper than DEEPEST."""


class _Composer(LOADER):  # type: ignore[misc, valid-type]
    depth = 0

    def descend_resolver(self, current_node: yaml.Node, current_index: Any) -> None:
        self.depth += 1
        if self.depth > DEEPEST + 1:
            raise TooDeep

    def ascend_resolver(self) -> None:
        self.depth -= 1


def composed(content: bytes) -> yaml.Node | None:
    """The file's nodes; None if it is empty.

    Raises:
        TooDeep: the file is nested too deeply.
        yaml.YAMLError: the file is not YAML.
    """
    root: yaml.Node | None = yaml.compose(content, Loader=_Composer)
    return root
