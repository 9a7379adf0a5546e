"""The strict reader of docker_auth's configuration file.

docker_auth reads loosely: a misspelt key in a match means 'everyone', a user without a password
needs none. Whatever it would misunderstand is an error here; whatever this reader accepts has the
same meaning for both servers, but for what only this server knows: `limits`, and a user's
`previous_password`, `expires` and `addresses`, and the label `secret_sha256`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

from . import acl
from .reading import LOADER, Key, Part, Reader
from .reading import Problem as Problem

if TYPE_CHECKING:
    from .keys import SigningKey

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
MOST_PROBLEMS = 100
LISTENS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/\s]*)):([0-9]{1,5})")


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
    """How many wrong passwords are checked within `window` seconds, an hour; those that come after
    are refused at once.

    `account_failures` are those of one account, `address_failures` those of one network, both
    without the networks that the account has logged in from: at each of these it has
    `known_failures`.
    """

    account_failures: int = 100
    known_failures: int = 20
    address_failures: int = 300
    window: int = 3600


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
    reader = Reader(name, KEYS, ONLY_DOCKER_AUTH)
    found = reader.read(content)
    if reader.problems:
        problems = sorted(reader.problems, key=lambda problem: problem.line)
        if len(problems) > MOST_PROBLEMS:
            more = len(problems) - MOST_PROBLEMS
            last = Problem(name, problems[MOST_PROBLEMS].line, "", f"{more} more mistakes follow")
            problems[MOST_PROBLEMS:] = [last]
        raise ConfigurationError(problems, _files(found["token"], base) if found else ())
    token: Token = found["token"]
    certificate, key = files = _files(token, base)
    configuration = Configuration(
        server=found["server"],
        token=replace(token, certificate=certificate, key=key),
        users=found["users"],
        acl=acl.AccessControlList(found["acl"]),
        digest=hashlib.sha256(content).hexdigest(),
        limits=found["limits"],
    )
    if not check_keys:
        return configuration
    from .keys import KeyProblem, load_signing_key

    try:
        signing_key, warnings = load_signing_key(certificate, key, refuse_expired=refuse_expired)
    except KeyProblem as error:
        line = reader.lines.get(f"token.{error.key}", 1)
        problem = Problem(name, line, f"token.{error.key}", str(error))
        raise ConfigurationError([problem], files) from None
    return replace(configuration, signing_key=signing_key, warnings=tuple(warnings))


def _files(token: Token, base: Path | None) -> tuple[Path, Path]:
    folder = base or Path()
    return folder / token.certificate, folder / token.key


# Texts → values. Each raises ValueError for a text that is none of its kind.


def _matching(expression: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(expression, text):
            raise ValueError(text)
        return text

    return read


def _whole(expression: str) -> Callable[[str], int]:
    return lambda text: int(_matching(expression)(text))


def _listens(text: str) -> tuple[str, int]:
    found = LISTENS.fullmatch(text)
    if found is None or not 1 <= int(found[3]) <= 65535:
        raise ValueError(text)
    return found[1] or found[2] or "", int(found[3])


def _bcrypt(text: str) -> bytes:
    return BCRYPT(text).encode()


def _instant(text: str) -> float:
    return datetime.fromisoformat(INSTANT(text)).timestamp()


def _network(text: str) -> acl.Network:
    if "/" not in text:
        return ipaddress.ip_network(_plain_address(text))
    network = ipaddress.ip_network(NETWORK(text), strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        inner = network.network_address.ipv4_mapped
        if inner is not None:
            # Clients that come by such an address are IPv4 ones, here as in docker_auth.
            return ipaddress.ip_network((inner, network.prefixlen - 96))
    return network


class Pattern(NamedTuple):
    """A pattern of `match`, and how many groups it captures."""

    text: str
    groups: int


def _pattern(text: str) -> Pattern:
    return Pattern(text, acl.check_pattern(text))


BCRYPT = _matching(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
INSTANT = _matching(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
NETWORK = _matching(r"[0-9A-Fa-f.:]+/[0-9]{1,3}")

# Mappings and lists → values, and what is wrong with them as a whole.


def _server(part: Part) -> Server:
    listens, *others = part.values.values()
    return Server(*listens, *others)


def _token(part: Part) -> Token:
    # The key's identifier is always the RFC 7638 thumbprint here.
    issuer, expiration, certificate, key, _ = part.values.values()
    return Token(issuer, expiration, Path(certificate), Path(key))


def _user(part: Part) -> User:
    password, labels, previous, expires, addresses = part.values.values()
    anonymous = part.path == 'users.""'
    if not anonymous and "password" not in part.nodes:
        part.problem(
            "",
            "has no password: docker_auth would let anyone in under this name; "
            'write password: and a bcrypt hash (only the anonymous user "" has none)',
        )
    if anonymous and part.nodes.keys() & {*OF_LOGINS}:
        part.problem(
            "", f"takes none of {', '.join(OF_LOGINS)}: the anonymous user does not sign in"
        )
    digests = labels.get(DIGESTS, ())
    if len(digests) > 1 + ("previous_password" in part.nodes) or not all(
        map(DIGEST.fullmatch, digests)
    ):
        part.problem(
            f"labels.{DIGESTS}",
            "is not the SHA-256 of the user's secret, followed by that of the one before where "
            "there is a previous_password: write 64 hexadecimal digits each",
        )
        digests = ()
    present, before = (*map(bytes.fromhex, digests), None, None)[:2]
    if previous is not None:
        previous = replace(previous, digest=before)
    return User(password, labels, previous, expires, addresses, present)


def _previous_password(part: Part) -> PreviousPassword:
    return PreviousPassword(*part.values.values())


def _addresses(part: Part) -> tuple[acl.Network, ...]:
    if not part.node.value:
        part.problem(
            "", "is empty, which is nowhere: name an address or a network, or take the key away"
        )
    return tuple(part.values)


def _match(part: Part) -> tuple[dict[str, str], dict[str, str], acl.Network | None]:
    if not part.nodes:
        part.problem("", "is empty, which is everyone and everything: name what it is about")
    patterns: dict[str, Pattern] = {
        field: part.values[field] for field in acl.FIELDS if part.values[field] is not None
    }
    labels: Mapping[str, Pattern] = part.values["labels"]
    for key, pattern in (*patterns.items(), *(("labels", label) for label in labels.values())):
        for placeholder in acl.PLACEHOLDER.findall(pattern.text):
            wrong = _wrong_placeholder(placeholder, patterns)
            if wrong:
                part.problem(key, f"${{{placeholder}}} {wrong}")
    return (
        {field: pattern.text for field, pattern in patterns.items()},
        {name: pattern.text for name, pattern in labels.items()},
        part.values["ip"],
    )


def _wrong_placeholder(placeholder: str, patterns: Mapping[str, Pattern]) -> str | None:
    source, colon, rest = placeholder.partition(":")
    if placeholder in acl.FIELDS or (source == "labels" and rest):
        return None
    if colon and source in acl.FIELDS and re.fullmatch(r"[1-9][0-9]{0,3}", rest):
        groups = patterns[source].groups if source in patterns else 0
        if int(rest) <= groups:
            return None
        return f"stands for nothing: this entry's {source} has {groups} groups in parentheses"
    return (
        "is no placeholder: write ${account}, ${type}, ${name}, "
        "${service}, ${name:1} or ${labels:NAME}"
    )


def _labels_of_match(part: Part) -> dict[str, Pattern]:
    if not part.nodes:
        part.problem("", "is empty, which is everyone: name a label")
    return dict(part.values)


def _entry(part: Part) -> acl.Entry | None:
    (patterns, labels, network), actions, comment = part.values.values()
    try:
        return acl.Entry(patterns, labels, network, actions, comment)
    except acl.PatternError:
        # What is wrong with the pattern has been noted.
        return None


def _limits(part: Part) -> Limits:
    account, address, known, window = part.values.values()
    if known is None:
        known = min(Limits().known_failures, max(account // 5, 1))
    elif known >= account:
        part.problem(
            "known_failures", f"'{known}' must be smaller than account_failures ({account})"
        )
    return Limits(account, known, address, window)


_SECONDS = Key(
    _whole(r"[1-9][0-9]{0,8}"), "{} is no whole number of seconds above 0: write 300 or the like"
)
_FILLED = Key(_matching(r"(?s:.+)"), "is empty", required=True)
_HASH = Key(_bcrypt, "is no bcrypt hash: write one that begins with $2b$ (60 characters)")
_INSTANT = Key(_instant, "{} is no instant in UTC: write one such as 2027-06-30T00:00:00Z")
_ADDRESS = Key(_network, "{} is no address: write one such as 10.0.0.7 or 10.0.0.0/8")
_PATTERN = Key(_pattern, "{} {error}")
_LIMIT = Key(
    _whole(r"[1-9][0-9]{0,5}"), "{} is no whole number from 1 to 999999: write 100 or the like"
)

#: Every key of the file, see `reading.Reader`. Keys of one mapping are in the order in which
#: messages name them and `make` gets them.
KEYS: Mapping[str, Key] = {
    "": Key(),
    "server": Key(required=True, make=_server),
    "server.addr": Key(
        _listens,
        "{} is no address to listen on: write :5001 or 127.0.0.1:5001",
        required=True,
    ),
    "server.path_prefix": Key(
        _matching(r"(?s:(/.*)?(?<!/))"),
        "{} must begin with a slash and not end with one",
        default="",
    ),
    "server.real_ip_header": Key(
        _matching(r"[A-Za-z0-9-]*"), "{} is no header's name: write X-Real-IP", default=""
    ),
    "server.real_ip_pos": Key(
        _whole(r"-?(0|[1-9][0-9]{0,3})"), "{} is no whole number: write -1 or the like", default=0
    ),
    "token": Key(required=True, make=_token),
    "token.issuer": _FILLED,
    "token.expiration": _SECONDS._replace(required=True),
    "token.certificate": _FILLED,
    "token.key": _FILLED,
    "token.disable_legacy_key_id": Key(bool, "is neither true nor false"),
    "users": Key(required=True),
    "users.*": Key(make=_user),
    "users.*.password": _HASH,
    "users.*.labels": Key(default={}),
    "users.*.labels.*": Key(make=lambda part: tuple(part.values)),
    "users.*.labels.*[]": Key(),
    "users.*.previous_password": Key(make=_previous_password),
    "users.*.previous_password.password": _HASH._replace(required=True),
    "users.*.previous_password.until": _INSTANT._replace(required=True),
    "users.*.expires": _INSTANT,
    "users.*.addresses": Key(default=(), make=_addresses),
    "users.*.addresses[]": _ADDRESS,
    "acl": Key(required=True),
    "acl[]": Key(make=_entry),
    "acl[].match": Key(required=True, make=_match),
    **{f"acl[].match.{field}": _PATTERN for field in acl.FIELDS},
    "acl[].match.ip": _ADDRESS,
    "acl[].match.labels": Key(default={}, make=_labels_of_match),
    "acl[].match.labels.*": _PATTERN,
    "acl[].actions": Key(required=True, make=lambda part: tuple(part.values)),
    "acl[].actions[]": Key(
        _matching(r"[^\s,:]+"), "{} is no action: write a list such as [pull, push]"
    ),
    "acl[].comment": Key(default=""),
    "limits": Key(default=Limits(), make=_limits),
    "limits.account_failures": _LIMIT._replace(default=Limits().account_failures),
    "limits.address_failures": _LIMIT._replace(default=Limits().address_failures),
    "limits.known_failures": _LIMIT,
    # Never rendered: tests let a window end.
    "limits.window": _SECONDS._replace(default=Limits().window),
}


def listen_address(content: bytes) -> tuple[str, int] | None:
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
                    return _listens(value)
                path[-1] = value if path[-1] is None else None
    except (yaml.YAMLError, UnicodeError, ValueError):
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
