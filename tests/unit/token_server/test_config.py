"""The strict reader: what it accepts, and each of its messages."""

from __future__ import annotations

import ipaddress
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from support.token_server import make_key, settings
from wharfinger.token_server.config import ConfigurationError, listens_on, load
from wharfinger.token_server.config.model import Limits, PreviousPassword
from wharfinger.token_server.config.reader import composed

HASH = "$2b$10$" + "a" * 53
VALID = f"""\
server:
  addr: ":5001"
token:
  issuer: i
  expiration: 300
  certificate: signing.crt
  key: signing.key
users:
  "": {{}}
  u:
    password: {HASH}
    labels: {{group: [a, b]}}
acl:
  - match: {{account: u, labels: {{group: a}}, ip: 10.0.0.0/8}}
    actions: [pull]
    comment: rule 1
"""


def messages(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return [str(problem).removeprefix("auth_config.yml:") for problem in caught.value.problems]


def changed(old: str, new: str) -> str:
    assert VALID.count(old) == 1, f"{old!r} is not there once"
    return VALID.replace(old, new)


def test_a_valid_file_is_read() -> None:
    configuration = load(VALID)
    assert (configuration.server.host, configuration.server.port) == ("", 5001)
    assert configuration.server.real_ip_header == ""
    assert configuration.token.expiration == 300
    assert configuration.token.certificate == Path("signing.crt")
    assert configuration.users[""].password is None
    assert configuration.users["u"].password == HASH.encode()
    assert configuration.users["u"].labels == {"group": ("a", "b")}
    assert configuration.acl.entries[0].comment == "rule 1"
    assert configuration.signing_key is None


def test_the_digest_is_that_of_the_files_bytes() -> None:
    import hashlib

    assert load(VALID).digest == hashlib.sha256(VALID.encode()).hexdigest()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("server:\n", "servers:\n", "1: servers: is not a key: did you mean server?"),
        ("  issuer: i\n", "", "3: token.issuer: is missing"),
        ("issuer: i", 'issuer: ""', "4: token.issuer: is empty"),
        ("issuer: i", "issuer:", 'has no value: write one ("" for the empty text)'),
        ("issuer: i", "issuer: [i]", "4: token.issuer: must be text"),
        ("issuer: i", "issuer: !!binary aQ==", "4: token.issuer: must be text without a tag"),
        (
            "expiration: 300",
            "expiration: 5m",
            "5: token.expiration: '5m' is not a whole number of seconds above 0: "
            "write, for example, 300",
        ),
        ("expiration: 300", "expiration: 0", "'0' is not a whole number of seconds above 0"),
        ("expiration: 300", "expiration: -1", "'-1' is not a whole number of seconds above 0"),
        ("expiration: 300", "expiration: 300.0", "is not a whole number of seconds above 0"),
        (
            "  key: signing.key",
            "  key: signing.key\n  disable_legacy_key_id: maybe",
            "8: token.disable_legacy_key_id: is neither true nor false",
        ),
        (
            'addr: ":5001"',
            "addr: 5001",
            "2: server.addr: '5001' is not an address to listen on: write :5001 or 127.0.0.1:5001",
        ),
        ('addr: ":5001"', 'addr: ":70000"', "':70000' is not an address to listen on"),
        (
            'addr: ":5001"',
            'addr: ":5001"\n  path_prefix: auth/',
            "3: server.path_prefix: 'auth/' must begin with a slash and not end with one",
        ),
        (
            'addr: ":5001"',
            'addr: ":5001"\n  real_ip_header: "X Real"',
            "3: server.real_ip_header: 'X Real' is not the name of a header: write X-Real-IP",
        ),
        (
            'addr: ":5001"',
            'addr: ":5001"\n  real_ip_pos: last',
            "3: server.real_ip_pos: 'last' is not a whole number: write, for example, -1",
        ),
        (
            'addr: ":5001"',
            'addr: ":5001"\n  certificate: a.crt',
            "3: server.certificate: is a key of docker_auth only: this server does not have it; "
            "remove it",
        ),
        (
            "users:\n",
            "github_auth: {}\nusers:\n",
            "8: github_auth: is a key of docker_auth only: this server does not have it; remove it",
        ),
        (
            f"    password: {HASH}\n",
            "",
            "11: users.u: has no password: docker_auth would let anyone in under this name; "
            'write password: and a bcrypt hash (only the anonymous user "" has none)',
        ),
        (
            HASH,
            "planted-secret",
            "11: users.u.password: is not a bcrypt hash: write one that begins with $2b$ "
            "(60 characters)",
        ),
        (HASH, HASH[:-1], "is not a bcrypt hash"),
        (HASH, HASH.replace("$10$", "$03$"), "is not a bcrypt hash"),
        (
            "    password:",
            "    pasword:",
            "11: users.u: has an unknown key (not shown, it may be a secret): "
            "did you mean password?",
        ),
        (
            "    password: ",
            "    password:planted-secret: ",
            "11: users.u: has an unknown key (not shown, it may be a secret): "
            "did you mean password?",
        ),
        (
            "    password: ",
            "    planted-secret: ",
            "11: users.u: has an unknown key (not shown, it may be a secret): "
            "the keys here are password, labels, previous_password, expires, addresses",
        ),
        (
            '"": {}',
            '"":',
            '9: users."": must have keys of its own (password, labels, previous_password, '
            "expires, addresses)",
        ),
        ("{group: [a, b]}", "{group: a}", "12: users.u.labels.group: must be a list ([] if"),
        ("{group: [a, b]}", "{~: [a]}", "12: users.u.labels: has a key that is not text"),
        ('  "": {}', "  ~: {}", "9: users: has a key that is not text"),
        ("{group: [a, b]}", "[a]", "12: users.u.labels: must be a mapping ({} if it is empty)"),
        ("{group: [a, b]}", "{group: [~]}", "12: users.u.labels.group[0]: has no value"),
        (
            "{account: u, labels: {group: a}, ip: 10.0.0.0/8}",
            "{}",
            "14: acl[0].match: is empty, which means everyone and everything: "
            "name what it is about",
        ),
        (
            "match: {account: u, labels: {group: a}, ip: 10.0.0.0/8}",
            "comment: x",
            "14: acl[0].match: is missing",
        ),
        (
            "account: u,",
            "acount: u,",
            "14: acl[0].match.acount: is not a key: did you mean account?",
        ),
        ("account: u,", "account: ,", "14: acl[0].match.account: has no value"),
        ("account: u,", "account: ~,", "14: acl[0].match.account: has no value"),
        ("account: u,", "account: {a: b},", "14: acl[0].match.account: must be text"),
        (
            "{group: a}",
            "{}",
            "14: acl[0].match.labels: is empty, which means everyone: name a label",
        ),
        ("{group: a}", "{group: }", "14: acl[0].match.labels.group: has no value"),
        (
            "ip: 10.0.0.0/8",
            "ip: 10.0.0.0/33",
            "14: acl[0].match.ip: '10.0.0.0/33' is not an address: "
            "write one such as 10.0.0.7 or 10.0.0.0/8",
        ),
        ("ip: 10.0.0.0/8", "ip: 10.0.0.0/255.0.0.0", "is not an address"),
        ("ip: 10.0.0.0/8", "ip: home", "'home' is not an address"),
        (
            "account: u,",
            "account: /(/,",
            "acl[0].match.account: '/(/' is not an RE2 expression: mis",
        ),
        ("account: u,", 'account: "[",', "acl[0].match.account: '[' has a '[' that is not closed"),
        (
            "{group: a}",
            "{group: /(/}",
            "14: acl[0].match.labels.group: '/(/' is not an RE2 expression",
        ),
        (
            "account: u,",
            'account: "${acount}",',
            "14: acl[0].match.account: ${acount} is not a placeholder: write ${account}, ${type}, "
            "${name}, ${service}, ${name:1} or ${labels:NAME}",
        ),
        ("account: u,", 'account: "${name:x}",', "${name:x} is not a placeholder"),
        ("account: u,", 'account: "${labels:}",', "${labels:} is not a placeholder"),
        (
            "account: u,",
            'account: "${name:1}",',
            "14: acl[0].match.account: ${name:1} stands for nothing: "
            "this entry's name has 0 groups in parentheses",
        ),
        ("actions: [pull]", "actions: pull", "15: acl[0].actions: must be a list ([] if"),
        ("actions: [pull]", "actions:", "15: acl[0].actions: must be a list ([] if it is empty)"),
        (
            "actions: [pull]",
            'actions: ["pull,push"]',
            "15: acl[0].actions[0]: 'pull,push' is not an action: "
            "write a list such as [pull, push]",
        ),
        ("    actions: [pull]\n", "", "14: acl[0].actions: is missing"),
        ("comment: rule 1", "coment: rule 1", "acl[0].coment: is not a key: did you mean comment?"),
        (
            "    comment: rule 1",
            "    1: x",
            "16: acl[0].1: is not a key: the keys here are match, actions",
        ),
        ("    comment: rule 1", "    [a]: x", "16: acl[0]: has a key that is not text"),
        (
            "    comment: rule 1",
            "    actions: [push]",
            "16: acl[0].actions: is given twice: keep one",
        ),
        ('  "": {}\n', f"  u: {{password: {HASH}}}\n", "users.u: is given twice: keep one"),
        ("server:\n", "server:\n\t", "2: is not YAML: found character that cannot start"),
        ("server:\n", "server: *x\n", "is not YAML: "),
        ("server:\n", "---\n---\nserver:\n", "is not YAML: "),
        ("acl:\n", "acl: [\n", "is not YAML: "),
    ],
)
def test_a_mistake_is_reported_with_its_place_and_what_to_write(
    old: str, new: str, expected: str
) -> None:
    mistakes = messages(changed(old, new))
    assert any(expected in message for message in mistakes), mistakes
    assert "planted-secret" not in "".join(mistakes)


FULL = VALID.replace(
    "acl:\n",
    f"""\
    previous_password: {{password: {HASH}, until: 2026-12-01T00:00:00Z}}
    expires: 2027-06-30T00:00:00Z
    addresses: [10.0.0.0/8, "2001:db8::/32", 192.0.2.1]
limits:
  account_failures: 50
  known_failures: 5
  address_failures: 60
acl:
""",
)


def test_keys_that_docker_auth_does_not_have_are_read() -> None:
    configuration = load(FULL)
    user = configuration.users["u"]
    assert user.previous == PreviousPassword(HASH.encode(), 1796083200.0)
    assert user.expires == 1814313600.0
    assert user.addresses == tuple(
        map(ipaddress.ip_network, ("10.0.0.0/8", "2001:db8::/32", "192.0.2.1/32"))
    )
    assert configuration.limits == Limits(50, 5, 60)


def test_without_limits_the_usual_ones_count() -> None:
    assert load(VALID).limits == Limits(100, 20, 300)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.7/128", "192.0.2.7/32"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
    ],
)
def test_an_ipv4_network_written_as_ipv6_is_that_network(written: str, meant: str) -> None:
    """The clients have IPv4 addresses: otherwise an entry that denies would not match them."""
    network = ipaddress.ip_network(meant)
    configuration = load(changed("ip: 10.0.0.0/8", f"ip: '{written}'"))
    assert configuration.acl.entries[0].network == network
    configuration = load(FULL.replace("192.0.2.1]", f"'{written}']"))
    assert configuration.users["u"].addresses[-1] == network


@pytest.mark.parametrize(("account", "known"), [(50, 10), (4, 1), (1000, 20)])
def test_a_known_network_has_a_small_part_of_the_accounts_limit(account: int, known: int) -> None:
    text = VALID + f"limits: {{account_failures: {account}}}\n"
    assert load(text).limits.known_failures == known


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "  account_failures: 50",
            "  account_failures: 0",
            "17: limits.account_failures: '0' is not a whole number from 1 to 999999: "
            "write, for example, 100",
        ),
        ("account_failures: 50", "account_failures: -1", "'-1' is not a whole number from 1"),
        ("account_failures: 50", "account_failures: 1e3", "'1e3' is not a whole number from 1"),
        ("address_failures: 60", "address_failures: 0", "19: limits.address_failures: '0' is no"),
        ("known_failures: 5", "known_failures: 0", "18: limits.known_failures: '0' is not a whole"),
        (
            "known_failures: 5",
            "known_failures: 50",
            "18: limits.known_failures: '50' must be smaller than account_failures (50)",
        ),
        (
            "known_failures: 5",
            "known_failure: 5",
            "18: limits.known_failure: is not a key: did you mean known_failures?",
        ),
        (
            "until: 2026-12-01T00:00:00Z",
            "until: 2026-12-01",
            "13: users.u.previous_password.until: '2026-12-01' is not a time in UTC: "
            "write one such as 2027-06-30T00:00:00Z",
        ),
        (", until: 2026-12-01T00:00:00Z", "", "users.u.previous_password.until: is missing"),
        (
            f"{{password: {HASH}, until",
            "{password: planted-secret, until",
            "13: users.u.previous_password.password: is not a bcrypt hash",
        ),
        (
            "expires: 2027-06-30T00:00:00Z",
            "expires: 2027-06-31T00:00:00Z",
            "14: users.u.expires: '2027-06-31T00:00:00Z' is not a time in UTC",
        ),
        ("2027-06-30T00:00:00Z", "2027-06-30T00:00:00+02:00", "14: users.u.expires: '2027-06-30T"),
        ("2027-06-30T00:00:00Z", "2027-06-30T24:00:00Z", "14: users.u.expires: '2027-06-30T24"),
        (
            "expires: 2027-06-30T00:00:00Z",
            "expires: planted-secret",
            "14: users.u.expires: this is not a time in UTC: write one such as "
            "2027-06-30T00:00:00Z",
        ),
        (
            "10.0.0.0/8,",
            "planted-secret,",
            "15: users.u.addresses[0]: this is not an address: "
            "write one such as 10.0.0.7 or 10.0.0.0/8",
        ),
        (
            "10.0.0.0/8,",
            "10.0.0.0/33,",
            "15: users.u.addresses[0]: '10.0.0.0/33' is not an address: "
            "write one such as 10.0.0.7 or 10.0.0.0/8",
        ),
        (
            'addresses: [10.0.0.0/8, "2001:db8::/32", 192.0.2.1]',
            "addresses: 10.0.0.0/8",
            "15: users.u.addresses: must be a list ([] if it is empty)",
        ),
        (
            'addresses: [10.0.0.0/8, "2001:db8::/32", 192.0.2.1]',
            "addresses: []",
            "15: users.u.addresses: is empty, which means nowhere: name an address or a network, "
            "or remove the key",
        ),
        (
            '"": {}',
            '"": {expires: 2027-06-30T00:00:00Z}',
            '9: users."": takes none of previous_password, expires, addresses: '
            "the anonymous user does not sign in",
        ),
    ],
)
def test_a_mistake_in_keys_that_docker_auth_does_not_have_is_reported_too(
    old: str, new: str, expected: str
) -> None:
    # The network is also in the match. The user's comes first.
    text = FULL.replace(old, new, 1)
    assert text != FULL
    mistakes = messages(text)
    assert any(expected in message for message in mistakes), mistakes
    assert "planted-secret" not in "".join(mistakes)


def test_every_mistake_is_reported_at_once_in_the_files_order() -> None:
    text = VALID.replace("issuer: i", "issuer:").replace("account: u", "acount: u")
    mistakes = messages(text.replace(HASH, "x"))
    assert [message.partition(": ")[0] for message in mistakes] == ["4", "11", "14"]


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_file_is_reported_with_the_required_keys(text: str) -> None:
    assert messages(text) == ["1: is empty: server, token, users and acl are required"]


@pytest.mark.parametrize("text", ["[]", "text", "- a"])
def test_a_file_that_is_not_a_mapping_is_refused(text: str) -> None:
    assert messages(text) == ["1: must have keys of its own (server, token, users, acl, limits)"]


@pytest.mark.parametrize("content", [b"\xff\xfe\xff", b"server: \x01", b"a: \xc3\x28"])
def test_a_file_that_is_not_text_is_refused(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"auth_config\.yml:1: is not YAML"):
        load(content)


@pytest.mark.parametrize(
    ("text", "expected"), [("yes", "yes"), ("5", "5"), ("1.50", "1.50"), ('"~"', "~")]
)
def test_plain_scalars_are_text_as_for_docker_auth(text: str, expected: str) -> None:
    configuration = load(changed("account: u,", f"account: {text},"))
    assert configuration.acl.entries[0].patterns["account"] == expected


def test_no_users_and_no_rules_are_valid() -> None:
    content = yaml.safe_load(VALID) | {"users": {}, "acl": []}
    configuration = load(yaml.safe_dump(content))
    assert (configuration.users, configuration.acl.entries) == ({}, ())


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(
                    [
                        "server",
                        "addr",
                        "token",
                        "users",
                        "acl",
                        "match",
                        "actions",
                        "labels",
                        "ip",
                        "name",
                        "password",
                        "",
                    ]
                ),
                inner,
                max_size=4,
            ),
        ),
        max_leaves=12,
    )
)
def test_any_yaml_is_read_or_refused_and_never_a_crash(content: object) -> None:
    base = yaml.safe_load(VALID)
    text = yaml.safe_dump(base | content if isinstance(content, dict) else content)
    try:
        load(text)
    except ConfigurationError as error:
        assert error.problems


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_and_never_a_crash(content: bytes) -> None:
    with pytest.raises(ConfigurationError):
        load(content)


def outline(node: yaml.Node | None) -> Any:
    """The parts of a node that the reader uses."""
    if node is None:
        return None
    line = node.start_mark.line
    if isinstance(node, yaml.ScalarNode):
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        return line, node.value, kind if kind in ("null", "bool", "binary") else "text"
    if isinstance(node, yaml.SequenceNode):
        return line, [outline(child) for child in node.value]
    return line, [(outline(key), outline(child)) for key, child in node.value]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()


@given(
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SCALARS, inner, max_size=4),
        max_leaves=20,
    ),
    st.sampled_from([None, True, False]),
)
def test_the_nodes_are_those_that_yaml_makes(content: object, flow: bool | None) -> None:
    text = yaml.safe_dump(content, default_flow_style=flow).encode()
    assert outline(composed(text)) == outline(yaml.compose(text, Loader=yaml.SafeLoader))


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1, {b: &y c}]\nd: *x\ne: *y\n",
        "a: !!binary aGk=\nb: !!str ~\nc: ! yes\nd: 'null'\ne:\nf: On\n",
        "? [a, b]\n: c\n? {d: e}\n: f\n",
        "--- a\n...\n",
        "",
        "# nothing\n",
    ],
)
def test_the_nodes_of_rarer_files_are_those_that_yaml_makes(text: str) -> None:
    content = text.encode()
    assert outline(composed(content)) == outline(yaml.compose(content, Loader=yaml.SafeLoader))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &x 1\nb: &x 2\n", "2: is not YAML: second occurrence"),
        ("a: *x\n", "1: is not YAML: found undefined alias"),
        ("a: 1\n---\nb: 2\n", "2: is not YAML: but found another document"),
    ],
)
def test_invalid_yaml_is_refused(text: str, problem: str) -> None:
    assert messages(text) == [problem]
    with pytest.raises(yaml.composer.ComposerError):
        yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def test_deep_nesting_is_refused() -> None:
    assert messages("a: " + "[" * 100_000) == ["1: is nested too deeply"]


def test_an_alias_has_the_value_of_its_anchor() -> None:
    text = changed("    labels: {group: [a, b]}", "    labels: {group: &g [a, b], other: *g}")
    assert load(text).users["u"].labels == {"group": ("a", "b"), "other": ("a", "b")}


def test_an_alias_inside_its_own_anchor_does_not_end_the_process() -> None:
    assert messages("&a [*a]") == [
        "1: must have keys of its own (server, token, users, acl, limits)"
    ]
    text = changed("    labels: {group: [a, b]}", "    labels: &l {group: *l}")
    assert messages(text) == ["12: users.u.labels.group: must be a list ([] if it is empty)"]


def test_a_message_is_one_line_of_a_few_hundred_characters() -> None:
    (message,) = messages(changed("ip: 10.0.0.0/8", f'ip: "10.\\n\\e[2J{"x" * 100_000}"'))
    assert message.startswith("14: acl[0].match.ip: '10.\\n\\x1b[2Jxxx")
    assert message.endswith("x…") and len(message) < 600


def test_after_a_hundred_mistakes_the_rest_is_counted() -> None:
    mistakes = messages(VALID + "  - x\n" * 150)
    assert mistakes[99].startswith("116: acl[100]: must have keys")
    assert mistakes[100:] == ["117: 50 more mistakes follow"]


# Certificate and key


def test_certificate_and_key_are_read_when_asked(keys: Path) -> None:
    configuration = load(yaml.safe_dump(settings(keys)), check_keys=True)
    assert configuration.signing_key is not None
    assert len(configuration.signing_key.identifier) == 43
    assert configuration.warnings == ()


def problem_with(folder: Path, *, refuse_expired: bool = False) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(yaml.safe_dump(settings(folder)), check_keys=True, refuse_expired=refuse_expired)
    (problem,) = caught.value.problems
    assert problem.line > 1
    return f"{problem.key}: {problem.message}"


def test_a_certificate_of_another_key_is_refused(tmp_path: Path, keys: Path) -> None:
    make_key(tmp_path)
    (tmp_path / "signing.crt").write_bytes((keys / "signing.crt").read_bytes())
    assert problem_with(tmp_path) == (
        f"token.certificate: {tmp_path}/signing.crt does not belong to the key "
        f"{tmp_path}/signing.key"
    )


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    assert problem_with(tmp_path) == (
        f"token.certificate: {tmp_path}/signing.crt cannot be read: No such file or directory"
    )


def test_files_that_are_not_keys_or_certificates_are_named(tmp_path: Path) -> None:
    make_key(tmp_path)
    (tmp_path / "signing.key").write_text("planted-secret")
    assert problem_with(tmp_path) == (
        f"token.key: {tmp_path}/signing.key is not a PEM private key without a passphrase"
    )
    (tmp_path / "signing.crt").write_text("planted-secret")
    assert problem_with(tmp_path) == (
        f"token.certificate: {tmp_path}/signing.crt is not a PEM certificate"
    )


@pytest.mark.parametrize(
    "key",
    [
        lambda: rsa.generate_private_key(65537, 1024),
        lambda: ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate,
    ],
)
def test_a_key_that_the_registry_would_not_trust_is_refused(
    tmp_path: Path, key: Callable[[], Any]
) -> None:
    make_key(tmp_path)
    (tmp_path / "signing.key").write_bytes(
        key().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    assert problem_with(tmp_path) == (
        f"token.key: {tmp_path}/signing.key is neither an RSA key of 2048 bits or more nor a P-256 "
        "(ES256) key"
    )


def test_an_expired_certificate_is_a_warning_or_an_error(tmp_path: Path) -> None:
    make_key(tmp_path, days=-1)
    configuration = load(yaml.safe_dump(settings(tmp_path)), check_keys=True)
    assert configuration.warnings[0].startswith(f"{tmp_path}/signing.crt expired on 20")
    message = problem_with(tmp_path, refuse_expired=True)
    assert message == f"token.certificate: {configuration.warnings[0]}"
    assert message.endswith(": renew it")


# On a controller


def test_reading_a_file_does_not_import_the_server() -> None:
    program = (
        "import sys; from wharfinger.token_server.config import load; load(sys.stdin.read());"
        "print([name for name in sys.modules if name.partition('.')[0] in "
        "('uvicorn', 'jwt', 'bcrypt', 'cryptography', 'uvloop', 'httptools')])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], input=VALID, text=True, capture_output=True, check=True
    )
    assert answer.stdout == "[]\n"


@pytest.mark.parametrize("sort", [True, False])
def test_the_listening_address_is_found_anywhere_in_the_file(keys: Path, sort: bool) -> None:
    content = {"acl": [{"server": {"addr": ":1"}}], "token": {"addr": ":2"}} | {
        key: value for key, value in settings(keys).items() if key == "server"
    }
    text = yaml.safe_dump(content, sort_keys=sort)
    assert listens_on(text.encode()) == ("127.0.0.1", 5001)
    assert listens_on(b"server: {path_prefix: addr, x: [addr, ':1']}") is None
    assert listens_on(b"a: &a x\nb: *a\nserver: {addr: ':7'}") == ("", 7)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\xff", b"server: *a", b"- server"])
def test_a_file_that_is_not_valid_has_no_listening_address(content: bytes) -> None:
    assert listens_on(content) is None
