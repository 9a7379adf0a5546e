"""The configuration: docker_auth's YAML file, read strictly.

docker_auth reads loosely: a misspelt key in a match means 'everyone', a user without a password
needs none. Whatever it would misunderstand is an error here; whatever this reader accepts has the
same meaning for both servers, but for what only this server knows: `limits`, and a user's
`previous_password`, `expires` and `addresses`, and the label `secret_sha256`.

model.py has the classes, schema.py the table of all keys, reader.py walks the file by it.
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
    """The file cannot be used. `problems` has the mistakes that were found, in the file's order.

    `files` are the certificate and key that the file names, as far as it could be read.
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
        name: what messages call the file.
        check_keys: also read the certificate and the key (needs `cryptography`).
        refuse_expired: with `check_keys`, an expired certificate is an error, not a warning.

    Raises:
        ConfigurationError: with every mistake, or the first hundred. Passwords, hashes and what may
            be one are in no message.
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
    """Only `server.addr` of a file, without reading what comes after it; None where it has none.

    A health check every few seconds must not pay for ten thousand users.
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
        # The server kept what it has read before; this file has no address to ask it at.
        return None
    return None
