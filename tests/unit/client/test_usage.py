"""`wharf du`."""

from __future__ import annotations

import pytest

from tests.unit.client.conftest import Wharf
from tests.unit.client.registry import CONFIGURATION, HOST, Fake, cache, digest, image, index

SHARED, OWN = 1000, 500
CONFIG = len(CONFIGURATION)


@pytest.fixture
def images(fake: Fake) -> tuple[bytes, bytes]:
    first, second = image(("shared", SHARED), ("own", OWN)), image(("shared", SHARED))
    fake.push("team/one", "1", first)
    fake.push("team/one", "latest", first)
    fake.push("team/other", "1", second)
    return first, second


def test_each_blob_counts_once_and_what_is_shared_is_shown(
    fake: Fake, wharf: Wharf, images: tuple[bytes, bytes]
) -> None:
    first, second = images
    ran = wharf("du", HOST)
    size = SHARED + OWN + CONFIG + len(first)
    smaller = SHARED + CONFIG + len(second)
    shared = SHARED + CONFIG
    total = size + smaller - shared
    assert ran.lines == [
        f"team/one\t2\t{2 * size}\t{size}\t{shared}",
        f"team/other\t1\t{smaller}\t{smaller}\t{shared}",
        f"(total)\t3\t{2 * size + smaller}\t{total}\t{shared}",
    ]


def test_a_repository_alone_shares_with_nobody(
    fake: Fake, wharf: Wharf, images: tuple[bytes, bytes]
) -> None:
    usage = wharf("du", f"{HOST}/team/one", "--json").json
    assert usage["repositories"][0]["shared"] == 0
    assert usage["total"]["size"] == usage["repositories"][0]["size"]


def test_an_index_counts_its_children_and_what_is_elsewhere_does_not(
    fake: Fake, wharf: Wharf
) -> None:
    far = {"mediaType": "x", "digest": digest(b"far"), "size": 9_000, "urls": ["https://far"]}
    child = image(layers=[far, {"mediaType": "x", "digest": digest(b"near"), "size": 7}])
    fake.push("app", None, child)
    whole = index(child)
    fake.push("app", "1", whole)
    fake.push("app", "outer", index(whole))
    total = wharf("du", f"{HOST}/app", "--json").json["total"]
    outer = len(index(whole))
    inner = len(whole) + len(child) + 7 + CONFIG
    assert (total["size"], total["logical"]) == (outer + inner, outer + 2 * inner)


def test_what_is_not_mirrored_is_named_and_no_damage(fake: Fake, wharf: Wharf) -> None:
    here, absent = image(("here", 10)), image(("absent", 20))
    fake.push("app", None, here)
    whole = index(here, absent)
    fake.push("app", "1", whole)
    ran = wharf("du", f"{HOST}/app")
    assert ran.code == 0
    assert ran.err == (
        f"wharf: {HOST}/app: not mirrored, so not counted: 1 of the manifests that its indexes "
        "name\n"
    )
    assert ran.lines[0].split("\t")[3] == str(len(whole) + len(here) + 10 + CONFIG)


def test_damaged_manifests_are_named(fake: Fake, wharf: Wharf) -> None:
    child = image(("a", 1))
    fake.push("app", None, child)
    fake.push("app", "1", index(child))
    fake.push("app", "broken", b"{")
    ran = wharf("du", f"{HOST}/app")
    assert ran.code == 1
    assert ran.err == (
        f"wharf: {HOST}/app: unreadable, so not counted: broken\n"
        f"wharf: something at {HOST} is damaged: its operator can check it\n"
    )
    assert ran.lines[0].startswith("app\t1\t")


def test_repositories_that_may_not_be_read_are_left_out(
    fake: Fake, wharf: Wharf, images: tuple[bytes, bytes]
) -> None:
    fake.auth, fake.allowed = "bearer", lambda scope: "team/other" not in scope
    ran = wharf("du", HOST, "--user", "bob", "--password-stdin", input="pw")
    assert (ran.code, [line.split("\t")[0] for line in ran.lines]) == (3, ["team/one", "(total)"])
    assert ran.err == "wharf: 1 repository left out, which you may not read: team/other\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (HOST, f"{HOST}/a"),
            f"{HOST} is a whole registry: name it alone, or repositories in it",
        ),
        (
            (f"{HOST}/a", "other.test/b"),
            "one registry at a time: other.test, registry.test share no blobs anyway",
        ),
        (
            (f"{HOST}/a:1",),
            f"'{HOST}/a:1' names a tag or digest: write the repository alone, {HOST}/a",
        ),
        (
            (),
            "which registry? Write its HOST[:PORT] after the command, or set "
            "WHARF_REGISTRY=HOST[:PORT]",
        ),
    ],
)
def test_arguments_that_cannot_be_summed_up(
    fake: Fake, wharf: Wharf, arguments: tuple[str, ...], message: str
) -> None:
    ran = wharf("du", *arguments)
    assert (ran.code, ran.err) == (2, f"wharf: {message}\n")


def test_a_repository_that_is_named_must_be_there(fake: Fake, wharf: Wharf) -> None:
    ran = wharf("du", f"{HOST}/nothing")
    assert (ran.code, ran.err) == (1, "wharf: registry.test has no repository nothing\n")


def test_a_build_cache_counts_its_layers(fake: Fake, wharf: Wharf) -> None:
    fake.push("app", "cache", cache())
    ran = wharf("du", f"{HOST}/app")
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[0] == f"app\t1\t{len(cache()) + 42}\t{len(cache()) + 42}\t0"
