"""How repositories, tags and digests are written."""

from __future__ import annotations

import pytest

from wharfinger.client.errors import UsageError
from wharfinger.client.references import Reference, reference, registry, repository_only

HEX = "a" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("reg.example/app", Reference("reg.example", "app")),
        ("reg.example/team/app:1.2", Reference("reg.example", "team/app", "1.2")),
        ("host:5000/team/app", Reference("host:5000", "team/app")),
        ("localhost/app:x", Reference("localhost", "app", "x")),
        ("[::1]:5000/app", Reference("[::1]:5000", "app")),
        (
            f"reg.example/app:1@sha256:{HEX}",
            Reference("reg.example", "app", "1", f"sha256:{HEX}"),
        ),
        ("docker.io/debian:13", Reference("docker.io", "library/debian", "13")),
    ],
)
def test_a_reference_is_read_as_docker_reads_it(text: str, expected: Reference) -> None:
    assert reference(text) == expected


@pytest.mark.parametrize("text", ["team/app:1", "app:1", "app.v2:1"])
def test_with_wharf_registry_names_may_be_short(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHARF_REGISTRY", "reg.example:5000")
    assert str(reference(text)) == f"reg.example:5000/{text}"
    assert registry(None) == "reg.example:5000"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "team/app",
            "'team/app' names no registry: write HOST[:PORT]/team/app, or set "
            "WHARF_REGISTRY=HOST[:PORT]",
        ),
        (
            "https://bob:secret@reg.example/app",
            "write HOST[:PORT] or HOST[:PORT]/NAME, without https:// before it",
        ),
        (
            "reg.example/",
            "'reg.example/' names a registry, not a repository: write reg.example/NAME",
        ),
        (
            "reg.example/Team/app",
            "'Team/app' is not the name of a repository: lower-case letters and digits, with . _ - "
            "between them, in segments separated by /",
        ),
        (
            "reg.example/app:",
            "'' is not a tag: at most 128 letters, digits, dots, hyphens and underscores, not "
            "beginning with a dot or hyphen",
        ),
        (
            "reg.example/app@sha256:abc",
            "'reg.example/app@sha256:abc': after the @ comes a digest, such as sha256: and 64 "
            "hexadecimal digits",
        ),
        ("-bad-.x/app", "'-bad-.x' is not a registry: write HOST or HOST:PORT"),
    ],
)
def test_a_malformed_reference_is_reported_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        reference(text)
    assert str(error.value) == message


def test_a_registry_must_be_named() -> None:
    with pytest.raises(UsageError) as error:
        registry(None)
    assert str(error.value) == (
        "which registry? Write its HOST[:PORT] after the command, or set WHARF_REGISTRY=HOST[:PORT]"
    )


def test_a_whole_repository_is_named_without_tag() -> None:
    with pytest.raises(UsageError) as error:
        repository_only("reg.example/app:1")
    assert str(error.value) == (
        "'reg.example/app:1' names a tag or digest: write the repository alone, reg.example/app"
    )
