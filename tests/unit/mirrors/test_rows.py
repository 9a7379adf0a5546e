"""registry_mirrors: each mistake's message, word for word."""

from __future__ import annotations

from typing import Any

import pytest

from wharfinger.mirrors import Mirror, examine

SECRET = "Planted-Secret"
EXAMPLE = '`{from: docker.io/library/debian, tags: "13", to: base/debian}`'
KEYS = "from, to, tags, platforms, username, password, token_host, ca, plain_http"
NO_TAG = 'write a name ("13"), a pattern ("13.*") or a range of versions (">=1.25 <2")'
LOGIN = "a login needs username and password; write both or none"
REPOSITORY = (
    "is not the name of a repository: write small letters, digits and single separators, without "
    "a registry, tag or pattern, as in to: base/debian"
)
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def entry(**changes: Any) -> dict[Any, Any]:
    """An entry without a mistake, with these changes; `origin` is its `from`."""
    origin = changes.pop("origin", "docker.io/library/debian")
    return {"from": origin, "to": "base/debian", "tags": "13", **changes}


def errors(value: object) -> list[str]:
    return [str(problem) for problem in examine(value)[1].errors]


def test_entries_without_a_mistake_are_read() -> None:
    mirrors, report = examine(
        [
            entry(tags=["13", "12.*", ">=1.25 <2"], platforms="linux/amd64"),
            entry(
                origin="registry.example.com:5000/team/app",
                to="team/app",
                platforms=["linux/arm64/v8", "linux/amd64"],
                username="robot",
                password=SECRET,
                token_host="auth.example.com",
                ca=PEM,
            ),
            entry(origin="localhost:5000/app", to="app", plain_http=True),
        ]
    )
    assert (report.errors, report.warnings) == ([], [])
    first, second, third = mirrors
    assert first == Mirror(
        1,
        "docker.io",
        "library/debian",
        "base/debian",
        ("13", "12.*", ">=1.25 <2"),
        ("linux/amd64",),
    )
    assert (first.origin, first.place) == (
        "docker.io/library/debian",
        "mirror 1 (docker.io/library/debian)",
    )
    assert [tag for tag in ("13", "12.4", "1.30.1", "14", "2") if first.selects(tag)] == [
        *("13", "12.4", "1.30.1"),
    ]
    assert first.names == ("13",)
    assert second.settings() == {
        "from": "registry.example.com:5000/team/app",
        "upstream": "registry.example.com:5000",
        "source": "team/app",
        "to": "team/app",
        "tags": ["13"],
        "platforms": ["linux/arm64/v8", "linux/amd64"],
        "username": "robot",
        "password": SECRET,
        "token_host": "auth.example.com",
        "ca": PEM,
        "plain_http": False,
    }
    assert third.plain_http
    assert SECRET not in repr(second)


def test_no_mirrors_are_no_mistake() -> None:
    assert examine([])[0] == []
    assert errors([]) == []


@pytest.mark.parametrize(("value", "is_a"), [({}, "a mapping"), (None, "nothing (null)")])
def test_mirrors_that_are_not_a_list(value: object, is_a: str) -> None:
    assert errors(value) == [
        f"registry_mirrors: is {is_a}: write a list, as in `- {EXAMPLE[1:]}, or [] for no mirrors"
    ]


MISTAKES: list[tuple[object, list[str]]] = [
    ("docker.io/debian", [f"is text: write a mapping, as in {EXAMPLE}"]),
    (
        {},
        [
            "from is missing: write REGISTRY/REPOSITORY, as in docker.io/library/debian",
            "to is missing: write the repository here, as in to: base/debian",
            'tags is missing: write, for example, tags: "13"',
        ],
    ),
    # Keys
    (entry(tag="13"), ['"tag" is an unknown key: write tags']),
    (entry(platfroms="linux/amd64"), ['"platfroms" is an unknown key: write platforms']),
    (entry(user="robot"), ['"user" is an unknown key: write username']),
    (entry(insecure=True), ['"insecure" is an unknown key: write plain_http']),
    (entry(colour="red"), [f'"colour" is an unknown key: remove it, the keys are {KEYS}']),
    (entry() | {7: 2}, [f"has a number as a key: the keys are {KEYS}"]),
    # from
    (
        entry(origin=5),
        ["from is a number: write REGISTRY/REPOSITORY, as in docker.io/library/debian"],
    ),
    (
        entry(origin="https://quay.io/team/app"),
        ['from: "https://quay.io/team/app" is an address: write quay.io/team/app'],
    ),
    (
        entry(origin=f"https://robot:{SECRET}@quay.io/team/app"),
        ["from has a login before the registry: write it as username and password"],
    ),
    (
        entry(origin="debian"),
        ['from: "debian" names no registry: write docker.io/library/debian if Docker Hub is meant'],
    ),
    (
        entry(origin="bitnami/nginx"),
        [
            'from: "bitnami/nginx" names no registry: write docker.io/bitnami/nginx if Docker Hub '
            "is meant"
        ],
    ),
    (
        entry(origin="docker.io/debian"),
        ['from: "docker.io/debian": write docker.io/library/debian'],
    ),
    (
        entry(origin="index.docker.io/bitnami/nginx"),
        ['from: "index.docker.io/bitnami/nginx": write docker.io/bitnami/nginx'],
    ),
    (
        entry(origin="quay.io/team/app:13"),
        [
            'from: "quay.io/team/app:13" has a tag or digest: write quay.io/team/app, and the tag '
            "in tags"
        ],
    ),
    (
        entry(origin="quay.io/Team/App"),
        [
            'from: "quay.io/Team/App" is not the name of a repository: write REGISTRY/REPOSITORY '
            "in small letters, as in docker.io/library/debian"
        ],
    ),
    # to
    (entry(to="Base"), [f'to: "Base" {REPOSITORY}']),
    (entry(to="base/*"), [f'to: "base/*" {REPOSITORY}']),
    (
        entry(to="wharfinger-verification/x"),
        [
            'to: "wharfinger-verification/x" is reserved for the deployment\'s own verification: '
            "choose another name"
        ],
    ),
    # tags
    (entry(tags=[]), ['tags is empty: write, for example, tags: "13"']),
    (
        entry(tags=13),
        ['tags has a number to YAML: write the tag in quotation marks, as in tags: "13"'],
    ),
    (entry(tags=["13", "13"]), ['tags has "13" twice: remove one']),
    (entry(tags=["1 3"]), [f'tags: "1 3" selects no tag: {NO_TAG}']),
    (entry(tags=[">=1.x"]), [f'tags: ">=1.x" selects no tag: {NO_TAG}']),
    # platforms
    (
        entry(platforms="amd64"),
        [
            'platforms: "amd64" is not a platform: write OS/ARCHITECTURE, as in linux/amd64',
        ],
    ),
    (entry(platforms=[]), ["platforms is empty: write, for example, platforms: linux/amd64"]),
    # The login
    (entry(username="robot"), [f"password is missing: {LOGIN}"]),
    (entry(password=SECRET), [f"username is missing: {LOGIN}"]),
    (
        entry(username="robot", password=12345),
        [
            'password is a number to YAML: write it in quotation marks, as in "{{ '
            'vault_upstream_password }}"',
        ],
    ),
    (
        entry(username="robot", password=SECRET, plain_http=True),
        [
            "plain_http would send the password unencrypted: remove plain_http, or username and "
            "password"
        ],
    ),
    (entry(plain_http="maybe"), ['plain_http is "maybe": write true or false']),
    (
        entry(token_host="https://auth.example.com/token"),
        [
            'token_host: "https://auth.example.com/token" is not a host: write HOST or HOST:PORT, '
            "as in auth.example.com"
        ],
    ),
    (
        entry(ca="upstream.crt"),
        [
            "ca is not a certificate in PEM form: write the certificate itself, which begins with "
            "-----BEGIN CERTIFICATE-----, or \"{{ lookup('file', 'upstream-ca.crt') }}\""
        ],
    ),
]


@pytest.mark.parametrize(("value", "messages"), MISTAKES)
def test_each_mistake(value: object, messages: list[str]) -> None:
    said = errors([entry(origin="quay.io/one/two", to="one"), value])
    assert said == [f"registry_mirrors, mirror 2: {message}" for message in messages]
    assert SECRET not in "".join(said)


def test_two_entries_for_one_repository() -> None:
    assert errors([entry(), entry(origin="quay.io/x/debian")]) == [
        "registry_mirrors, mirror 2: to: base/debian is also that of mirror 1, which is another "
        "repository (docker.io/library/debian): choose another name"
    ]
    assert errors([entry(), entry(tags="12")]) == [
        "registry_mirrors, mirror 2: has from and to of mirror 1: write all tags in one entry"
    ]


@pytest.mark.parametrize(
    "value",
    [1, "x", b"x", [None], [[]], [{None: None}], [entry(tags={"a": 1}, platforms=3, ca=[])]],
)
def test_whatever_yaml_says_is_answered(value: object) -> None:
    assert errors(value)
