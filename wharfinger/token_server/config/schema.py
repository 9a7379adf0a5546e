"""The table of all keys of the configuration file, and what each text becomes.

The functions that make the value of a mapping or list also check it as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from wharfinger.bcrypt_hash import BCRYPT_HASH, COSTS

from .. import acl
from ..addresses import Network, network
from ..patterns import PLACEHOLDER, PatternError, check_pattern
from .model import Limits, PreviousPassword, Server, Token, User
from .reader import Key, Part

# Keys of docker_auth that this server does not have.
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
#: The label with the SHA-256 of a user's generated secret, followed by that of the previous secret.
#: It is a label because docker_auth and every earlier version of this reader accept any label: a
#: host can go back to an earlier image and keep the file.
DIGESTS = "secret_sha256"
DIGEST = re.compile(r"[0-9a-f]{64}")
# Keys of a user that docker_auth does not know; the anonymous user has none of them.
OF_LOGINS = ("previous_password", "expires", "addresses")
LISTENS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/\s]*)):([0-9]{1,5})")


# Texts → values. Each function raises ValueError for a text that it does not accept.


def _matching(expression: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(expression, text):
            raise ValueError(text)
        return text

    return read


def _whole(expression: str) -> Callable[[str], int]:
    return lambda text: int(_matching(expression)(text))


def listen_address(text: str) -> tuple[str, int]:
    """Host and port of `server.addr`. Raises ValueError."""
    match = LISTENS.fullmatch(text)
    if match is None or not 1 <= int(match[3]) <= 65535:
        raise ValueError(text)
    return match[1] or match[2] or "", int(match[3])


def _bcrypt(text: str) -> bytes:
    match = BCRYPT_HASH.fullmatch(text)
    if match is None or int(match[1]) not in COSTS:
        raise ValueError(text)
    return text.encode()


def _instant(text: str) -> float:
    return datetime.fromisoformat(INSTANT(text)).timestamp()


class Pattern(NamedTuple):
    """A pattern of `match`, and how many groups it captures."""

    text: str
    groups: int


def _pattern(text: str) -> Pattern:
    return Pattern(text, check_pattern(text))


INSTANT = _matching(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")

# Mappings and lists → values, and checks of the whole.


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
            "is not the SHA-256 of the user's secret, followed by that of the previous secret if "
            "there is a previous_password: write 64 hexadecimal digits each",
        )
        digests = ()
    present, before = (*map(bytes.fromhex, digests), None, None)[:2]
    if previous is not None:
        previous = replace(previous, digest=before)
    return User(password, labels, previous, expires, addresses, present)


def _previous_password(part: Part) -> PreviousPassword:
    return PreviousPassword(*part.values.values())


def _addresses(part: Part) -> tuple[Network, ...]:
    if not part.node.value:
        part.problem(
            "", "is empty, which means nowhere: name an address or a network, or remove the key"
        )
    return tuple(part.values)


def _match(part: Part) -> tuple[dict[str, str], dict[str, str], Network | None]:
    if not part.nodes:
        part.problem("", "is empty, which means everyone and everything: name what it is about")
    patterns: dict[str, Pattern] = {
        field: part.values[field] for field in acl.FIELDS if part.values[field] is not None
    }
    labels: Mapping[str, Pattern] = part.values["labels"]
    for key, pattern in (*patterns.items(), *(("labels", label) for label in labels.values())):
        for placeholder in PLACEHOLDER.findall(pattern.text):
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
        "is not a placeholder: write ${account}, ${type}, ${name}, "
        "${service}, ${name:1} or ${labels:NAME}"
    )


def _labels_of_match(part: Part) -> dict[str, Pattern]:
    if not part.nodes:
        part.problem("", "is empty, which means everyone: name a label")
    return dict(part.values)


def _entry(part: Part) -> acl.Entry | None:
    (patterns, labels, where), actions, comment = part.values.values()
    try:
        return acl.Entry(patterns, labels, where, actions, comment)
    except PatternError:
        # The mistake in the pattern has been noted already.
        return None


def _limits(part: Part) -> Limits:
    account, known = part.values["account_failures"], part.values["known_failures"]
    if known is None:
        known = min(Limits().known_failures, max(account // 5, 1))
    elif known >= account:
        part.problem(
            "known_failures", f"'{known}' must be smaller than account_failures ({account})"
        )
    return Limits(**(part.values | {"known_failures": known}))


_SECONDS = Key(
    _whole(r"[1-9][0-9]{0,8}"),
    "{} is not a whole number of seconds above 0: write, for example, 300",
)
_FILLED = Key(_matching(r"(?s:.+)"), "is empty", required=True)
_HASH = Key(_bcrypt, "is not a bcrypt hash: write one that begins with $2b$ (60 characters)")
_INSTANT = Key(_instant, "{} is not a time in UTC: write one such as 2027-06-30T00:00:00Z")
_ADDRESS = Key(network, "{} is not an address: write one such as 10.0.0.7 or 10.0.0.0/8")
_PATTERN = Key(_pattern, "{} {error}")
_LIMIT = Key(
    _whole(r"[1-9][0-9]{0,5}"), "{} is not a whole number from 1 to 999999: write, for example, 100"
)

#: Every key of the file, see `reader.Reader`. Keys of one mapping are in the order in which
#: messages name them and `make` gets them.
KEYS: Mapping[str, Key] = {
    "": Key(),
    "server": Key(required=True, make=_server),
    "server.addr": Key(
        listen_address,
        "{} is not an address to listen on: write :5001 or 127.0.0.1:5001",
        required=True,
    ),
    "server.path_prefix": Key(
        _matching(r"(?s:(/.*)?(?<!/))"),
        "{} must begin with a slash and not end with one",
        default="",
    ),
    "server.real_ip_header": Key(
        _matching(r"[A-Za-z0-9-]*"), "{} is not the name of a header: write X-Real-IP", default=""
    ),
    "server.real_ip_pos": Key(
        _whole(r"-?(0|[1-9][0-9]{0,3})"),
        "{} is not a whole number: write, for example, -1",
        default=0,
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
        _matching(r"[^\s,:]+"), "{} is not an action: write a list such as [pull, push]"
    ),
    "acl[].comment": Key(default=""),
    "limits": Key(default=Limits(), make=_limits),
    "limits.account_failures": _LIMIT._replace(default=Limits().account_failures),
    "limits.address_failures": _LIMIT._replace(default=Limits().address_failures),
    "limits.known_failures": _LIMIT,
}
