"""The configuration: docker_auth's YAML file, read strictly.

docker_auth reads loosely: a misspelt key in a match means 'everyone', and a user without a password
needs none. Such mistakes are errors here. A file that this reader accepts means the same to both
servers, except for what only this server knows: `limits`, a user's `previous_password`, `expires`
and `addresses`, and the label `secret_sha256`.

model.py has the classes, schema.py the table of all keys, and reader.py walks the file by it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from .. import acl
from ..keys import KeyProblem, load_signing_key
from .model import Configuration as Configuration
from .model import Token
from .reader import LOADER, Reader
from .reader import Problem as Problem
from .schema import KEYS, ONLY_DOCKER_AUTH, listen_address

MOST_PROBLEMS = 100


class ConfigurationError(ValueError):
    """The file cannot be used. `problems` are its mistakes, in the order of the file.

    `files` are the certificate and the key that the file names, if it could be read that far.
    """

    def __init__(self, problems: Sequence[Problem], files: Sequence[Path] = ()) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)
        self.files = tuple(files)


def content_of(path: Path) -> bytes:
    """A configuration file's content.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        problem = Problem(str(path), 1, "", f"cannot be read: {error.strerror}")
        raise ConfigurationError([problem]) from None


def load(
    text: str | bytes,
    *,
    name: str = "auth_config.yml",
    check_keys: bool = False,
    refuse_expired: bool = False,
) -> Configuration:
    """Read a configuration file's content.

    Args:
        text: the content; bytes are UTF-8.
        name: the name of the file in messages.
        check_keys: also read the certificate and the key (needs `cryptography`).
        refuse_expired: with `check_keys`, an expired certificate is an error, not a warning.

    Raises:
        ConfigurationError: with every mistake, or the first hundred. Its messages never contain
            passwords, hashes, or text that may be one.
    """
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    reader = Reader(name, KEYS, ONLY_DOCKER_AUTH)
    values = reader.read(content)
    if reader.problems:
        problems = sorted(reader.problems, key=lambda problem: problem.line)
        if len(problems) > MOST_PROBLEMS:
            more = len(problems) - MOST_PROBLEMS
            last = Problem(name, problems[MOST_PROBLEMS].line, "", f"{more} more mistakes follow")
            problems[MOST_PROBLEMS:] = [last]
        raise ConfigurationError(problems, _files(values["token"]) if values else ())
    token: Token = values["token"]
    configuration = Configuration(
        server=values["server"],
        token=token,
        users=values["users"],
        acl=acl.AccessControlList(values["acl"]),
        digest=hashlib.sha256(content).hexdigest(),
        limits=values["limits"],
    )
    if not check_keys:
        return configuration
    try:
        signing_key, warnings = load_signing_key(
            token.certificate, token.key, refuse_expired=refuse_expired
        )
    except KeyProblem as error:
        line = reader.lines.get(f"token.{error.key}", 1)
        problem = Problem(name, line, f"token.{error.key}", str(error))
        raise ConfigurationError([problem], _files(token)) from None
    return replace(configuration, signing_key=signing_key, warnings=tuple(warnings))


def _files(token: Token) -> tuple[Path, Path]:
    return token.certificate, token.key


def listens_on(content: bytes) -> tuple[str, int] | None:
    """Only `server.addr` of a file, without reading the rest of it; None if it is missing.

    A health check runs every few seconds and must not read ten thousand users.
    """
    path: list[str | None] = []
    try:
        for event in yaml.parse(content, Loader=LOADER):
            if isinstance(event, yaml.CollectionStartEvent):
                path.append(None)
            elif isinstance(event, yaml.CollectionEndEvent):
                path.pop()
                if path:
                    path[-1] = None
            elif isinstance(event, yaml.ScalarEvent | yaml.AliasEvent) and path:
                value = event.value if isinstance(event, yaml.ScalarEvent) else ""
                if path == ["server", "addr"]:
                    return listen_address(value)
                path[-1] = value if path[-1] is None else None
    except (yaml.YAMLError, UnicodeError, ValueError):
        # The server keeps its last valid configuration; this file does not say where it listens.
        return None
    return None
