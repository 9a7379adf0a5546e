"""Messages about an inventory file that cannot be read: the line, and what to write instead."""

from __future__ import annotations

import re

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader

from wharfinger.inventory import mistakes

SECRET = "planted7f3a"
SPECIAL = (
    "a value that begins with a special character (such as @ ` % * & ! | > ? - , or a bracket) "
    "must be in quotes: write 'the value'"
)
TAB = "the line is indented with a tab: write spaces"
EXPRESSION = 'an expression must be in quotes: write "{{ … }}"'
USER = 'a pattern with {user} must be in quotes: write "{user}/**"'
OPEN_QUOTE = "the quotation mark that opens here is not closed in its line: close it"
MISSING_COMMA = (
    "a comma between two entries is missing, or the } that closes {: write it, and quotes around "
    "values with such characters"
)
BEHIND = "move it to the entries that it belongs to (such as those of registry_users, line 1), "

CASES = {
    "a user behind the groups": (
        "registry_users:\n  admin: {}\nregistry_groups: {}\n  new: {password: S}\n",
        4,
        "the line is indented as a part of registry_groups in line 3, whose value is complete in "
        f"its own line: {BEHIND}or remove what follows the colon in line 3",
    ),
    "a user behind the groups, after comments": (
        "registry_users:\n  admin: {}\nregistry_groups: {}\n\n# one more\n  new: {password: S}\n",
        6,
        "the line is indented as a part of registry_groups in line 3, whose value is complete in "
        f"its own line: {BEHIND}or remove what follows the colon in line 3",
    ),
    "a user behind a number": (
        "registry_users:\n  admin: {}\nregistry_port: 443\n  new: {password: S}\n",
        4,
        "the line is indented as a part of registry_port in line 3, whose value is complete in "
        f"its own line: {BEHIND}or remove what follows the colon in line 3",
    ),
    "a user behind the groups, at no known depth": (
        "registry_users:\n  admin: {}\nregistry_groups: []\n     new: {password: S}\n",
        4,
        "the line is indented as a part of registry_groups in line 3, whose value is complete in "
        "its own line: move it to the entries that it belongs to, or remove what follows the "
        "colon in line 3",
    ),
    "a tab": ("registry_users:\n\tadmin: {password: S}\n", 2, TAB),
    "a tab after spaces": ("registry_users:\n  admin:\n  \tpassword: S\n", 3, TAB),
    "too few spaces": (
        "registry_users:\n  admin: {password: S}\n b: {}\n",
        3,
        "the line is indented by 1 space, which fits no line above: write 0 or 2",
    ),
    "too many spaces": (
        "registry_users:\n  admin:\n    password: S\n   b: {}\n",
        4,
        "the line is indented by 3 spaces, which fits no line above: write 0, 2 or 4",
    ),
    "too many spaces behind a value": (
        "registry_users:\n  admin: {}\n   b: {password: S}\n",
        3,
        "the line is indented by 3 spaces, which fits no line above: write 0 or 2",
    ),
    "too few spaces in an entry": (
        "registry_access:\n  - who: S\n   may: all\n",
        3,
        "the line is indented by 3 spaces, which fits no line above: write 0, 2 or 4",
    ),
    "a quotation mark that is never closed": (
        'registry_users:\n  admin: {password: "S}\n  b: {}\n',
        2,
        "the quotation mark that opens here is never closed: close it",
    ),
    "a quotation mark that the next one closes": (
        'registry_users:\n  admin: {password: "S}\n  b: {password: "S"}\n',
        2,
        OPEN_QUOTE,
    ),
    "a quotation mark that a later line closes": ('a: "S\nb: 1\nc: "S"\n', 1, OPEN_QUOTE),
    "a quotation mark in the value": (
        "registry_users:\n  admin:\n    password: 'S's'\n",
        3,
        "something follows a closing quotation mark: write all of the value between the marks, "
        "and a mark within it twice ('it''s')",
    ),
    "an open brace": (
        "registry_users:\n  admin: {password: S\n  b: {}\n",
        2,
        "the { that opens here is not closed in its line: write }",
    ),
    "an open bracket": (
        "registry_groups:\n  d: [S, b\nregistry_users:\n  S: {}\n",
        2,
        "the [ that opens here is not closed in its line: write ]",
    ),
    "a bracket too many": ("a: [S]]\n", 1, "a ] closes what is not open: remove it"),
    "a missing comma": ("a: {who: 'S' may: 'S'}\n", 1, MISSING_COMMA),
    "at": ("a: @S\n", 1, SPECIAL),
    "percent": ("a:\n  password: %S\n", 2, SPECIAL),
    "star": ("a:\n  password: *S\n", 2, SPECIAL),
    "stars": ("registry_access:\n  - {who: S, on: **}\n", 2, SPECIAL),
    "exclamation mark": ("a:\n  password: !S\n", 2, SPECIAL),
    "pipe": ("a: |S\n", 1, SPECIAL),
    "greater": ("a: >S\n", 1, SPECIAL),
    "dash": ("a: - S\n", 1, SPECIAL),
    "comma": ("a: , S\n", 1, SPECIAL),
    "closing bracket": ("a: ]S\n", 1, SPECIAL),
    "backslash": (
        'a: "S\\d"\n',
        1,
        "a backslash in double quotes: write the value between single quotes",
    ),
    "an expression": ("a: 1\nb: {{ S }}\n", 2, EXPRESSION),
    "an expression with more": ("b: {{ S }}/c\n", 1, EXPRESSION),
    "an expression in braces": ("b: {password: {{ S }}}\n", 1, EXPRESSION),
    "a user's place in a flow": ("a:\n  - {who: S, on: {user}/**}\n", 2, USER),
    "a user's place before more": ("a:\n  - {on: {user}/**, who: S}\n", 2, USER),
    "a user's place below others": ("a:\n  - {on: team/{user}/**, who: S}\n", 2, USER),
    "a place in the second line": ("a:\n  - {who: S,\n     on: {user}/**}\n", 3, USER),
    "a user's place among others": ("a:\n  - on: [S, {user}/**]\n", 2, USER),
    "a user's place alone": ("a:\n  - on: {user}/**\n    who: S\n", 2, USER),
    "a user's place in a list": ("a:\n  - on:\n    - {user}/**\n", 3, USER),
    "a missing comma after a user's quoted place": (
        'a: {on: "{user}/**" may: S}\n',
        1,
        MISSING_COMMA,
    ),
    "a colon in a value": (
        "a:\n  password: S: S\n",
        2,
        "a value with a colon and a space in it must be in quotes",
    ),
    "no colon": (
        "registry_users\n  admin: {password: S}\n",
        1,
        "a colon is missing after the name: write `NAME: value`",
    ),
    "no colon at the end": (
        "registry_users:\n  admin: {password: S}\n  newcomer\n",
        3,
        "a colon is missing after the name: write `NAME: value`",
    ),
    "an encrypted value that is not indented": (
        "a:\n  password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3661\nb: S\n",
        3,
        "an encrypted value must be indented further than its name: write two spaces more before "
        "each of its lines",
    ),
    "a closing brace on its own": (
        "a: S\n}\n",
        2,
        "a } closes what is not open: remove it",
    ),
    "a line that fits nowhere": (
        "a:\n  b: S\n  - S\n",
        3,
        "the line does not fit any line above it: compare its indentation, dashes and quotation "
        "marks with theirs",
    ),
    "no space after a colon": (
        "registry_users:\n  admin:{}\n  b: {password: S}\n",
        2,
        "a space is missing after the colon: write `NAME: value`",
    ),
    "no space after a dash": (
        "registry_access:\n  - {who: S}\n  -{who: S}\n",
        3,
        "a space is missing after the dash: write `- entry`",
    ),
    "no dash": (
        "registry_access:\n  - {who: S}\n  who: S\n",
        3,
        "the line is not an entry of the list above it: begin it with a dash, or indent it like "
        "the names within the entry",
    ),
    "two documents": ("a: S\n---\nb: S\n", 2, "a second `---`: remove this line"),
    "a list of users": (
        "- S\n",
        1,
        "the file is a list and must be names with values: write a name and a colon first, as in "
        "`registry_users:`",
    ),
    "text": (
        "# of users\nS\n",
        2,
        "the file is a text and must be names with values: write a name and a colon first, as in "
        "`registry_users:`",
    ),
    "a day that is none": (
        "a: 1\nb: 2027-02-30\n",
        2,
        "a value looks like a date but is not one: correct it, or write it in quotes",
    ),
    "a control character": (
        "a: ä\nb: \x01S\n",
        2,
        "a control character is in the text: remove it",
    ),
    "non-breaking spaces": (
        "a:\n  b: S\n\u00a0 c: S\n",
        3,
        "the line is indented with non-breaking spaces: write ordinary spaces",
    ),
    "a list as a key": ("a: S\n? [S]\n: S\n", 2, "a key must be a name: write NAME: value"),
    "a key twice": (
        "registry_users:\n  admin: {password: S}\n  b: {}\n  admin: {password: S}\n",
        4,
        "admin is written a second time, the first is in line 2: keep one of the two, or rename "
        "one",
    ),
    "a variable twice": (
        "registry_users: {}\nregistry_port: 1\nregistry_users: {admin: {password: S}}\n",
        3,
        "registry_users is written a second time, the first is in line 1: keep one of the two, or "
        "rename one",
    ),
    "one key in two words": (
        "a: {yes: S}\nb:\n  on: S\n  true: S\n",
        4,
        "true is written a second time, the first is in line 3: keep one of the two, or rename one",
    ),
    "a strange key twice": (
        "a:\n  S S: 1\n  S S: 2\n",
        3,
        "a key is written a second time, the first is in line 2: keep one of the two, or rename "
        "one",
    ),
}


@pytest.mark.parametrize(("text", "line", "message"), CASES.values(), ids=CASES)
def test_a_mistake_is_reported_with_its_line_and_without_a_value(
    text: str, line: int, message: str
) -> None:
    reported = mistakes(re.sub(r"\bS\b", SECRET, text).encode(), "variables")
    assert [(mistake.line, mistake.message) for mistake in reported] == [(line, message)]
    assert reported[0].within("users.yml") == f"users.yml, line {line}: {message}"
    assert SECRET not in message


def test_bytes_that_are_not_utf_8_are_reported_with_their_line() -> None:
    reported = mistakes("a: 1\n# Schlüssel\n".encode("latin-1"), "variables")
    assert [mistake.within("users.yml") for mistake in reported] == [
        "users.yml, line 2: a character is not encoded as UTF-8: save the file as UTF-8"
    ]


def test_every_key_that_is_written_twice_is_reported() -> None:
    text = "a: {b: 1, b: 2}\nc:\n  d: 1\n  d: 2\n  d: 3\na: 1\n"
    assert [mistake.line for mistake in mistakes(text.encode(), "variables")] == [1, 4, 5, 6]


def test_a_password_that_became_a_part_of_a_key_is_not_shown() -> None:
    text = f"registry_users: {{admin:{SECRET}, admin:{SECRET}}}\n"
    assert [mistake.message for mistake in mistakes(text.encode(), "variables")] == [
        "a key is written a second time, the first is in line 1: keep one of the two, or rename one"
    ]


GROUPS = {
    "hosts as a list": (
        "registry:\n  hosts:\n    - a.test\n",
        3,
        "hosts is a list: write each name without a dash and with a colon, as in "
        "`registry.example.com:`",
    ),
    "hosts of a child as a list": (
        "all:\n  children:\n    registry:\n      hosts: [a.test]\n",
        4,
        "hosts is a list: write each name without a dash and with a colon, as in "
        "`registry.example.com:`",
    ),
    "a value behind a host": (
        "registry:\n  hosts:\n    a.test: 10.0.0.1\n",
        3,
        "a value follows the host's name: write nothing after its colon, or variables, as in "
        "`registry.example.com: {ansible_user: operator}`",
    ),
}


@pytest.mark.parametrize(("text", "line", "message"), GROUPS.values(), ids=GROUPS)
def test_groups_and_hosts_have_their_shape(text: str, line: int, message: str) -> None:
    reported = mistakes(text.encode(), "inventory")
    assert [(mistake.line, mistake.message) for mistake in reported] == [(line, message)]


GOOD = [
    "",
    "---\n",
    "# nothing\n",
    "{}",
    '{"a": 1, "a": 2}',
    "\ufeffa: b\n",
    "a: b\r\nc: d\r\n",
    "a:\tb\n",
    "a: &x {b: 1}\nc:\n  <<: *x\n  b: 2\n",
    "a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3661\nb: !unsafe '{{ x }}'\n",
    "a: \"{{ b }}\"\nc: 'x: y'\nd: |\n  e: f\n  e: f\n",
    "on: 1\nyes and no: 2\n2: x\n1.5: y\n2026-01-01: z\n",
    "---\na: 1\n...\n",
]


@pytest.mark.parametrize("text", GOOD)
def test_files_that_ansible_reads_give_no_mistakes(text: str) -> None:
    assert mistakes(text.encode(), "variables") == []


def test_another_file_beside_the_hosts_is_nobodys_hosts() -> None:
    assert mistakes(b"- a\n- b\n", "inventory") == []


def test_a_plugins_configuration_is_not_read_as_groups() -> None:
    text = "plugin: ansible.builtin.constructed\ngroups: {registry: x}\nhosts: [a]\n"
    assert mistakes(text.encode(), "inventory") == []


@pytest.mark.parametrize("text", [case[0] for case in CASES.values()])
def test_a_mistake_that_is_cut_off_anywhere_still_gets_an_answer(text: str) -> None:
    for end in range(len(text)):
        for mistake in mistakes(text[:end].encode(), "variables"):
            assert mistake.line is None or 1 <= mistake.line <= text.count("\n") + 1


# Ansible reads these, but with a meaning that their author did not intend.
READ_BY_ANSIBLE = ("a list of users", "text", "non-breaking spaces")


@pytest.mark.parametrize("name", [name for name in CASES if "twice" not in name])
def test_ansible_refuses_the_same_files(name: str) -> None:
    text = CASES[name][0]
    if name in (*READ_BY_ANSIBLE, "one key in two words"):
        DataLoader().load(text)
    else:
        with pytest.raises(AnsibleError):
            DataLoader().load(text)
