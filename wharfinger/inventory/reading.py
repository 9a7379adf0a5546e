"""Finds mistakes in one YAML file of an inventory. No message holds a value of the file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import yaml

# libyaml's loader if PyYAML was built with it, as in Ansible: the two accept different texts.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_ANSIBLE_TAGS = frozenset({"!vault", "!vault-encrypted", "!unsafe"})
_MERGE = "tag:yaml.org,2002:merge"
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*:")
# A key that may be shown. A key with a colon may be a name and its password, `{admin:secret}`.
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_VALUE_BEGINS = r"(?:[:\[,{]|^\s*-)\s*"
_TEMPLATE = re.compile(_VALUE_BEGINS + r"\{\{")
# A bare {user}, which YAML takes for a mapping: at the beginning of a value, or anywhere in a flow.
_USER_FIRST = re.compile(_VALUE_BEGINS + r"\{user\}")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_QUOTE_USER = 'a pattern with {user} must be in quotes: write "{user}/**"'
_QUOTE_TEMPLATE = 'an expression must be in quotes: write "{{ … }}"'
_SPECIAL = (
    "a value that begins with a special character (such as @ ` % * & ! | > ? - , or a bracket) "
    "must be in quotes: write 'the value'"
)
_NO_COLON = "a colon is missing after the name: write `NAME: value`"
_VAULT = (
    "an encrypted value must be indented further than its name: write two spaces more before each "
    "of its lines"
)
_UNREADABLE = "the YAML cannot be read: compare it with the same file of inventory/example"


@dataclass(frozen=True)
class Mistake:
    """One mistake in a file. line: counted from 1; None if it concerns the whole file."""

    line: int | None
    message: str

    def within(self, file: str) -> str:
        """The sentence for the operator."""
        place = file if self.line is None else f"{file}, line {self.line}"
        return f"{place}: {self.message}"


def mistakes(content: bytes, kind: Literal["variables", "inventory"]) -> list[Mistake]:
    """Everything because of which Ansible would not read the file as it is meant.

    kind: variables (group_vars, host_vars, `-e @file`), or an inventory's groups and hosts.
    A syntax error is reported alone.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return [Mistake(line, "a character is not encoded as UTF-8: save the file as UTF-8")]
    try:
        json.loads(text)
    except ValueError:
        pass
    else:
        # Ansible reads it as JSON, too.
        return []
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        return [_explained(error, text)]
    except yaml.reader.ReaderError:
        unprintable = yaml.reader.Reader.NON_PRINTABLE.search(text)
        place = _line(text, unprintable.start()) if unprintable else None
        return [Mistake(place, "a control character is in the text: remove it")]
    except (yaml.YAMLError, RecursionError):
        return [Mistake(None, _UNREADABLE)]
    if root is None or root.tag.endswith(":null"):
        return []
    result = list(_walked(root)) or list(_shape(root, kind))
    if not result:
        try:
            yaml.load(text, Loader=_AnsibleTags)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            result.append(Mistake(mark.line + 1 if mark else None, _UNREADABLE))
        except (ValueError, RecursionError):
            result.append(Mistake(None, _UNREADABLE))
    return sorted(result, key=lambda mistake: mistake.line or 0)


class _AnsibleTags(_Loader):  # type: ignore[misc]
    """Reads values with Ansible's own tags as text."""


for _tag in _ANSIBLE_TAGS:
    _AnsibleTags.add_constructor(_tag, lambda loader, node: "")


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _at(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


# --- what can be parsed ---


def _walked(root: yaml.Node) -> Iterator[Mistake]:
    """Keys that are written twice, keys that are not names, and values that cannot be read."""
    seen: set[int] = set()
    nodes = [root]
    while nodes:
        node = nodes.pop()
        # An alias leads to a node that was checked already.
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield from _keys(node)
            nodes += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value
        yield from _tag_mistakes(node)


def _keys(node: yaml.MappingNode) -> Iterator[Mistake]:
    first: dict[Any, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            flow = isinstance(key, yaml.MappingNode) and key.flow_style
            yield Mistake(
                _at(key), _QUOTE_TEMPLATE if flow else "a key must be a name: write NAME: value"
            )
            continue
        if key.tag == _MERGE:
            continue
        if key.value.startswith("\u00a0"):
            yield Mistake(
                _at(key), "the line is indented with non-breaking spaces: write ordinary spaces"
            )
        value = _constructed(key)
        if value in first:
            name = f"{key.value} is" if _NAME.fullmatch(key.value) else "a key is"
            yield Mistake(
                _at(key),
                f"{name} written a second time, the first is in line {first[value]}: keep one of "
                "the two, or rename one",
            )
        else:
            first[value] = _at(key)


def _constructed(key: yaml.ScalarNode) -> Any:
    """The key as Ansible compares it: `yes`, `true` and 1 are equal."""
    try:
        return yaml.SafeLoader("").construct_object(key)
    except (yaml.YAMLError, ValueError):
        return key.value


def _tag_mistakes(node: yaml.Node) -> Iterator[Mistake]:
    if node.tag in _ANSIBLE_TAGS:
        return
    if node.tag not in yaml.SafeLoader.yaml_constructors:
        yield Mistake(_at(node), _SPECIAL)
    elif isinstance(node, yaml.ScalarNode):
        try:
            yaml.SafeLoader("").construct_object(node)
        except ValueError:
            date = node.tag.endswith(":timestamp")
            yield Mistake(
                _at(node),
                "a value looks like a date but is not one: correct it, or write it in quotes"
                if date
                else "a value looks like a number but is not one: write it in quotes",
            )
        except yaml.YAMLError:
            yield Mistake(_at(node), _SPECIAL)


def _shape(root: yaml.Node, kind: str) -> Iterator[Mistake]:
    if not isinstance(root, yaml.MappingNode):
        # An inventory file of this kind has no hosts; Ansible warns about it.
        if kind == "variables":
            what = "list" if isinstance(root, yaml.SequenceNode) else "text"
            yield Mistake(
                _at(root),
                f"the file is a {what} and must be names with values: "
                "write a name and a colon first, as in `registry_users:`",
            )
    elif kind == "inventory" and not any(key.value == "plugin" for key, _ in root.value):
        for key, value in root.value:
            yield from _group(key, value)


def _group(name: yaml.Node, group: yaml.Node) -> Iterator[Mistake]:
    if not isinstance(group, yaml.MappingNode):
        return
    for key, section in group.value:
        if key.value in ("hosts", "children") and isinstance(section, yaml.SequenceNode):
            yield Mistake(
                _at(section),
                f"{key.value} is a list: write each name without a dash and with a colon, "
                "as in `registry.example.com:`",
            )
        elif key.value == "hosts" and isinstance(section, yaml.MappingNode):
            for host, variables in section.value:
                if isinstance(variables, yaml.SequenceNode) or (
                    isinstance(variables, yaml.ScalarNode)
                    and not variables.tag.endswith(":null")
                    and variables.value
                ):
                    yield Mistake(
                        _at(host),
                        "a value follows the host's name: write nothing after its colon, or "
                        "variables, as in `registry.example.com: {ansible_user: operator}`",
                    )
        elif key.value == "children" and isinstance(section, yaml.MappingNode):
            for child, value in section.value:
                yield from _group(child, value)


# --- what cannot be parsed ---


def _explained(error: yaml.MarkedYAMLError, text: str) -> Mistake:
    """The mistake behind a parser's error, judged by its message, its marks and the lines there."""
    lines = text.split("\n")
    problem, context = error.problem or "", error.context or ""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Mistake(None, _UNREADABLE)
    at, column = min(mark.line, len(lines) - 1), mark.column
    begin = error.context_mark.line if error.context_mark else at
    line = lines[at]
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return Mistake(at + 1, "the line is indented with a tab: write spaces")
    if "quoted scalar" in context and "end of stream" in problem:
        return Mistake(begin + 1, "the quotation mark that opens here is never closed: close it")
    if "escape" in problem:
        return Mistake(
            at + 1, "a backslash in double quotes: write the value between single quotes"
        )
    quoted = _quoted_before(text, at, column)
    if quoted is not None and quoted < at:
        return Mistake(
            quoted + 1, "the quotation mark that opens here is not closed in its line: close it"
        )
    if _TEMPLATE.search(line):
        return Mistake(at + 1, _QUOTE_TEMPLATE)
    bare = _QUOTED.sub("", line)
    if _USER_FIRST.search(bare) or ("flow" in context and "{user}" in bare):
        return Mistake(at + 1, _QUOTE_USER)
    if "flow" in context:
        return _brackets(lines, begin, at, "mapping" in context)
    if quoted == at and line[column : column + 1] not in ("}", "]"):
        return Mistake(
            at + 1,
            "something follows a closing quotation mark: write all of the value between the "
            "marks, and a mark within it twice ('it''s')",
        )
    if "another document" in problem or "another document" in context:
        return Mistake(at + 1, "a second `---`: remove this line")
    if "simple key" in context:
        return Mistake(begin + 1, _VAULT if "$ANSIBLE_VAULT" in lines[begin] else _NO_COLON)
    if "mapping values are not allowed" in problem:
        return _stray_colon(lines, at, column)
    if "expected key" in problem or "'-' indicator" in problem or "document start" in problem:
        return _out_of_place(lines, at, column, dash="'-' indicator" in problem)
    return Mistake(at + 1, _SPECIAL)


def _quoted_before(text: str, at: int, column: int) -> int | None:
    """The first line of a quoted value that ends in line `at` just before the column; or None."""
    last = None
    try:
        for token in yaml.scan(text, Loader=_Loader):
            end = token.end_mark
            if (end.line, end.column) > (at, column):
                break
            if not isinstance(token, yaml.BlockEndToken):
                last = token
    except yaml.YAMLError:
        pass
    quoted = isinstance(last, yaml.ScalarToken) and last.style in ("'", '"')
    if last is None or not quoted or last.end_mark.line != at:
        return None
    return int(last.start_mark.line)


def _brackets(lines: list[str], begin: int, at: int, mapping: bool) -> Mistake:
    opening, closing = ("{", "}") if mapping else ("[", "]")
    if at == begin:
        return Mistake(
            begin + 1,
            f"a comma between two entries is missing, or the {closing} that closes {opening}: "
            "write it, and quotes around values with such characters",
        )
    return Mistake(
        begin + 1, f"the {opening} that opens here is not closed in its line: write {closing}"
    )


def _stray_colon(lines: list[str], at: int, column: int) -> Mistake:
    """A colon where none is allowed: in a value, or because the previous line is wrong."""
    line = lines[at]
    if re.search(r":\s", line[:column]):
        return Mistake(at + 1, "a value with a colon and a space in it must be in quotes")
    before = _before(lines, at)
    if before is None:
        return Mistake(at + 1, "there is a colon where none is allowed: write the value in quotes")
    if re.search(r"[\w\"']:\S", lines[before]) and not re.search(r":\s", lines[before]):
        return Mistake(before + 1, "a space is missing after the colon: write `NAME: value`")
    if ":" not in lines[before]:
        return Mistake(before + 1, _NO_COLON)
    return _out_of_place(lines, at, column, dash=False)


def _out_of_place(lines: list[str], at: int, column: int, dash: bool) -> Mistake:
    """A line that does not belong to any block above it."""
    line = lines[at]
    if line[column : column + 1] in ("}", "]"):
        return Mistake(at + 1, f"a {line[column]} closes what is not open: remove it")
    if re.match(r"\s*-[^\s-]", line):
        return Mistake(at + 1, "a space is missing after the dash: write `- entry`")
    before = _before(lines, at)
    owner = None if before is None else _VARIABLE.match(lines[before])
    if owner and before is not None and _indent(line) and re.search(r":\s+[^\s#]", lines[before]):
        return Mistake(
            at + 1,
            f"the line is indented as a part of {owner[1]} in line {before + 1}, whose value is "
            f"complete in its own line: {_home(lines, at)}or remove what follows the colon in "
            f"line {before + 1}",
        )
    spaces = _indent(line)
    fitting = _indents(lines, at)
    if spaces in fitting:
        return Mistake(
            at + 1,
            "the line is not an entry of the list above it: begin it with a dash, or indent it "
            "like the names within the entry"
            if dash
            else (
                "the line does not fit any line above it: compare its indentation, dashes and "
                "quotation marks with theirs"
            ),
        )
    wanted = re.sub(", ([0-9]+)$", r" or \1", ", ".join(map(str, fitting))) or "none"
    return Mistake(
        at + 1,
        f"the line is indented by {spaces} space{'' if spaces == 1 else 's'}, which fits no line "
        f"above: write {wanted}",
    )


def _home(lines: list[str], at: int) -> str:
    """Where the line may belong: to entries with the same indentation."""
    owner = None
    homes = []
    for number, line in enumerate(lines[:at]):
        top = _VARIABLE.match(line)
        if top:
            owner = (top[1], number + 1)
        elif owner and line.strip() and _indent(line) == _indent(lines[at]):
            homes.append(owner)
    if not homes:
        return "move it to the entries that it belongs to, "
    name, number = homes[-1]
    return f"move it to the entries that it belongs to (such as those of {name}, line {number}), "


def _before(lines: list[str], at: int) -> int | None:
    """The previous line that is neither empty nor a comment."""
    for number in range(at - 1, -1, -1):
        line = lines[number].strip()
        if line and not line.startswith("#") and line != "---":
            return number
    return None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _indents(lines: list[str], at: int) -> list[int]:
    """The indentations of the open blocks above a line, the outermost first."""
    open_indents: list[int] = []
    number = _before(lines, at)
    while number is not None:
        indents = [_indent(lines[number])]
        # Another block begins after a dash.
        entry = re.match(r" *- +(?=[^\s{\[].*:\s)", lines[number] + "\n")
        if entry:
            indents.insert(0, entry.end())
        for indent in indents:
            if not open_indents or indent < open_indents[-1]:
                open_indents.append(indent)
        number = _before(lines, number)
    return open_indents[::-1]
