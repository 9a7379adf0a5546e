"""The strict reader of docker_auth's configuration file.

docker_auth reads loosely: a misspelt key in a match means 'everyone', a user without a password
needs none. Whatever it would misunderstand is an error here; whatever this reader accepts has the
same meaning for both servers, but for what only this server knows: `limits`, and a user's
`previous_password`, `expires` and `addresses`, and the label `secret_sha256`.
"""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import yaml

from . import acl

if TYPE_CHECKING:
    from .keys import SigningKey

T = TypeVar("T")

# What docker_auth knows on top of what this server reads.
ONLY_DOCKER_AUTH = {
    "": (
        *("google_auth", "github_auth", "oidc_auth", "gitlab_auth", "ldap_auth", "mongo_auth"),
        *("xorm_auth", "ext_auth", "plugin_authn", "acl_mongo", "acl_xorm", "ext_authz"),
        *("plugin_authz", "casbin_authz"),
    ),
    "server": (
        *("net", "certificate", "key", "hsts", "letsencrypt"),
        *("tls_min_version", "tls_curve_preferences", "tls_cipher_suites"),
    ),
}
#: The label with the SHA-256 of a user's generated secret, and behind it that of the one before. A
#: label, because docker_auth and every earlier version of this reader accept any label: a host can
#: go back to an earlier image while the file stays.
DIGESTS = "secret_sha256"
DIGEST = re.compile(r"[0-9a-f]{64}")
# What a user who signs in may have and docker_auth does not know.
OF_LOGINS = ("previous_password", "expires", "addresses")
# A valid file has five levels: acl, entry, match, labels, label.
DEEPEST = 20
# So many nodes may stand in the file by an alias (`*name`) instead of being written there.
MOST_REPEATED = 100_000
# A message goes into the log and to /healthz: so many characters of the file at the most.
LONGEST_SHOWN = 500
MOST_PROBLEMS = 100
BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")

# libyaml's where PyYAML was built with it: ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Problem(NamedTuple):
    """One mistake: where it is (`line` counts from 1) and what to write instead."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"{self.key}: " if self.key else ""
        return f"{self.file}:{self.line}: {where}{self.message}"


class ConfigurationError(ValueError):
    """The file cannot be used. `problems` has the mistakes that were found, in the file's order.

    `files` are the certificate and key that the file names, as far as it could be read.
    """

    def __init__(self, problems: Sequence[Problem], files: Sequence[Path] = ()) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)
        self.files = tuple(files)


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server listens, and where a request's own address stands.

    `real_ip_position` counts the comma-separated addresses in the header `real_ip_header` from 0,
    or from the end when negative.
    """

    host: str
    port: int
    path_prefix: str
    real_ip_header: str
    real_ip_position: int


@dataclass(frozen=True, slots=True)
class Token:
    """What every token says; `expiration` in seconds."""

    issuer: str
    expiration: int
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class PreviousPassword:
    """A bcrypt hash that is right too, before the instant `until` (seconds since the epoch).

    `digest` as in User.
    """

    password: bytes
    until: float
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class User:
    """A user's bcrypt hash (None: needs no password, only the anonymous user) and labels.

    `digest` is the SHA-256 of a generated secret; None where the password is a chosen one.
    From the instant `expires` (seconds since the epoch) on, and from elsewhere than `addresses`
    where there are some, a login is refused.
    """

    password: bytes | None
    labels: Mapping[str, tuple[str, ...]]
    previous: PreviousPassword | None = None
    expires: float | None = None
    addresses: tuple[acl.Network, ...] = ()
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How many wrong passwords an hour are checked; what comes after is refused at once.

    `account_failures` are those of one account, `address_failures` those of one network, both
    without the networks that the account has logged in from: at each of these it has
    `known_failures`.
    """

    account_failures: int = 100
    known_failures: int = 20
    address_failures: int = 300


@dataclass(frozen=True, slots=True)
class Configuration:
    """A valid file. `digest` is the SHA-256 of its bytes, in hexadecimal.

    `signing_key` is there when the keys were checked.
    """

    server: Server
    token: Token
    users: Mapping[str, User]
    acl: acl.AccessControlList
    digest: str
    limits: Limits = Limits()
    signing_key: SigningKey | None = None
    warnings: tuple[str, ...] = ()


def load(
    text: str | bytes,
    *,
    name: str = "auth_config.yml",
    base: Path | None = None,
    check_keys: bool = False,
    refuse_expired: bool = False,
) -> Configuration:
    """Read a configuration file's content.

    Args:
        text: the content; bytes are UTF-8.
        name: what messages call the file.
        base: the folder that relative certificate and key paths start from (default: the present).
        check_keys: also read the certificate and the key (needs `cryptography`).
        refuse_expired: with `check_keys`, an expired certificate is an error, not a warning.

    Raises:
        ConfigurationError: with every mistake, or the first hundred. Passwords, hashes and what may
            be one are in no message.
    """
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    reader = _Reader(name)
    configuration = reader.configuration(
        content, hashlib.sha256(content).hexdigest(), base or Path()
    )
    files = (configuration.token.certificate, configuration.token.key) if configuration else ()
    if reader.problems or configuration is None:
        problems = sorted(reader.problems, key=lambda found: found.line)
        if len(problems) > MOST_PROBLEMS:
            more = len(problems) - MOST_PROBLEMS
            last = Problem(name, problems[MOST_PROBLEMS].line, "", f"{more} more mistakes follow")
            problems[MOST_PROBLEMS:] = [last]
        raise ConfigurationError(problems, files)
    if not check_keys:
        return configuration
    from .keys import KeyProblem, load_signing_key

    try:
        key, warnings = load_signing_key(
            configuration.token.certificate,
            configuration.token.key,
            refuse_expired=refuse_expired,
        )
    except KeyProblem as error:
        line = reader.lines.get(f"token.{error.key}", 1)
        problem = Problem(name, line, f"token.{error.key}", str(error))
        raise ConfigurationError([problem], files) from None
    return replace(configuration, signing_key=key, warnings=tuple(warnings))


class _Mapping:
    """A mapping of the file, with the keys already checked."""

    def __init__(self, node: yaml.Node, key: str, values: dict[str, yaml.Node]) -> None:
        self.node = node
        self.key = key
        self.values = values

    def path(self, key: str) -> str:
        return f"{self.key}.{key}" if self.key else key


class _Reader:
    """Walks the file's nodes and notes every problem instead of stopping at the first."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.lines: dict[str, int] = {}

    def problem(self, node: yaml.Node, key: str, message: str, line: int | None = None) -> None:
        if line is None:
            line = node.start_mark.line + 1 if node.start_mark else 1
        self.problems.append(Problem(self.file, line, _on_a_line(key), _on_a_line(message)))

    # The file as a whole

    def configuration(self, content: bytes, digest: str, base: Path) -> Configuration | None:
        root = self._compose(content)
        if root is None:
            return None
        file = self._mapping(
            root,
            "",
            required=("server", "token", "users", "acl"),
            known=("limits",),
            only_docker_auth="",
        )
        if file is None:
            return None
        server = self._part(file, "server", self._server)
        token = self._part(file, "token", lambda node, key: self._token(node, key, base))
        users = self._part(file, "users", self._users)
        entries = self._part(file, "acl", self._acl)
        limits = self._part(file, "limits", self._limits)
        if server is None or token is None:
            return None
        return Configuration(
            server,
            token,
            users or {},
            acl.AccessControlList(entries or ()),
            digest,
            limits or Limits(),
        )

    def _compose(self, content: bytes) -> yaml.Node | None:
        try:
            root = _composed(content)
        except _Obstacle as error:
            self.problems.append(Problem(self.file, 1, "", str(error)))
            return None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark is not None else 1
            # `problem` says what is wrong; the snippet would show a line of the file.
            self.problems.append(Problem(self.file, line, "", f"is no YAML: {error.problem}"))
            return None
        except (yaml.YAMLError, UnicodeError):
            self.problems.append(
                Problem(self.file, 1, "", "is no YAML: it has characters that are not UTF-8 text")
            )
            return None
        if root is None:
            self.problems.append(
                Problem(self.file, 1, "", "is empty: server, token, users and acl are required")
            )
        return root

    def _part(
        self, parent: _Mapping, key: str, read: Callable[[yaml.Node, str], T | None]
    ) -> T | None:
        node = parent.values.get(key)
        return read(node, parent.path(key)) if node is not None else None

    # Parts

    def _server(self, node: yaml.Node, key: str) -> Server | None:
        part = self._mapping(
            node,
            key,
            required=("addr",),
            known=("path_prefix", "real_ip_header", "real_ip_pos"),
            only_docker_auth="server",
        )
        if part is None:
            return None
        listen = self._part(part, "addr", self._listen_address)
        prefix = self._part(part, "path_prefix", self._path_prefix)
        header = self._part(part, "real_ip_header", self._header_name)
        position = self._part(part, "real_ip_pos", self._integer)
        if listen is None:
            return None
        return Server(*listen, prefix or "", header or "", position or 0)

    def _token(self, node: yaml.Node, key: str, base: Path) -> Token | None:
        part = self._mapping(
            node,
            key,
            required=("issuer", "expiration", "certificate", "key"),
            known=("disable_legacy_key_id",),
        )
        if part is None:
            return None
        issuer = self._part(part, "issuer", self._filled_text)
        expiration = self._part(part, "expiration", self._seconds)
        certificate = self._part(part, "certificate", self._filled_text)
        private = self._part(part, "key", self._filled_text)
        # The key's identifier is always the RFC 7638 thumbprint here.
        self._part(part, "disable_legacy_key_id", self._boolean)
        if issuer is None or expiration is None or certificate is None or private is None:
            return None
        return Token(issuer, expiration, base / certificate, base / private)

    def _users(self, node: yaml.Node, key: str) -> dict[str, User]:
        users: dict[str, User] = {}
        for name, child, path in self._items(node, key):
            part = self._mapping(
                child, path, required=(), known=("password", "labels", *OF_LOGINS), secret=True
            )
            if part is None:
                continue
            password = self._part(part, "password", self._bcrypt)
            if name != "" and "password" not in part.values:
                self.problem(
                    child,
                    path,
                    "has no password: docker_auth would let anyone in under this name; "
                    'write password: and a bcrypt hash (only the anonymous user "" has none)',
                )
            labels = self._part(part, "labels", self._user_labels) or {}
            digest, digest_before = self._digests(part, labels)
            if not any(key in part.values for key in OF_LOGINS):
                users[name] = User(password, labels, digest=digest)
                continue
            if name == "":
                self.problem(
                    child,
                    path,
                    f"takes none of {', '.join(OF_LOGINS)}: the anonymous user does not sign in",
                )
            previous = self._part(part, "previous_password", self._previous_password)
            expires = self._part(part, "expires", self._instant)
            addresses = self._part(part, "addresses", self._addresses) or ()
            if previous is not None:
                previous = replace(previous, digest=digest_before)
            users[name] = User(password, labels, previous, expires, addresses, digest)
        return users

    def _digests(
        self, user: _Mapping, labels: Mapping[str, tuple[str, ...]]
    ) -> tuple[bytes | None, bytes | None]:
        """The digests of the user's generated secret and of the one before it."""
        texts = labels.get(DIGESTS, ())
        most = 2 if "previous_password" in user.values else 1
        if len(texts) > most or not all(map(DIGEST.fullmatch, texts)):
            self.problem(
                user.values["labels"],
                user.path(f"labels.{DIGESTS}"),
                "is not the SHA-256 of the user's secret, followed by that of the one before where "
                "there is a previous_password: write 64 hexadecimal digits each",
            )
            return None, None
        present, before = (*map(bytes.fromhex, texts), None, None)[:2]
        return present, before

    def _previous_password(self, node: yaml.Node, key: str) -> PreviousPassword | None:
        part = self._mapping(node, key, required=("password", "until"), known=(), secret=True)
        if part is None:
            return None
        password = self._part(part, "password", self._bcrypt)
        until = self._part(part, "until", self._instant)
        if password is None or until is None:
            return None
        return PreviousPassword(password, until)

    def _addresses(self, node: yaml.Node, key: str) -> tuple[acl.Network, ...] | None:
        values = self._sequence(node, key)
        if values == []:
            self.problem(
                node,
                key,
                "is empty, which is nowhere: name an address or a network, or take the key away",
            )
        found = [self._network(value, f"{key}[{i}]") for i, value in enumerate(values or ())]
        return tuple(network for network in found if network is not None)

    def _limits(self, node: yaml.Node, key: str) -> Limits | None:
        names = ("account_failures", "address_failures", "known_failures")
        part = self._mapping(node, key, required=(), known=names)
        if part is None:
            return None
        usual = Limits()
        account = self._part(part, "account_failures", self._limit) or usual.account_failures
        address = self._part(part, "address_failures", self._limit) or usual.address_failures
        known = self._part(part, "known_failures", self._limit)
        if known is not None and known >= account:
            self.problem(
                part.values["known_failures"],
                part.path("known_failures"),
                f"'{known}' must be smaller than account_failures ({account})",
            )
        if known is None:
            known = min(usual.known_failures, max(account // 5, 1))
        return Limits(account, known, address)

    def _user_labels(self, node: yaml.Node, key: str) -> dict[str, tuple[str, ...]]:
        labels = {}
        for name, child, path in self._items(node, key):
            values = self._sequence(child, path)
            if values is not None:
                texts = [self._text(value, f"{path}[{i}]") for i, value in enumerate(values)]
                labels[name] = tuple(text for text in texts if text is not None)
        return labels

    def _acl(self, node: yaml.Node, key: str) -> list[acl.Entry]:
        entries = []
        for position, child in enumerate(self._sequence(node, key) or ()):
            entry = self._entry(child, f"{key}[{position}]")
            if entry is not None:
                entries.append(entry)
        return entries

    def _entry(self, node: yaml.Node, key: str) -> acl.Entry | None:
        part = self._mapping(node, key, required=("match", "actions"), known=("comment",))
        if part is None:
            return None
        actions = self._part(part, "actions", self._actions)
        comment = self._part(part, "comment", self._text)
        before = len(self.problems)
        match = self._part(part, "match", self._match)
        if actions is None or match is None or len(self.problems) > before:
            return None
        return acl.Entry(*match, actions, comment or "")

    def _actions(self, node: yaml.Node, key: str) -> tuple[str, ...] | None:
        values = self._sequence(node, key)
        if values is None:
            return None
        actions = [self._filled_text(value, f"{key}[{i}]") for i, value in enumerate(values)]
        for value, action in zip(values, actions, strict=True):
            if action is not None and re.search(r"[\s,:]", action):
                self.problem(
                    value, key, f"'{action}' is no action: write a list such as [pull, push]"
                )
        return tuple(action for action in actions if action is not None)

    def _match(
        self, node: yaml.Node, key: str
    ) -> tuple[dict[str, str], dict[str, str], acl.Network | None] | None:
        part = self._mapping(node, key, required=(), known=(*acl.FIELDS, "ip", "labels"))
        if part is None:
            return None
        if not part.values:
            self.problem(
                node, key, "is empty, which is everyone and everything: name what it is about"
            )
            return None
        patterns = {}
        groups = {}
        for condition in acl.FIELDS:
            pattern = self._part(part, condition, self._text)
            if pattern is not None:
                patterns[condition] = pattern
                groups[condition] = self._pattern(
                    part.values[condition], part.path(condition), pattern
                )
        labels = self._part(part, "labels", self._label_patterns) or {}
        network = self._network(part.values["ip"], part.path("ip")) if "ip" in part.values else None
        nodes = [(part.values[name], part.path(name), text) for name, text in patterns.items()]
        nodes += [(part.values["labels"], part.path("labels"), text) for text in labels.values()]
        for child, path, pattern in nodes:
            self._placeholders(child, path, pattern, groups)
        return patterns, labels, network

    def _label_patterns(self, node: yaml.Node, key: str) -> dict[str, str]:
        labels = {}
        for name, child, path in self._items(node, key):
            pattern = self._text(child, path)
            if pattern is not None:
                self._pattern(child, path, pattern)
                labels[name] = pattern
        if isinstance(node, yaml.MappingNode) and not node.value:
            self.problem(node, key, "is empty, which is everyone: name a label")
        return labels

    def _pattern(self, node: yaml.Node, key: str, pattern: str) -> int:
        try:
            return acl.check_pattern(pattern)
        except acl.PatternError as error:
            self.problem(node, key, f"'{pattern}' {error}")
            return 0

    def _placeholders(
        self, node: yaml.Node, key: str, pattern: str, groups: Mapping[str, int]
    ) -> None:
        for found in acl.PLACEHOLDER.findall(pattern):
            source, colon, rest = found.partition(":")
            if found in acl.FIELDS or (source == "labels" and rest):
                continue
            if colon and source in acl.FIELDS and re.fullmatch(r"[1-9][0-9]{0,3}", rest):
                if int(rest) > groups.get(source, 0):
                    self.problem(
                        node,
                        key,
                        f"${{{found}}} stands for nothing: this entry's {source} has "
                        f"{groups.get(source, 0)} groups in parentheses",
                    )
                continue
            self.problem(
                node,
                key,
                f"${{{found}}} is no placeholder: write ${{account}}, ${{type}}, ${{name}}, "
                "${service}, ${name:1} or ${labels:NAME}",
            )

    # Values

    def _network(self, node: yaml.Node, key: str) -> acl.Network | None:
        text = self._text(node, key)
        if text is None:
            return None
        try:
            if "/" not in text:
                return ipaddress.ip_network(_plain_address(text))
            if not re.fullmatch(r"[0-9A-Fa-f.:]+/[0-9]{1,3}", text):
                raise ValueError(text)
            network = ipaddress.ip_network(text, strict=False)
            if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
                inner = network.network_address.ipv4_mapped
                if inner is not None:
                    # Clients that come by such an address are IPv4 ones, here as in docker_auth.
                    return ipaddress.ip_network((inner, network.prefixlen - 96))
            return network
        except ValueError:
            shown = _shown_below_users(text) if key.startswith("users.") else f"'{text}'"
            self.problem(
                node, key, f"{shown} is no address: write one such as 10.0.0.7 or 10.0.0.0/8"
            )
            return None

    def _listen_address(self, node: yaml.Node, key: str) -> tuple[str, int] | None:
        text = self._text(node, key)
        if text is None:
            return None
        found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/\s]*)):([0-9]{1,5})", text)
        if found is None or not 1 <= int(found[3]) <= 65535:
            self.problem(
                node, key, f"'{text}' is no address to listen on: write :5001 or 127.0.0.1:5001"
            )
            return None
        return found[1] or found[2] or "", int(found[3])

    def _path_prefix(self, node: yaml.Node, key: str) -> str | None:
        text = self._text(node, key)
        if text and (not text.startswith("/") or text.endswith("/")):
            self.problem(node, key, f"'{text}' must begin with a slash and not end with one")
        return text

    def _header_name(self, node: yaml.Node, key: str) -> str | None:
        text = self._text(node, key)
        if text and not re.fullmatch(r"[A-Za-z0-9-]+", text):
            self.problem(node, key, f"'{text}' is no header's name: write X-Real-IP")
        return text

    def _seconds(self, node: yaml.Node, key: str) -> int | None:
        text = self._text(node, key)
        if text is None:
            return None
        if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
            self.problem(
                node, key, f"'{text}' is no whole number of seconds above 0: write 300 or the like"
            )
            return None
        return int(text)

    def _limit(self, node: yaml.Node, key: str) -> int | None:
        text = self._text(node, key)
        if text is None:
            return None
        if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
            self.problem(
                node, key, f"'{text}' is no whole number from 1 to 999999: write 100 or the like"
            )
            return None
        return int(text)

    def _instant(self, node: yaml.Node, key: str) -> float | None:
        text = self._text(node, key)
        if text is None:
            return None
        try:
            if not INSTANT.fullmatch(text):
                raise ValueError(text)
            return datetime.fromisoformat(text).timestamp()
        except ValueError:
            self.problem(
                node,
                key,
                f"{_shown_below_users(text)} is no instant in UTC: "
                "write one such as 2027-06-30T00:00:00Z",
            )
            return None

    def _integer(self, node: yaml.Node, key: str) -> int | None:
        text = self._text(node, key)
        if text is None:
            return None
        if not re.fullmatch(r"-?(0|[1-9][0-9]{0,3})", text):
            self.problem(node, key, f"'{text}' is no whole number: write -1 or the like")
            return None
        return int(text)

    def _boolean(self, node: yaml.Node, key: str) -> bool | None:
        if node.tag != "tag:yaml.org,2002:bool":
            self.problem(node, key, "is neither true nor false")
            return None
        return str(node.value).lower() in ("true", "yes", "on")

    def _bcrypt(self, node: yaml.Node, key: str) -> bytes | None:
        text = self._text(node, key)
        if text is None:
            return None
        if not BCRYPT.fullmatch(text):
            self.problem(
                node, key, "is no bcrypt hash: write one that begins with $2b$ (60 characters)"
            )
            return None
        return text.encode()

    def _filled_text(self, node: yaml.Node, key: str) -> str | None:
        text = self._text(node, key)
        if text == "":
            self.problem(node, key, "is empty")
            return None
        return text

    def _text(self, node: yaml.Node, key: str) -> str | None:
        """A scalar as it is written: docker_auth, too, takes `yes` and `5` for text here."""
        if not isinstance(node, yaml.ScalarNode):
            self.problem(node, key, "must be a text")
            return None
        if node.tag == "tag:yaml.org,2002:null":
            self.problem(node, key, 'has no value: write one ("" where the empty text is meant)')
            return None
        if node.tag == "tag:yaml.org,2002:binary" or not node.tag.startswith("tag:yaml.org,2002:"):
            self.problem(node, key, "must be a text, without a tag")
            return None
        return str(node.value)

    # Collections

    def _sequence(self, node: yaml.Node, key: str) -> list[yaml.Node] | None:
        if not isinstance(node, yaml.SequenceNode):
            self.problem(node, key, "must be a list, [] where it is empty")
            return None
        return list(node.value)

    def _items(self, node: yaml.Node, key: str) -> Iterator[tuple[str, yaml.Node, str]]:
        """Key, value and path of each item of a mapping whose keys are free."""
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, key, "must be a mapping, {} where it is empty")
            return
        seen: set[str] = set()
        for name_node, child in node.value:
            name = self._text(name_node, key)
            if name is None:
                continue
            path = f"{key}.{name}" if name else f'{key}.""'
            if name in seen:
                self.problem(name_node, path, "is there twice: keep one")
                continue
            seen.add(name)
            yield name, child, path

    def _mapping(
        self,
        node: yaml.Node,
        key: str,
        *,
        required: Sequence[str],
        known: Sequence[str],
        only_docker_auth: str | None = None,
        secret: bool = False,
    ) -> _Mapping | None:
        """A mapping with these keys and no others; with `secret`, others are not repeated."""
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, key, f"must have keys of its own ({', '.join((*required, *known))})")
            return None
        values: dict[str, yaml.Node] = {}
        for name_node, child in node.value:
            name = name_node.value if isinstance(name_node, yaml.ScalarNode) else None
            path = f"{key}.{name}" if key else str(name)
            if name is None:
                self.problem(name_node, key, "has a key that is no text")
            elif name in values:
                self.problem(name_node, path, "is there twice: keep one")
            elif name in required or name in known:
                values[name] = child
                self.lines[path] = name_node.start_mark.line + 1
            elif secret:
                # `password:text`, without a space, is a key to YAML.
                near = difflib.get_close_matches(name.partition(":")[0], (*required, *known), 1)
                self.problem(
                    name_node,
                    key,
                    "has an unknown key (not shown, it may be a secret): "
                    + _meant(near, (*required, *known)),
                )
            else:
                self._unknown(name_node, path, name, (*required, *known), only_docker_auth)
        for name in required:
            if name not in values:
                path = f"{key}.{name}" if key else name
                self.problem(node, path, "is missing", self.lines.get(key))
        return _Mapping(node, key, values)

    def _unknown(
        self,
        node: yaml.Node,
        path: str,
        name: str,
        known: Sequence[str],
        only_docker_auth: str | None,
    ) -> None:
        if only_docker_auth is not None and name in ONLY_DOCKER_AUTH[only_docker_auth]:
            self.problem(
                node, path, "is docker_auth's alone: this server does not have it; take it away"
            )
            return
        near = difflib.get_close_matches(name, known, 1)
        self.problem(node, path, f"is no key: {_meant(near, known)}")


def _meant(near: Sequence[str], known: Sequence[str]) -> str:
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"


def _shown_below_users(text: str) -> str:
    """A wrong address or instant; not where it may be more: a quotation mark that was forgotten
    makes one value of all that follows, passwords among it.
    """
    return f"'{text}'" if re.fullmatch(r"[0-9A-Fa-f.:/TZ+ -]{1,45}", text) else "this"


def _on_a_line(text: str) -> str:
    """A text of the file as it can stand in a message: one line, not longer than that."""
    shown = text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


class _Obstacle(Exception):
    """Why the file must not be read any further."""


# YAML 1.1's words; which numbers and dates there are matters to nobody here.
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLEANS = frozenset(
    variant
    for word in ("yes", "no", "true", "false", "on", "off")
    for variant in (word, word.capitalize(), word.upper())
)
_TAGS = {
    yaml.ScalarNode: "tag:yaml.org,2002:str",
    yaml.SequenceNode: "tag:yaml.org,2002:seq",
    yaml.MappingNode: "tag:yaml.org,2002:map",
}


class _Composer(_LOADER):  # type: ignore[misc, valid-type]
    """Composes within a depth, and looks only for the tags that matter: half the time."""

    depth = 0

    def descend_resolver(self, current_node: yaml.Node, current_index: Any) -> None:
        # Composing calls itself for each level, in C, and would end the process.
        self.depth += 1
        if self.depth > DEEPEST + 1:
            raise _Obstacle("is nested too deeply")

    def ascend_resolver(self) -> None:
        self.depth -= 1

    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str:
        if kind is yaml.ScalarNode and implicit[0]:
            if value in _NULLS:
                return "tag:yaml.org,2002:null"
            if value in _BOOLEANS:
                return "tag:yaml.org,2002:bool"
        return _TAGS[kind]


def _composed(content: bytes) -> yaml.Node | None:
    """The file's nodes, None where it is empty.

    Raises:
        _Obstacle: it is too deep, or too large with all aliases put in.
        yaml.YAMLError: it is no YAML.
    """
    if b"&" in content:
        _check_aliases(content)
    root: yaml.Node | None = yaml.compose(content, Loader=_Composer)
    return root


def _check_aliases(content: bytes) -> None:
    """Raise where the file has too many nodes with all aliases put in.

    Who walks the nodes comes to an alias's as often as it is written: three levels of a few hundred
    are a billion.
    """
    started: list[tuple[str | None, int]] = []
    sizes: dict[str, int] = {}
    count = repeated = 0
    for event in yaml.parse(content, Loader=_LOADER):
        if isinstance(event, yaml.ScalarEvent):
            count += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in started):
                raise _Obstacle(
                    "has an alias inside of what it stands for: write the value where it belongs"
                )
            # An unknown one is for the composer to tell of.
            size = sizes.get(str(event.anchor), 0)
            count, repeated = count + size, repeated + size
            if repeated > MOST_REPEATED:
                raise _Obstacle("repeats too much by aliases: write each value where it belongs")
        elif isinstance(event, yaml.CollectionStartEvent):
            started.append((event.anchor, count))
            count += 1
            if len(started) > DEEPEST:
                raise _Obstacle("is nested too deeply")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = started.pop()
            if anchor:
                sizes[anchor] = count - before


def listen_address(content: bytes) -> tuple[str, int] | None:
    """Only `server.addr` of a file, without reading what comes after it; None where it has none.

    A health check every few seconds must not pay for ten thousand users.
    """
    reader = _Reader("")
    path: list[str | None] = []
    try:
        for event in yaml.parse(content, Loader=_LOADER):
            if isinstance(event, yaml.CollectionStartEvent):
                path.append(None)
            elif isinstance(event, yaml.CollectionEndEvent):
                path.pop()
                if path:
                    path[-1] = None
            elif isinstance(event, yaml.ScalarEvent | yaml.AliasEvent) and path:
                value = event.value if isinstance(event, yaml.ScalarEvent) else ""
                if path == ["server", "addr"]:
                    node = yaml.ScalarNode("tag:yaml.org,2002:str", value)
                    return reader._listen_address(node, "")
                path[-1] = value if path[-1] is None else None
    except (yaml.YAMLError, UnicodeError):
        # The server kept what it has read before; this file has no address to ask it at.
        return None
    return None


def _plain_address(text: str) -> acl.Address:
    """An address, an IPv4 one also where it is written as an IPv6 one.

    Raises ValueError; a zone ('%eth0') is none of docker_auth's addresses.
    """
    if "%" in text:
        raise ValueError(text)
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def normal_address(text: str) -> acl.Address | None:
    """The address that the text is; None where it is none."""
    try:
        return _plain_address(text)
    except ValueError:
        return None
