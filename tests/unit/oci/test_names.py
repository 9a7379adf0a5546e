"""The grammar of names, and of references that contain them."""

from __future__ import annotations

import pytest

from wharfinger.images.plan import REFERENCE
from wharfinger.oci.names import HOST, REPOSITORY, TAG


@pytest.mark.parametrize("name", ["a", "a/b", "a-b/c_d/e__f/g.h", "a---b", "0/1", "library/debian"])
def test_repositories(name: str) -> None:
    assert REPOSITORY.fullmatch(name)


@pytest.mark.parametrize("name", ["", "A", "a//b", "/a", "a/", "a..b", "a___b", "-a", "a-", "a\n"])
def test_what_is_not_a_repository(name: str) -> None:
    assert not REPOSITORY.fullmatch(name)


def test_tags() -> None:
    assert all(TAG.fullmatch(tag) for tag in ("latest", "_", "1.2-rc_3", "x" * 128))
    assert not any(TAG.fullmatch(tag) for tag in ("", ".a", "-a", "a/b", "x" * 129, "a\n"))


def test_hosts() -> None:
    assert all(HOST.fullmatch(host) for host in ("localhost", "r.test:5000", "[::1]:5000", "R"))
    assert not any(HOST.fullmatch(host) for host in ("", "-r", "r-", "r:", "r:123456", "r/t"))


@pytest.mark.parametrize(
    ("reference", "is_one"),
    [
        ("registry", True),
        ("docker.io/library/registry:3.1.2", True),
        ("[::1]:5000/a/b:1", True),
        (f"r.test:5000/a@sha256:{'0' * 64}", True),
        (f"r.test/a:1@sha256:{'0' * 64}", True),
        ("r.test/A", False),
        ("r.test/a..b", False),
        (f"a:{'x' * 129}", False),
        (f"a@sha256:{'0' * 63}", False),
        ("https://r.test/a", False),
    ],
)
def test_what_an_engine_can_pull(reference: str, is_one: bool) -> None:
    assert bool(REFERENCE.fullmatch(reference)) == is_one
