"""registry_mirrors: finds all mistakes in it at once, and reads its entries.

No message repeats a password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from wharfinger.deployment.fixed import VERIFICATION_ACCOUNT
from wharfinger.deployment.problems import Problem, Report
from wharfinger.deployment.tag_selection import Selection
from wharfinger.oci.names import HOST, LONGEST_REPOSITORY, REPOSITORY
from wharfinger.values import kind
from wharfinger.wording import known_fields, quoted, texts

MIRRORS = "registry_mirrors"
_KEYS = (
    *("from", "to", "tags", "platforms"),
    *("username", "password", "token_host", "ca", "plain_http"),
)
# A wrong name that is often used → the right one.
_USUAL_KEYS = {
    **dict.fromkeys(("source", "upstream", "image", "repository", "remote", "registry"), "from"),
    **dict.fromkeys(("target", "destination", "dest", "name", "local"), "to"),
    **dict.fromkeys(("tag", "versions", "version", "only"), "tags"),
    **dict.fromkeys(("platform", "arch", "architecture", "architectures"), "platforms"),
    **dict.fromkeys(("user", "login"), "username"),
    **dict.fromkeys(("pass", "secret", "token"), "password"),
    **dict.fromkeys(("realm", "auth", "token_server"), "token_host"),
    **dict.fromkeys(("cacert", "ca_file", "certificate"), "ca"),
    **dict.fromkeys(("insecure", "http"), "plain_http"),
}
_EXAMPLE = '`{from: docker.io/library/debian, tags: "13", to: base/debian}`'
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9.]+)?")
_DOCKER_HUB = "docker.io"


@dataclass(frozen=True, slots=True)
class Mirror:
    """One entry. number: its place in registry_mirrors, from 1. upstream and source: the registry
    and the repository in `from`. platforms: all, if it is empty."""

    number: int
    upstream: str
    source: str
    to: str
    tags: tuple[str, ...]
    platforms: tuple[str, ...] = ()
    username: str = ""
    password: str = field(default="", repr=False)
    token_host: str = ""
    ca: str = ""
    plain_http: bool = False

    @property
    def origin(self) -> str:
        """`from`, as mirror.lock has it."""
        return f"{self.upstream}/{self.source}"

    @property
    def place(self) -> str:
        """Where it is, for a message."""
        return f"mirror {self.number} ({self.origin})"

    @property
    def names(self) -> tuple[str, ...]:
        """The tags that are given by their names."""
        return tuple(tag for tag in self.tags if Selection(tag).is_name)

    def selects(self, tag: str) -> bool:
        """Whether one of `tags` selects the tag."""
        return any(Selection(text).matches(tag) for text in self.tags)

    def settings(self) -> dict[str, object]:
        """The entry as the host reads it."""
        return {
            "from": self.origin,
            "upstream": self.upstream,
            "source": self.source,
            "to": self.to,
            "tags": list(self.tags),
            "platforms": list(self.platforms),
            "username": self.username,
            "password": self.password,
            "token_host": self.token_host,
            "ca": self.ca,
            "plain_http": self.plain_http,
        }


def examine(value: object) -> tuple[list[Mirror], Report]:
    """The entries, and all mistakes. The entries are complete only if there are none.

    value: anything that YAML can say. Never raises.
    """
    if not isinstance(value, list | tuple):
        wrong = f"is {kind(value)}: write a list, as in `- {_EXAMPLE[1:]}, or [] for no mirrors"
        return [], Report([Problem(MIRRORS, "", wrong)])
    errors: list[Problem] = []
    mirrors: list[Mirror] = []
    for number, entry in enumerate(value, 1):
        mirror, wrongs = _mirror(number, entry)
        errors += [Problem(MIRRORS, f"mirror {number}", wrong) for wrong in wrongs]
        if mirror is not None and not wrongs:
            mirrors.append(mirror)
    return mirrors, Report(errors + _twice(mirrors))


def _mirror(number: int, entry: object) -> tuple[Mirror | None, list[str]]:
    if not isinstance(entry, Mapping):
        return None, [f"is {kind(entry)}: write a mapping, as in {_EXAMPLE}"]
    fields, wrong = known_fields(entry, _KEYS, _USUAL_KEYS)
    if wrong:
        return None, wrong
    upstream, source = _origin(fields.get("from"), wrong)
    mirror = Mirror(
        number,
        upstream,
        source,
        _to(fields.get("to"), wrong),
        _tags(fields.get("tags"), wrong),
        _platforms(fields.get("platforms"), wrong),
        _text("username", fields, "robot", wrong),
        _text("password", fields, '"{{ vault_upstream_password }}"', wrong),
        _host(fields, wrong),
        _certificates(fields, wrong),
        _plain_http(fields, wrong),
    )
    # Each is compared as it is written: one of the wrong type has a message already.
    if bool(fields.get("username")) != bool(fields.get("password")):
        missing = "password" if fields.get("username") else "username"
        wrong.append(
            f"{missing} is missing: a login needs username and password; write both or none"
        )
    if mirror.plain_http and mirror.username:
        wrong.append(
            "plain_http would send the password unencrypted: remove plain_http, or username and "
            "password"
        )
    return mirror, wrong


def _origin(value: object, wrong: list[str]) -> tuple[str, str]:
    if not isinstance(value, str) or not value.strip():
        said = "is missing" if value is None else f"is {quoted(value)}"
        wrong.append(f"from {said}: write REGISTRY/REPOSITORY, as in docker.io/library/debian")
        return "", ""
    text = value
    if "@" in text.partition("://")[2].partition("/")[0] or "@" in text.partition("/")[0]:
        # Not repeated: there may be a password in it.
        wrong.append("from has a login before the registry: write it as username and password")
        return "", ""
    if "://" in text:
        wrong.append(f"from: {quoted(text)} is an address: write {text.partition('://')[2]}")
        return "", ""
    host, slash, repository = text.partition("/")
    is_host = bool(slash) and ("." in host or ":" in host or host == "localhost")
    if not is_host:
        hub = f"{_DOCKER_HUB}/{text if slash else f'library/{text}'}"
        wrong.append(f"from: {quoted(text)} names no registry: write {hub} if Docker Hub is meant")
        return "", ""
    last = repository.rpartition("/")[2]
    if "@" in repository or ":" in last:
        bare = re.split("[@:]", repository)[0]
        wrong.append(
            f"from: {quoted(text)} has a tag or digest: write {host}/{bare}, and the tag in tags"
        )
        return "", ""
    if host in (_DOCKER_HUB, "registry-1.docker.io", "index.docker.io", "hub.docker.com"):
        fitting = repository if "/" in repository else f"library/{repository}"
        if (host, repository) != (_DOCKER_HUB, fitting):
            wrong.append(f"from: {quoted(text)}: write {_DOCKER_HUB}/{fitting}")
            return "", ""
    if not HOST.fullmatch(host) or not REPOSITORY.fullmatch(repository):
        wrong.append(
            f"from: {quoted(text)} is not the name of a repository: write REGISTRY/REPOSITORY in "
            "small letters, as in docker.io/library/debian"
        )
        return "", ""
    return host, repository


def _to(value: object, wrong: list[str]) -> str:
    if not isinstance(value, str) or not value:
        said = "is missing" if value is None else f"is {quoted(value)}"
        wrong.append(f"to {said}: write the repository here, as in to: base/debian")
        return ""
    if not REPOSITORY.fullmatch(value) or len(value) > LONGEST_REPOSITORY:
        wrong.append(
            f"to: {quoted(value)} is not the name of a repository: write small letters, digits and "
            "single separators, without a registry, tag or pattern, as in to: base/debian"
        )
        return ""
    if value.partition("/")[0] == VERIFICATION_ACCOUNT:
        wrong.append(
            f"to: {quoted(value)} is reserved for the deployment's own verification: choose "
            "another name"
        )
        return ""
    return value


def _tags(value: object, wrong: list[str]) -> tuple[str, ...]:
    if value is None:
        wrong.append('tags is missing: write, for example, tags: "13"')
        return ()
    words, mistakes = texts("tags", value, '"13"', no_text=_no_tag)
    wrong += mistakes
    for word in words:
        try:
            Selection(word)
        except ValueError as instead:
            wrong.append(f"tags: {quoted(word)} selects no tag: {instead}")
    return words


def _no_tag(value: object) -> str | None:
    if isinstance(value, bool | int | float):
        return f'tags has {kind(value)} to YAML: write the tag in quotation marks, as in tags: "13"'
    return None


def _platforms(value: object, wrong: list[str]) -> tuple[str, ...]:
    if value is None:
        return ()
    words, mistakes = texts("platforms", value, "linux/amd64")
    wrong += mistakes
    for word in words:
        if not _PLATFORM.fullmatch(word):
            guess = f"linux/{word}" if re.fullmatch("[a-z0-9]+", word) else "linux/amd64"
            wrong.append(
                f"platforms: {quoted(word)} is not a platform: write OS/ARCHITECTURE, as in {guess}"
            )
    return words


def _text(key: str, fields: Mapping[str, object], example: str, wrong: list[str]) -> str:
    value = fields.get(key, "")
    if isinstance(value, str):
        return str(value)
    # A password may be a number to YAML; the message does not repeat it.
    wrong.append(f"{key} is {kind(value)} to YAML: write it in quotation marks, as in {example}")
    return ""


def _host(fields: Mapping[str, object], wrong: list[str]) -> str:
    host = _text("token_host", fields, '"auth.example.com"', wrong)
    if host and not HOST.fullmatch(host):
        wrong.append(
            f"token_host: {quoted(host)} is not a host: write HOST or HOST:PORT, as in "
            "auth.example.com"
        )
    return host


def _certificates(fields: Mapping[str, object], wrong: list[str]) -> str:
    text = _text("ca", fields, "ca: |", wrong)
    if text and "-----BEGIN CERTIFICATE-----" not in text:
        wrong.append(
            "ca is not a certificate in PEM form: write the certificate itself, which begins with "
            "-----BEGIN CERTIFICATE-----, or \"{{ lookup('file', 'upstream-ca.crt') }}\""
        )
    return text


def _plain_http(fields: Mapping[str, object], wrong: list[str]) -> bool:
    value = fields.get("plain_http", False)
    if isinstance(value, bool):
        return value
    wrong.append(f"plain_http is {quoted(value)}: write true or false")
    return False


def _twice(mirrors: list[Mirror]) -> list[Problem]:
    """Entries that would write one tag of one repository from two upstreams, or one upstream's tag
    by two entries."""
    problems = []
    for mirror in mirrors:
        for earlier in mirrors[: mirror.number - 1]:
            if earlier.to != mirror.to or earlier.number >= mirror.number:
                continue
            if earlier.origin != mirror.origin:
                problems.append(
                    Problem(
                        MIRRORS,
                        f"mirror {mirror.number}",
                        f"to: {mirror.to} is also that of mirror {earlier.number}, which is "
                        f"another repository ({earlier.origin}): choose another name",
                    )
                )
            else:
                problems.append(
                    Problem(
                        MIRRORS,
                        f"mirror {mirror.number}",
                        f"has from and to of mirror {earlier.number}: write all tags in one entry",
                    )
                )
            break
    return problems
