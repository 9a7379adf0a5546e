"""`wharf repositories` and `wharf tags`."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.unit.client.conftest import Wharf
from tests.unit.client.registry import HOST, Fake, errors, image, index

NAMES = [f"team/app{number:03}" for number in range(25)]
BOB = ("--user", "bob", "--password-stdin")


@pytest.fixture
def many(fake: Fake) -> Fake:
    for name in NAMES:
        fake.push(name, "1", image())
    return fake


@pytest.mark.parametrize(
    "link",
    [
        lambda target: f'<{target}>; rel="next"',
        lambda target: f"<{target}>; rel=next",
        lambda target: f'<https://registry.test{target}>; rel="next"',
        # The registry does not know that it is behind a proxy: our login must not go there.
        lambda target: f'<http://registry:5000{target}>; rel="next"',
        lambda target: f'<{target.replace("/v2/", "")}>; rel="next"',
        lambda target: f'</first>; rel="first", <{target}>; rel="next"',
    ],
    ids=["relative", "unquoted", "absolute", "another server", "sibling", "several"],
)
def test_pages_are_followed_to_the_end(
    many: Fake, wharf: Wharf, link: Callable[[str], str]
) -> None:
    many.page, many.link = 7, link
    assert wharf("repositories", HOST).lines == NAMES
    assert many.counts["GET /v2/_catalog"] == 4


def test_a_registry_that_allows_smaller_pages_only_is_asked_without_a_number(
    many: Fake, wharf: Wharf
) -> None:
    many.page = many.most = 10
    assert wharf("repositories", HOST).lines == NAMES


def test_pages_of_tags_are_followed_too(fake: Fake, wharf: Wharf) -> None:
    for tag in "abcde":
        fake.push("app", tag, image())
    fake.page = 2
    assert wharf("tags", f"{HOST}/app").lines == list("abcde")


def test_pages_that_lead_in_a_circle_end(many: Fake, wharf: Wharf) -> None:
    many.page, many.link = 7, lambda target: '</v2/_catalog?n=1000>; rel="next"'
    ran = wharf("repositories", HOST)
    assert (ran.code, ran.err) == (
        1,
        "wharf: registry.test: the pages of /v2/_catalog lead in a circle; what it has cannot be "
        "listed whole\n",
    )


def test_tags_of_all_repositories(fake: Fake, wharf: Wharf) -> None:
    fake.push("b", "2", image())
    fake.push("b", "1", image())
    fake.push("a", None, image())  # without tags
    ran = wharf("repositories", HOST, "--tags")
    assert ran.out == "a\t\nb\t1\nb\t2\n"
    assert wharf("repositories", HOST, "--tags", "--json").json[1] == {
        "repository": "b",
        "tag": "1",
        "reference": "registry.test/b:1",
    }


def test_a_repository_that_only_the_catalog_remembers_has_no_tags(fake: Fake, wharf: Wharf) -> None:
    fake.push("a", "1", image())
    fake.before = [
        lambda request: (
            httpx.Response(404, json=errors("NAME_UNKNOWN", "unknown"))
            if "tags" in request.url.path
            else None
        )
    ]
    ran = wharf("repositories", HOST, "--tags")
    assert (ran.code, ran.out) == (0, "a\t\n")


def test_an_empty_registry_is_not_an_error(fake: Fake, wharf: Wharf) -> None:
    ran = wharf("repositories", HOST)
    assert (ran.code, ran.out) == (0, "")


def test_the_catalog_may_be_closed(fake: Fake, wharf: Wharf) -> None:
    fake.auth, fake.allowed = "bearer", lambda scope: "catalog" not in scope
    ran = wharf("repositories", HOST, *BOB, input="pw")
    assert (ran.code, ran.err) == (
        3,
        "wharf: the catalog of registry.test is closed to bob (it needs the right `list`): name "
        "the repositories instead (wharf tags HOST/NAME)\n",
    )


def test_the_catalog_may_be_closed_by_403(fake: Fake, wharf: Wharf) -> None:
    fake.auth = "basic"
    fake.before = [
        lambda request: (
            httpx.Response(403, json=errors("DENIED", "no"))
            if "_catalog" in request.url.path and "authorization" in request.headers
            else None
        )
    ]
    ran = wharf("repositories", HOST, *BOB, input="pw")
    assert ran.code == 3
    assert ran.err.startswith("wharf: the catalog of registry.test is closed to bob")


@pytest.mark.parametrize("status", [404, 405, 501])
def test_there_may_be_no_catalog(fake: Fake, wharf: Wharf, status: int) -> None:
    fake.before = [lambda request: httpx.Response(status)]
    ran = wharf("repositories", HOST)
    assert (ran.code, ran.err) == (
        1,
        "wharf: registry.test has no catalog: name the repositories instead (wharf tags "
        "HOST/NAME)\n",
    )


def test_repositories_that_may_not_be_read_are_left_out_and_named(fake: Fake, wharf: Wharf) -> None:
    fake.push("open", "1", image())
    fake.push("secret", "1", image())
    fake.auth, fake.allowed = "bearer", lambda scope: "secret" not in scope
    ran = wharf("repositories", HOST, "--tags", *BOB, input="pw")
    assert (ran.code, ran.out) == (3, "open\t1\n")
    assert ran.err == "wharf: 1 repository left out, which you may not read: secret\n"


def test_a_repository_that_is_not_there(fake: Fake, wharf: Wharf) -> None:
    ran = wharf("tags", f"{HOST}/nothing")
    assert (ran.code, ran.err) == (1, "wharf: registry.test has no repository nothing\n")


@pytest.mark.parametrize(("head", "named"), [(True, True), (True, False), (False, True)])
def test_digests_come_from_head_or_else_from_the_content(
    fake: Fake, wharf: Wharf, head: bool, named: bool
) -> None:
    fake.head, fake.names_digest = head, named
    pushed = fake.push("app", "one", image(("a", 1)))
    child = image(("b", 1))
    two = fake.push("app", "two", index(child))
    ran = wharf("tags", f"{HOST}/app", "--digests")
    assert ran.lines == [
        f"one\t{pushed}\tapplication/vnd.oci.image.manifest.v1+json\t{len(fake.content[pushed])}",
        f"two\t{two}\tapplication/vnd.oci.image.index.v1+json\t{len(fake.content[two])}",
    ]
    assert (fake.counts["GET /v2/app/manifests/one"] == 0) == (head and named)


def test_a_head_that_fails_does_not_start_all_again(
    fake: Fake, wharf: Wharf, pauses: list[float]
) -> None:
    fake.push("app", "one", image())
    fake.before = [
        lambda request: httpx.Response(503) if request.method == "HEAD" else None,
    ]
    ran = wharf("tags", f"{HOST}/app", "--digests")
    assert (ran.code, ran.err) == (
        1,
        "wharf: registry.test answers 503 Service Unavailable when app:one is looked at\n",
    )


def test_a_tag_that_goes_away_meanwhile_is_left_out(fake: Fake, wharf: Wharf) -> None:
    fake.push("app", "one", image(("a", 1)))
    fake.repositories["app"]["two"] = "sha256:" + "0" * 64
    ran = wharf("tags", f"{HOST}/app", "--digests")
    assert [line.split("\t")[0] for line in ran.lines] == ["one"]


def test_names_cannot_control_a_terminal(fake: Fake, wharf: Wharf) -> None:
    fake.repositories["a\x1b]0;owned\x07\nb"] = {}
    assert wharf("repositories", HOST).out == "a ]0;owned b\n"
