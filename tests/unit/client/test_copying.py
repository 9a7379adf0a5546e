"""`wharf copy`."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.unit.client.conftest import Wharf
from tests.unit.client.registry import CACHED, HOST, Fake, cache, digest, errors, image, index

LAYER = b"a layer"


@pytest.fixture
def app(fake: Fake) -> str:
    data = image(layers=[{"mediaType": "x", "digest": digest(LAYER), "size": len(LAYER)}])
    fake.push("app", None, data)
    fake.content[digest(LAYER)] = LAYER
    fake.blobs["app"].add(digest(LAYER))
    return fake.push("app", "1", index(data))


def test_within_a_registry_blobs_are_mounted(fake: Fake, wharf: Wharf, app: str) -> None:
    fake.auth = "bearer"
    ran = wharf(
        "copy", f"{HOST}/app:1", f"{HOST}/release/app",
        "--user", "bob", "--password-stdin", input="pw",
    )  # fmt: skip
    assert (ran.code, ran.out) == (
        0,
        f"{HOST}/release/app:1 is {app} (2 manifests, 2 blobs, 0 of them copied)\n",
    )
    # A registry mounts a blob only if the token allows reading it in its repository.
    mounts = [request for request in fake.requests if request.url.params.get("mount")]
    for request in mounts:
        held = fake.tokens[request.headers["authorization"].removeprefix("Bearer ")]
        assert held == ["repository:release/app:pull,push", "repository:app:pull"]
    assert len(mounts) == 1  # the configuration already exists
    assert fake.repositories["release/app"] == {"1": app}
    assert digest(LAYER) in fake.blobs["release/app"]
    puts = [request.url.path for request in fake.requests if request.method == "PUT"]
    assert puts[-1] == "/v2/release/app/manifests/1"


def test_if_mounting_fails_the_bytes_are_sent(fake: Fake, wharf: Wharf, app: str) -> None:
    fake.before = [
        lambda request: (
            httpx.Response(202, headers={"Location": "/v2/x/blobs/uploads/1"})
            if request.method == "POST"
            else None
        )
    ]
    assert "1 of them copied" in wharf("copy", f"{HOST}/app:1", f"{HOST}/x:2").out
    assert fake.repositories["x"] == {"2": app}


def located(fake: Fake, location: str) -> None:
    """Makes uploads go to this address."""
    fake.before = [
        lambda request: (
            httpx.Response(202, headers={"Location": location})
            if request.method == "POST"
            else httpx.Response(201)
            if request.url.host != HOST and request.url.host != "tokens.test"
            else None
        )
    ]


def test_an_upload_elsewhere_gets_no_login(fake: Fake, wharf: Wharf, app: str) -> None:
    fake.auth = "basic"
    located(fake, "https://storage.test/upload?signed=1")
    arguments = ("--user", "bob", "--password-stdin")
    assert wharf("copy", f"{HOST}/app:1", f"{HOST}/x", *arguments, input="pw").code == 0
    uploads = [request for request in fake.requests if request.url.host == "storage.test"]
    assert uploads
    assert all("authorization" not in request.headers for request in uploads)
    assert {request.url.params["signed"] for request in uploads} == {"1"}


def test_an_upload_without_tls_is_refused(fake: Fake, wharf: Wharf, app: str) -> None:
    located(fake, f"http://{HOST}/v2/x/blobs/uploads/1")
    ran = wharf("copy", f"{HOST}/app:1", f"{HOST}/x")
    assert (ran.code, ran.err) == (
        1,
        f"wharf: {HOST} gives an address without TLS ({HOST}): wharf does not go there; the "
        "registry does not know under which address it is reached (http.host, "
        "X-Forwarded-Proto)\n",
    )


def test_a_digest_alone_stays_without_a_tag(fake: Fake, wharf: Wharf, app: str) -> None:
    ran = wharf("copy", f"{HOST}/app@{app}", f"{HOST}/x")
    assert ran.out.startswith(f"{HOST}/x is {app} (")
    assert fake.repositories["x"] == {}


def test_a_refused_push_shows_the_registrys_message(fake: Fake, wharf: Wharf, app: str) -> None:
    fake.before = [
        lambda request: (
            httpx.Response(403, json=errors("DENIED", "no")) if request.method == "POST" else None
        )
    ]
    ran = wharf("copy", f"{HOST}/app:1", f"{HOST}/x")
    assert ran.code == 3
    assert f"answers 403 Forbidden when the blob {digest(LAYER)} of x is pushed" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (f"{HOST}/app:1", f"{HOST}/x@sha256:{'0' * 64}"),
            f"'{HOST}/x@sha256:{'0' * 64}': the digest follows from the content: write REPO or "
            "REPO:TAG",
        ),
        (
            (f"{HOST}/app:1", "other.test/x", "--user", "bob"),
            "--user would be one login for two registries: log in to both with wharf login",
        ),
    ],
)
def test_what_cannot_be_copied(
    fake: Fake, wharf: Wharf, arguments: tuple[str, ...], message: str
) -> None:
    ran = wharf("copy", *arguments)
    assert (ran.code, ran.err) == (2, f"wharf: {message}\n")


def test_a_build_cache_is_copied_with_its_layers(fake: Fake, wharf: Wharf) -> None:
    name = fake.push("app", "cache", cache())
    for data in (CACHED, b"{}"):
        fake.content[digest(data)] = data
        fake.blobs["app"].add(digest(data))
    ran = wharf("copy", f"{HOST}/app:cache", f"{HOST}/other")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{HOST}/other:cache is {name} (1 manifest, 2 blobs, 0 of them copied)\n"
    assert {digest(CACHED), digest(b"{}")} < fake.blobs["other"]


@pytest.fixture
def sparse(fake: Fake) -> tuple[bytes, bytes]:
    """base:1 in the registry, an index of two images; only the first is there. Returns it and the
    index."""
    here, absent = image(layers=[]), image(("absent", 9))
    fake.push("base", None, here)
    whole = index(here, absent)
    fake.push("base", "1", whole)
    return here, whole


def test_an_index_is_copied_without_what_is_not_mirrored(
    fake: Fake, wharf: Wharf, sparse: tuple[bytes, bytes]
) -> None:
    _, whole = sparse
    fake.takes_sparse = True
    ran = wharf("copy", f"{HOST}/base:1", f"{HOST}/other")
    assert (ran.code, ran.out) == (
        0,
        f"{HOST}/other:1 is {digest(whole)} (2 manifests, 1 blobs, 0 of them copied; 1 manifest is "
        "not mirrored)\n",
    )


def test_a_registry_that_takes_only_whole_images_is_explained(
    fake: Fake, wharf: Wharf, sparse: tuple[bytes, bytes]
) -> None:
    here, whole = sparse
    absent = json.loads(whole)["manifests"][1]["digest"]
    ran = wharf("copy", f"{HOST}/base:1", f"{HOST}/other")
    assert ran.code == 1
    assert ran.err == (
        f"wharf: {HOST} answers 400 Bad Request when other:1 is pushed "
        f"(MANIFEST_BLOB_UNKNOWN: blob unknown: {absent}); at {HOST}, 1 manifest is not mirrored, "
        f"and {HOST} may take only whole images: copy one "
        f"platform by its digest: wharf copy {HOST}/base@{digest(here)} {HOST}/other\n"
    )
