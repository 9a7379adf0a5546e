"""A client's mistake is never answered as if the server were at fault: no 5xx, whatever is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from local.stack import NAME, Answer, Stack, running

REPOSITORY = "someuser/mistakes"
ACCESS = ("repository", REPOSITORY, ["pull", "push", "delete"])
INDEX = "application/vnd.oci.image.index.v1+json"
CATALOG = ("registry", "catalog", ["*"])
LIST = f"/v2/{REPOSITORY}/tags/list"
TOO_LONG = "the address is too long"
MALFORMED = "the request is malformed, or its headers are too large"
CHUNK = "a chunk of a blob is sent as application/octet-stream"


def call(stack: Stack, method: str, path: str, **options: object) -> Answer:
    return stack.proxied(method, path, token=stack.signer.token(ACCESS, CATALOG), **options)


def message(answer: Answer) -> str:
    assert answer["Content-Type"] == "application/json"
    return str(json.loads(answer.body)["errors"][0]["message"])


# -- long addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize("signed_in", [True, False])
@pytest.mark.parametrize("size", [8_200, 20_000, 32_000])
@pytest.mark.parametrize(
    "path",
    [
        *("/v2/{}/tags/list", "/v2/{}/manifests/latest", "/v2/{}/blobs/uploads/", "/v2/{}"),
        *("/v2/a/b/manifests/{}", "/v2/a/b/blobs/{}", "/v2/a/b/blobs/uploads/{}"),
        *("/v2/a/b/tags/list?last={}", "/v2/_catalog?last={}", "/v2/?x={}", "/v2/{}/tags/list/"),
        "/v2/a/b/blobs/uploads/?mount=sha256:0&from={}",
    ],
)
def test_an_address_that_is_too_long_is_answered_with_414(
    stack: Stack, path: str, size: int, signed_in: bool
) -> None:
    token = stack.signer.token(ACCESS) if signed_in else None
    for method, name in (("GET", "a" * size), ("POST", "a/" * (size // 2) + "a")):
        answer = stack.proxied(method, path.format(name), token=token)
        assert (answer.status, message(answer)) == (414, TOO_LONG)


@pytest.mark.parametrize("path", ["/v2/{}/tags/list", "/auth?scope={}", "/{}"])
def test_an_address_too_long_for_nginx_is_answered_with_414(stack: Stack, path: str) -> None:
    answer = stack.proxied("GET", path.format("a" * 40_000))
    assert (answer.status, message(answer)) == (414, TOO_LONG)


def test_a_long_address_of_the_token_server_is_its_own_matter(stack: Stack) -> None:
    """Such an address names a scope for each repository."""
    path = "/auth?" + "&".join(f"scope=repository:team/app-{n}:pull" for n in range(800))
    assert 27_000 < len(path) < 32_000
    answer = stack.proxied("GET", path)
    assert (answer.status, json.loads(answer.body)["path"]) == (200, path)


def test_the_longest_names_that_there_are_reach_the_registry(stack: Stack) -> None:
    name = "a/" * 127 + "a"
    token = stack.signer.token(("repository", name, ["pull", "push"]))
    started = stack.proxied("POST", f"/v2/{name}/blobs/uploads/", token=token)
    assert started.status == 202
    location = str(started["Location"]).split(f":{stack.port}", 1)[1]
    assert stack.proxied("PATCH", location, token=token, body=b"x").status == 202
    missing = stack.proxied("GET", f"/v2/{name}/manifests/{'t' * 128}", token=token)
    assert (missing.status, missing.code) == (404, "MANIFEST_UNKNOWN")
    last = quote(name, safe="")
    assert call(stack, "GET", f"/v2/_catalog?last={last}").status == 200


# -- what the registry takes for its own fault -----------------------------------------------------


def upload(stack: Stack) -> str:
    started = call(stack, "POST", f"/v2/{REPOSITORY}/blobs/uploads/")
    assert started.status == 202
    return str(started["Location"]).split(f":{stack.port}", 1)[1]


@pytest.mark.parametrize("value", ["a" * 256, "a" * 5_000, "%61" * 256, "%00", "a%00b", "a/" * 200])
@pytest.mark.parametrize("path", [LIST, "/v2/_catalog"])
def test_a_list_cannot_go_on_after_an_invalid_name(stack: Stack, path: str, value: str) -> None:
    for query in (f"last={value}", f"n=5&last={value}", f"last={value}&n=5"):
        answer = call(stack, "GET", f"{path}?{query}")
        assert (answer.status, message(answer)) == (400, MALFORMED)


@pytest.mark.parametrize("value", ["", "a", "zz", "%zz", "%ff", "a/b/", "..", "a" * 255])
def test_a_list_goes_on_after_any_other_word(stack: Stack, value: str) -> None:
    call(stack, "POST", f"/v2/{REPOSITORY}/blobs/uploads/")
    assert call(stack, "GET", f"/v2/_catalog?last={value}").status == 200
    assert call(stack, "GET", f"/v2/_catalog?blast={'a' * 300}").status == 200


@pytest.mark.parametrize("name", ["x" * 256, "x" * 5_000])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "PUT", "DELETE"])
def test_an_upload_has_no_such_name(stack: Stack, method: str, name: str) -> None:
    answer = call(stack, method, f"/v2/{REPOSITORY}/blobs/uploads/{name}")
    assert answer.status == 414


@pytest.mark.parametrize(
    "value",
    [
        *("x", "-", "--", "0-", "-5", "0 - 4", "bytes", "bytes 0-4/5", "bytes=0-4", "0-4/5"),
        *("0-4,5-6", "0-99999999999999999999", "99999999999999999999-0", "0--4", "+0-4"),
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_chunks_place_is_two_numbers(stack: Stack, method: str, value: str) -> None:
    headers = {"Content-Range": value, "Content-Type": "application/octet-stream"}
    answer = call(stack, method, upload(stack), headers=headers, body=b"hello")
    assert (answer.status, message(answer)) == (400, MALFORMED)


def test_a_chunk_in_its_place_is_taken_and_one_elsewhere_refused_by_the_registry(
    stack: Stack,
) -> None:
    path = upload(stack)
    headers = {"Content-Range": "0-4", "Content-Type": "application/octet-stream"}
    assert call(stack, "PATCH", path, headers=headers, body=b"hello").status == 202
    for value in ("4-0", "1-5", "5-9"):
        headers = {"Content-Range": value}
        answer = call(stack, "PATCH", upload(stack), headers=headers, body=b"hello")
        assert (answer.status, answer.code) == (416, "RANGE_INVALID")


@pytest.mark.parametrize(
    "value", ["text/plain", "application/json", "application/octet-stream; a=b"]
)
def test_a_chunk_is_of_bytes(stack: Stack, value: str) -> None:
    headers = {"Content-Type": value}
    answer = call(stack, "PATCH", upload(stack), headers=headers, body=b"hello")
    assert (answer.status, message(answer)) == (415, CHUNK)
    # At the end of an upload the registry accepts any type.
    path = f"{upload(stack)}&digest=sha256:{'0' * 64}"
    assert call(stack, "PUT", path, headers=headers, body=b"hello").code == "DIGEST_INVALID"


@pytest.mark.parametrize(
    "digest", ["sha256:" + "0" * 64, "sha256:0", "sha1:" + "0" * 40, "x", "sha512:" + "0" * 128]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT", "POST", "PATCH"])
def test_the_registrys_error_for_a_blob_is_passed_on(
    stack: Stack, method: str, digest: str
) -> None:
    path = f"/v2/{REPOSITORY}/blobs/{digest}"
    proxied = call(stack, method, path)
    direct = stack.direct(method, path, token=stack.signer.token(ACCESS))
    assert 400 <= proxied.status < 500
    assert (proxied.status, proxied["Content-Type"]) == (direct.status, direct["Content-Type"])
    assert proxied.body == direct.body


def test_a_blobs_address_with_two_readings_is_a_malformed_request(stack: Stack) -> None:
    answer = call(stack, "GET", f"/v2/{REPOSITORY}%2fx/blobs/sha256:{'0' * 64}")
    assert (answer.status, message(answer)) == (400, MALFORMED)


# -- what nginx answers by itself ------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        *(f"Transfer-Encoding: {coding}" for coding in ("gzip", "identity", "gzip, chunked", "x")),
        "HTTP/2.0",
        "HTTP/9.9",
    ],
)
def test_what_nginx_does_not_know_is_a_malformed_request(stack: Stack, line: str) -> None:
    version, _, header = ("HTTP/1.1", "", line) if ":" in line else (line, "", "X: y")
    request = f"PUT /v2/ {version}\r\nHost: {NAME}\r\nConnection: close\r\n{header}\r\n\r\n"
    head, _, body = stack.raw(request.encode()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["errors"][0]["message"] == MALFORMED


# -- the catalog -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_pages(registry: Path, _possible: None) -> Iterator[Stack]:
    """A registry with seven repositories that lists three at a time."""
    with running("token", registry, {"catalog": {"maxentries": 3}}) as started:
        for number in range(7):
            name = f"team/app-{number}"
            stored = started.direct(
                "PUT",
                f"/v2/{name}/manifests/latest",
                token=started.signer.token(("repository", name, ["pull", "push"])),
                headers={"Content-Type": INDEX},
                body=json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}),
            )
            assert stored.status == 201
        yield started


@pytest.mark.parametrize(
    "first",
    [
        *("n=4", "n=10", "n=10000", "n=004", f"n={'9' * 30}", "last=&n=10000", "n=10000&last="),
        *("x=1&n=10000", "n=10000&n=1", "xn=5&n=10000"),
    ],
)
def test_a_page_of_too_many_repositories_is_cut_to_the_limit(
    small_pages: Stack, first: str
) -> None:
    path, names = f"/v2/_catalog?{first}", []
    while path:
        answer = call(small_pages, "GET", path)
        assert answer.status == 200, answer.body
        page = json.loads(answer.body)["repositories"]
        assert len(page) <= 3
        names += page
        link = answer["Link"]
        path = link.partition("<")[2].partition(">")[0] if link else ""
        assert not path or path == f"/v2/_catalog?last={quote(names[-1], safe='')}&n=3"
    assert names == [f"team/app-{number}" for number in range(7)]


@pytest.mark.parametrize("query", ["n=0", "n=1", "n=3", "", "n=1&n=10000", "N=10000", "xn=10000"])
def test_any_other_page_is_the_registrys_own(small_pages: Stack, query: str) -> None:
    path = f"/v2/_catalog?{query}"
    token = small_pages.signer.token(CATALOG)
    proxied, direct = (
        ask("GET", path, token=token) for ask in (small_pages.proxied, small_pages.direct)
    )
    assert (proxied.status, proxied.body, proxied["Link"]) == (200, direct.body, direct["Link"])


@pytest.mark.parametrize("query", ["n=-1", "n=x", "n=1e9", "n=+5"])
def test_the_registry_refuses_a_page_size_that_is_not_a_number(
    small_pages: Stack, query: str
) -> None:
    answer = call(small_pages, "GET", f"/v2/_catalog?{query}")
    assert (answer.status, answer.code) == (400, "PAGINATION_NUMBER_INVALID")
    assert small_pages.proxied("GET", "/v2/_catalog?n=10000").status == 401
