"""Digests, and the tags that are derived from them."""

from __future__ import annotations

import pytest

from wharfinger.oci.digests import (
    ANY_DIGEST,
    DIGEST,
    SHA256,
    digest_of,
    is_list_tag,
    list_tag,
    subject_of,
)

# FIPS 180-2, appendices B.1 and C.1: the digests of "abc".
ABC = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
ABC_512 = (
    "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
)


def test_the_algorithm_is_that_of_the_digest_to_compare_with() -> None:
    assert digest_of(b"abc") == digest_of(b"abc", ABC) == digest_of(b"abc", "md5:0") == ABC
    assert digest_of(b"abc", ABC_512) == ABC_512


@pytest.mark.parametrize(
    ("text", "sha256", "known", "any_algorithm"),
    [
        (ABC, True, True, True),
        (ABC_512, False, True, True),
        (f"sha512:{'0' * 64}", False, False, True),
        (ABC.upper(), False, False, False),
        (ABC[:-1], False, False, True),
        (f"{ABC}\n", False, False, False),
        (f"blake3+x:{'z' * 32}", False, False, True),
        ("latest", False, False, False),
    ],
)
def test_what_a_digest_looks_like(
    text: str, sha256: bool, known: bool, any_algorithm: bool
) -> None:
    patterns = (SHA256, DIGEST, ANY_DIGEST)
    assert [pattern.fullmatch(text) is not None for pattern in patterns] == [
        sha256,
        known,
        any_algorithm,
    ]


def test_tags_that_belong_to_a_manifest() -> None:
    tag = ABC.replace(":", "-")
    assert list_tag(ABC) == tag
    assert list_tag(ABC_512) == ABC_512.replace(":", "-")[: len("sha512-") + 64]
    assert subject_of(f"{tag}.sig") == subject_of(tag) == ABC
    assert subject_of("latest") is None
    assert is_list_tag(tag, ABC_512)
    assert not is_list_tag(tag, ABC)
