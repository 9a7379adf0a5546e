"""The targets that are fuzzed in one process. Each takes any bytes and raises an error if a promise
is broken.

A seed is readable text. Lines of two hyphens separate its parts.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import re2
import yaml

from golden import docker_auth
from tests.fuzz import path_match
from wharfinger.token_server import acl, addresses, config, patterns, token_request
from wharfinger.token_server.issue import decide, rule

DIVIDER = b"\n--\n"
# Planted in the seeds in place of passwords and hashes. No message may contain it.
SECRET = "Planted-Secret"
HASH = "$2b$04$" + "PlantedSecret" + "a" * 40
# A message goes to the log and to the health endpoint.
LONGEST_LINE = 1500


def parts(data: bytes, count: int) -> list[bytes]:
    pieces = data.split(DIVIDER, count - 1)
    return pieces + [b""] * (count - len(pieces))


def text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


@cache
def rules() -> config.Configuration:
    """A configuration with every kind of pattern."""
    matches: list[dict[str, Any]] = [
        {"account": "admin"},
        {"account": "/.+/", "type": "repository", "name": "/^${account}(/[^/]+)+$/"},
        {"account": "/^(a+)+$/", "name": "${account:1}/*"},
        {"name": "/^(.*)/(.*)$/", "account": "${name:2}"},
        {"type": "registry", "name": "catalog", "ip": "10.0.0.0/8"},
        {"labels": {"group": "g*"}, "name": "${labels:group}/?"},
        {"account": "", "service": "[a-z]*", "name": "${service}/**"},
        {"type": "/^${name}$/", "account": "*"},
    ]
    return config.load(
        yaml.safe_dump(
            {
                "server": {"addr": ":1", "real_ip_header": "X-Real-IP", "real_ip_pos": -1},
                "token": {"issuer": "i", "expiration": 60, "certificate": "c", "key": "k"},
                "users": {
                    "": {},
                    "aa": {"password": HASH, "labels": {"group": ["g", "x", "(", "*"]}},
                },
                "acl": [
                    {"match": match, "actions": ["*"] if i % 2 else ["pull"], "comment": str(i)}
                    for i, match in enumerate(matches)
                ],
            }
        )
    )


def request(data: bytes) -> None:
    """Query, form (none: not a POST), Authorization, the proxy's header, the connection's address.

    This is a valid request or it is refused with a short sentence. Deciding it must not fail.
    """
    query, form, authorization, real_ip, connection = parts(data, 5)
    header = authorization.decode("latin-1") if authorization else None
    configuration = rules()
    address: addresses.Address = acl.ANY_ADDRESS
    with contextlib.suppress(token_request.BadRequest):
        address = token_request.client_address(
            configuration.server, text(real_ip), text(connection)
        )
        assert ipaddress.ip_address(str(address)) == address
        assert getattr(address, "ipv4_mapped", None) is None, address
    try:
        request = token_request.read_request(query, form or None, header)
    except (token_request.BadRequest, token_request.BadCredentials) as error:
        assert len(str(error)) < LONGEST_LINE, error
        if (query + form).count(SECRET.encode()) == form.count(f"&password={SECRET}&".encode()):
            assert SECRET not in str(error), error
        return
    assert len(request.scopes) <= token_request.MOST_SCOPES
    assert "password" not in repr(request).partition("account=")[0]
    if len(request.password) > 12 and text(request.password) not in text(query + form):
        assert repr(request.password)[2:-1] not in repr(request)
    for scope in request.scopes:
        assert scope.name and "\0" not in scope.name and " " not in scope.name, scope
        assert list(scope.actions) == sorted(scope.actions), scope
    for user in configuration.users.values():
        answers = decide(configuration, request, user, address)
        for scope, answer in zip(request.scopes, answers, strict=True):
            assert set(answer.actions) <= set(scope.actions), (scope, answer)
            json.dumps([scope.name, answer.actions, rule(configuration, answer)]).encode()


def reader(data: bytes) -> None:
    """Any bytes as configuration: valid, or refused with messages that contain no secret."""
    try:
        configuration = config.load(data)
    except config.ConfigurationError as error:
        message = str(error)
        assert error.problems and message
        if not _secret_elsewhere(data):
            assert SECRET not in message and "PlantedSecret" not in message, message
        for problem in error.problems:
            assert 1 <= problem.line <= data.count(b"\n") + data.count(b"\r") + 2 or (
                # YAML has more kinds of line break than these.
                problem.line <= len(data) + 1
            )
            assert len(str(problem)) < LONGEST_LINE, len(str(problem))
            assert "\n" not in str(problem), problem
    else:
        assert config.listens_on(data) == (configuration.server.host, configuration.server.port)
        assert SECRET not in repr(configuration.users).replace("password=", "")
        for account, user in list(configuration.users.items())[:3]:
            for name in ("a/b", "", "x" * 300):
                question = acl.Question(
                    *(account, "repository", name, "s", acl.ANY_ADDRESS, ("pull",)),
                    labels=tuple(user.labels.items()),
                )
                assert set(configuration.acl.decide(question).actions) <= {"pull"}
        return
    # The health check also reads a file that was refused.
    with contextlib.suppress(config.ConfigurationError):
        config.listens_on(data)


def _secret_elsewhere(data: bytes) -> bool:
    """Whether a mutation has put a secret where none belongs: anywhere but below a user's name.

    The name of a label does not count as below, because messages show it like users' names.
    """
    try:
        root = yaml.compose(data, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeError):
        return False
    nodes = [root]
    seen: set[int] = set()
    while nodes:
        node = nodes.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            if SECRET in node.value or "PlantedSecret" in node.value:
                return True
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                nodes.append(key)
                users = node is root and getattr(key, "value", None) == "users"
                if users and isinstance(value, yaml.MappingNode):
                    nodes += [name for name, _ in value.value]
                    nodes += _label_names(value)
                else:
                    nodes.append(value)
    return False


def _label_names(users: yaml.MappingNode) -> list[yaml.Node]:
    entries = [entry for _, entry in users.value if isinstance(entry, yaml.MappingNode)]
    return [
        name
        for entry in entries
        for key, labels in entry.value
        if getattr(key, "value", None) == "labels" and isinstance(labels, yaml.MappingNode)
        for name, _ in labels.value
    ]


def pattern(data: bytes) -> None:
    """A pattern and a value: globs match as in Go's path.Match, expressions as in RE2 alone."""
    wanted, value = (text(part) for part in parts(data, 2))
    try:
        patterns.check_pattern(wanted)
    except patterns.PatternError as error:
        assert len(str(error)) < LONGEST_LINE, error
        valid = False
    else:
        valid = True
    is_expression = len(wanted) > 2 and wanted[0] == wanted[-1] == "/"
    if "${" in wanted:
        filled = acl.Condition("name", wanted) if valid else None
        if filled is not None:
            filled.holds_filled(_question(value), {"name": patterns.quote(value.replace("\0", ""))})
        return
    if is_expression:
        expected = (
            valid and re2.compile(wanted[1:-1], patterns._options()).search(value) is not None
        )
    else:
        try:
            expected = path_match.match(wanted, value)
        except path_match.BadPattern:
            assert not valid, f"{wanted!r} is a bad pattern for Go"
            assert not patterns.matches(wanted, value)
            return
        assert valid, f"{wanted!r} is a good pattern for Go"
    assert patterns.matches(wanted, value) == expected, (wanted, value)
    if valid:
        assert acl.Condition("name", wanted).holds(_question(value)) == expected, (wanted, value)
    if "\0" not in value:
        # Quoted text matches itself, in an expression and in a glob.
        assert patterns.matches(f"/^{patterns.quote(value)}$/", value), value
        assert patterns.matches(patterns.quote(value), value) or _looks_like_expression(value), (
            value
        )
        assert value == wanted or not patterns.matches(f"/^{patterns.quote(value)}$/", wanted)


def _looks_like_expression(value: str) -> bool:
    return len(value) > 2 and value[0] == value[-1] == "/"


def _question(name: str) -> acl.Question:
    return acl.Question("u", "repository", name, "s", acl.ANY_ADDRESS, ("pull",))


ACCOUNTS = ("", "a", "a.b", "axb", "admin", "*", "[a]", "a|b", "${name}")
NAMES = ("a/b", "a", "a.b/x", "axb/x", "", "a/b/c", "\\Ea/x", "(/x", "a\n/x", "A/b", "é/x")
LABEL_VALUES = ("g", "h", "a", "*", ".*", "a.b")
VALUES: dict[str, tuple[str, ...]] = {
    "account": ("", "a", "*", "/.+/", "/^a/", "a?b", "/${name}/", "${labels:l}", "a.b", "?"),
    "type": ("repository", "registry", "repo*", "/^re/", "${account}"),
    "name": (
        *("*", "*/*", "a/*", "/^${account}(/[^/]+)+$/", "${account}/*", "${account}", "/^a\\.b/"),
        *("${labels:l}/*", "/^${labels:l}\\/[a-z]$/", "/a/", "/^a|b$/", "/(?i)^A/", "/^a?/", "?/?"),
        *("${labels:l}${labels:m}", "${labels:none}", "/\\Q${account}/", "/^a*b{0,2}/"),
    ),
    "service": ("s", "*", "/^s$/", "${account}"),
}
NETWORKS = ("10.0.0.0/8", "10.1.2.3", "2001:db8::/32", "0.0.0.0/0")
CLIENTS = ("10.1.2.3", "192.0.2.1", "2001:db8::1", "127.0.0.1")
ACTIONS = ("pull", "push", "delete", "*")


class _Choices:
    """Reads choices from bytes. When the bytes are used up, it takes the first choice."""

    def __init__(self, data: bytes) -> None:
        self._bytes = iter(data)

    def pick(self, choices: Sequence[str]) -> str:
        return choices[next(self._bytes, 0) % len(choices)]

    def often(self, of: int) -> bool:
        return next(self._bytes, 0) % of != 0


def decision(data: bytes) -> None:
    """Entries and a question: the matcher decides like the tests' own reading of docker_auth."""
    choices = _Choices(data)
    entries: list[dict[str, Any]] = []
    for _ in range(1 + next(choices._bytes, 0) % 4):
        match: dict[str, Any] = {}
        for key, values in VALUES.items():
            if choices.often(2):
                match[key] = choices.pick(values)
        if choices.often(3) and not choices.often(2):
            match["labels"] = {choices.pick(("l", "m")): choices.pick((*LABEL_VALUES, "/^[gh]$/"))}
        if not choices.often(4):
            match["ip"] = choices.pick(NETWORKS)
        actions = [choices.pick(ACTIONS)] if choices.often(4) else []
        entries.append({"match": match or {"account": "*"}, "actions": actions})
    account = choices.pick(ACCOUNTS)
    labels = {
        label: [choices.pick(LABEL_VALUES) for _ in range(next(choices._bytes, 0) % 3)]
        for label in ("l", "m")
    }
    kind, name = choices.pick(("repository", "registry", "x")), choices.pick(NAMES)
    service, ip = choices.pick(("s", "t", "")), choices.pick(CLIENTS)
    actions = choices.pick(("pull", "pull,push", "*", "delete,pull,x"))
    access_list = acl.AccessControlList(
        acl.Entry(
            {key: value for key, value in entry["match"].items() if key in VALUES},
            entry["match"].get("labels", {}),
            ipaddress.ip_network(entry["match"]["ip"]) if "ip" in entry["match"] else None,
            entry["actions"],
        )
        for entry in entries
    )
    question = acl.Question(
        *(account, kind, name, service, ipaddress.ip_address(ip), tuple(actions.split(","))),
        labels=tuple((label, tuple(values)) for label, values in labels.items()),
    )
    file = {"users": {account: {"labels": labels}}, "acl": entries}
    expected = docker_auth.access(file, account, f"{kind}:{name}:{actions}", service, ip)
    for _ in range(2):
        # Twice, because the matcher caches which entries concern a user.
        answer = access_list.decide(question)
        assert list(answer.actions) == expected["actions"], (entries, question, answer, expected)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "request": request,
    "reader": reader,
    "pattern": pattern,
    "decision": decision,
}
# What mutations insert: words and characters that mean something to a target.
WORDS: dict[str, tuple[bytes, ...]] = {
    "request": (
        *(b"scope=", b"service=", b"account=", b"&", b"%00", b"%ff", b"+", b"%20", b";", b"\n--\n"),
        *(
            b"repository:",
            b"registry:catalog:*",
            b"(plugin)",
            b":443/",
            b":pull,push",
            b"username=",
        ),
        *(b"grant_type=password", b"Basic ", b"OmE=", b"::1", b"::ffff:1.2.3.4", b"%eth0", b","),
        *(b"10.0.0.1:80", b"[::1]:80", b"\xe2\x80\xae", b"%F0%9F%92%A3", b"\x00"),
    ),
    "reader": (
        *(
            b"&a ",
            b"*a",
            b"!!binary ",
            b"!!python/name:os ",
            b"<<: ",
            b"? ",
            b"- ",
            b": ",
            b"{",
            b"}",
        ),
        *(
            b"[",
            b"]",
            b'"',
            b"'",
            b"|\n",
            b">\n",
            b"\n",
            b"  ",
            b"\t",
            b"---\n",
            b"...\n",
            b"%YAML 1.1\n",
        ),
        *(
            b"server",
            b"users",
            b"acl",
            b"limits",
            b"password: ",
            b"expires: ",
            b"addresses: ",
            b"match",
        ),
        *(b"previous_password", b"until: ", b"labels", b"${name:1}", b"/(((a{100}){100}){100})/"),
        *(
            b"2027-06-30T00:00:00Z",
            b"9999-12-31T23:59:59Z",
            b"0x7f",
            b"1e999",
            b"-0",
            b"~",
            b"null",
        ),
        *(b"\xef\xbb\xbf", b"\xff\xfe", b"\\ud800", b"\\x00", b"\xc2\x85", b"\xe2\x80\xa8", b"#"),
    ),
    "pattern": (
        *(
            b"*",
            b"?",
            b"[",
            b"]",
            b"^",
            b"-",
            b"\\",
            b"/",
            b"[^",
            b"]*",
            b"(?s)",
            b"(?i)",
            b"|",
            b"$",
        ),
        *(
            b"\n--\n",
            b"\\Q",
            b"\\E",
            b"{0}",
            b"{,3}",
            b"{2,}",
            b"+",
            b"(",
            b")",
            b"${account}",
            b"\\z",
        ),
        *(
            "é".encode(),
            "\U0001f4a3".encode(),
            b"\x00",
            b"\n",
            b"\\pL",
            b"[[:alpha:]]",
            b"\\b",
            b"^^",
        ),
    ),
    "decision": (b"\x00", b"\x01", b"\x02", b"\x03"),
}
