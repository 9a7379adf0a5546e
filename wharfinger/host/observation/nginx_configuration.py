"""Reads nginx's configuration from the output of `nginx -T`: which server answers where (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_FILE = re.compile(r"^# configuration file (.+):$", re.MULTILINE)
# comment | quoted | punctuation | word (a variable's braces, as in ${name}, belong to the word)
_TOKEN = re.compile(
    r"""\#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{};]|(?:\$\{[^}]*\}|\\.|[^\s{};])+""",
    re.DOTALL,
)


@dataclass
class Server:
    """A server block. `listen`: each directive's arguments as written."""

    file: str
    listen: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


def built(said: str) -> dict[str, str | None]:
    """`version`, and `settings` (the file that this nginx reads), from the output of `nginx -V`;
    None if it has no version."""
    version = re.search(r"nginx version: \S+?/(\S+)", said)
    if version is None:
        return {"version": None, "settings": None}
    named = re.search(r"--conf-path=(\S+)", said)
    prefix = re.search(r"--prefix=(\S+)", said)
    usual = f"{prefix[1] if prefix else '/usr/local/nginx'}/conf/nginx.conf"
    return {"version": version[1], "settings": named[1] if named else usual}


def files(dump: str) -> Iterator[tuple[str, str]]:
    """Splits the dump into (file name, text)."""
    marks = list(_FILE.finditer(dump))
    for at, mark in enumerate(marks):
        end = marks[at + 1].start() if at + 1 < len(marks) else len(dump)
        yield mark.group(1), dump[mark.end() : end]


def directives(text: str) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """All directives with the names of the blocks around them: (("http", "server"), ["listen", …]).

    The start of a block is returned too, as its words followed by "{".
    """
    around: list[str] = []
    words: list[str] = []
    for token in _TOKEN.findall(text):
        if token.startswith("#"):
            continue
        if token == ";":
            if words:
                yield tuple(around), words
            words = []
        elif token == "{":
            yield tuple(around), [*words, "{"]
            around.append(words[0] if words else "")
            words = []
        elif token == "}":
            if around:
                around.pop()
            words = []
        else:
            words.append(token[1:-1] if token[0] in "\"'" and len(token) > 1 else token)


def servers(dump: str) -> list[Server]:
    """The server blocks in the order of the dump. A block without `listen` listens on 80."""
    servers: list[Server] = []
    for file, text in files(dump):
        for around, words in directives(text):
            if words == ["server", "{"] and "upstream" not in around:
                servers.append(Server(file))
            elif around and around[-1] == "server" and servers:
                if words[0] == "listen":
                    servers[-1].listen.append(" ".join(words[1:]))
                elif words[0] == "server_name":
                    servers[-1].names.extend(words[1:])
    for server in servers:
        server.listen = server.listen or ["80"]
    return servers


def user(dump: str) -> tuple[str, str | None] | None:
    """The `user` directive: the user, and the group if there is one."""
    for _file, text in files(dump):
        for around, words in directives(text):
            if not around and words[0] == "user" and len(words) > 1:
                return words[1], (words[2] if len(words) > 2 else None)
    return None


def loads(dump: str, module: str) -> bool:
    """Whether a dynamic module is loaded (`load_module`), by the name of its file."""
    return any(
        not around and words[0] == "load_module" and words[-1].rpartition("/")[2] == module
        for _file, text in files(dump)
        for around, words in directives(text)
    )
