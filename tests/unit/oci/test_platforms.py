"""Which members of an index a mirror keeps."""

from __future__ import annotations

from typing import Any

import pytest

from wharfinger.oci.platforms import Platforms


def entry(digest: str, platform: str, about: str | None = None) -> dict[str, Any]:
    parts = zip(("os", "architecture", "variant"), platform.split("/"), strict=False)
    made: dict[str, Any] = {"digest": digest, "platform": dict(parts)}
    if about:
        made["annotations"] = {"vnd.docker.reference.digest": about}
    return made


INDEX = {
    "manifests": [
        entry("a", "linux/amd64"),
        entry("b", "linux/arm64/v8"),
        entry("c", "linux/arm/v7"),
        entry("of a", "unknown/unknown", about="a"),
        entry("of b", "unknown/unknown", about="b"),
        {"digest": "plain"},
    ]
}


@pytest.mark.parametrize(
    ("platforms", "kept"),
    [
        ([], ["a", "b", "c", "of a", "of b", "plain"]),
        (["linux/amd64"], ["a", "of a", "plain"]),
        (["linux/arm64"], ["b", "of b", "plain"]),
        (["linux/arm64/v8", "linux/amd64"], ["a", "b", "of a", "of b", "plain"]),
        (["linux/arm"], ["c", "plain"]),
        (["linux/arm/v6"], ["plain"]),
    ],
)
def test_a_platform_is_kept_with_its_attestations(platforms: list[str], kept: list[str]) -> None:
    wanted = Platforms(platforms)
    digests = [str(member["digest"]) for member in INDEX["manifests"]]
    assert [digest for digest in digests if wanted.keeps(INDEX, digest)] == kept


def test_a_platform_that_an_index_has_not_is_named() -> None:
    assert Platforms(["linux/amd64", "linux/s390x"]).missing_in(INDEX) == ["linux/s390x"]
    assert Platforms(["linux/amd64"]).missing_in({}) == []


@pytest.mark.parametrize("odd", [{}, {"manifests": 3}, {"manifests": [1, {"platform": 2}]}])
def test_an_odd_index_has_an_answer(odd: dict[str, Any]) -> None:
    assert Platforms(["linux/amd64"]).keeps(odd, "a") is False
    assert Platforms(["linux/amd64"]).missing_in(odd) == []
