"""nginx sends blobs from disk, and its answers equal the registry's own, header by header."""

from __future__ import annotations

import hashlib
import re
from email.utils import formatdate

import pytest

from local.stack import Answer, Stack

REPOSITORY = "someuser/app"
CONTENT = bytes(range(256)) * 4096
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
ETAG = f'"{DIGEST}"'
PULL = ("repository", REPOSITORY, ["pull"])

# These headers belong to the connection, not to the answer.
HOP = {"date", "server", "connection"}


def headers(answer: Answer) -> list[tuple[str, str]]:
    return sorted(pair for pair in answer.headers if pair[0] not in HOP)


@pytest.fixture(scope="module")
def blob(stack: Stack) -> str:
    assert stack.push_blob(REPOSITORY, CONTENT) == DIGEST
    return f"/v2/{REPOSITORY}/blobs/{DIGEST}"


def both(stack: Stack, method: str, path: str, **options: object) -> tuple[Answer, Answer]:
    return stack.proxied(method, path, **options), stack.direct(method, path, **options)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ({}, 200),
        ({"Accept-Encoding": "gzip"}, 200),
        ({"Range": "bytes=0-9"}, 206),
        ({"Range": "bytes=-5"}, 206),
        ({"Range": "bytes=1048570-"}, 206),
        ({"Range": "bytes=0-1", "If-Range": ETAG}, 206),
        ({"Range": "bytes=0-1", "If-Range": '"another"'}, 200),
        ({"If-None-Match": '"another"'}, 200),
        ({"If-None-Match": DIGEST}, 200),
    ],
    ids=str,
)
def test_answer_is_the_registrys_own(
    stack: Stack, blob: str, method: str, condition: dict[str, str], status: int
) -> None:
    token = stack.signer.token(PULL)
    proxied, direct = both(stack, method, blob, token=token, headers=condition)
    assert (proxied.status, direct.status) == (status, status)
    assert headers(proxied) == headers(direct)
    assert proxied.body == direct.body


def test_whole_blob_has_the_documented_headers(stack: Stack, blob: str) -> None:
    """The comparison above with the values written out: a change in the registry gets noticed."""
    answer = stack.proxied("GET", blob, token=stack.signer.token(PULL))
    assert answer.body == CONTENT
    assert dict(headers(answer)) == {
        "accept-ranges": "bytes",
        "cache-control": "max-age=31536000",
        "content-length": str(len(CONTENT)),
        "content-type": "application/octet-stream",
        "docker-content-digest": DIGEST,
        "docker-distribution-api-version": "registry/2.0",
        "etag": ETAG,
        "strict-transport-security": "max-age=63072000",
        "x-content-type-options": "nosniff",
    }


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "condition", [ETAG, f"W/{ETAG}", f'"x", {ETAG}', f'{ETAG} , W/"y"', "*"], ids=str
)
def test_known_blob_is_not_sent_again(stack: Stack, blob: str, method: str, condition: str) -> None:
    """nginx adds a Content-Length of 0 here, which says nothing about the blob (RFC 9111, 3.2)."""
    token = stack.signer.token(PULL)
    proxied, direct = both(stack, method, blob, token=token, headers={"If-None-Match": condition})
    assert (proxied.status, direct.status) == (304, 304)
    assert headers(proxied) == sorted([*headers(direct), ("content-length", "0")])
    assert proxied.body == b""


def test_several_ranges_hold_the_same_parts(stack: Stack, blob: str) -> None:
    token = stack.signer.token(PULL)
    wanted = {"Range": "bytes=0-3,10-12,-2"}
    answers = both(stack, "GET", blob, token=token, headers=wanted)
    parts = []
    for answer in answers:
        assert answer.status == 206
        boundary = re.fullmatch(
            r"multipart/byteranges; boundary=(\S+)", str(answer["Content-Type"])
        )
        assert boundary
        sections = answer.body.split(b"--" + boundary[1].encode())
        halves = [section.strip(b"\r\n").partition(b"\r\n\r\n") for section in sections[1:-1]]
        parts.append([(re.findall(rb"(?i)content-range: (\S+ \S+)", h), b) for h, _, b in halves])
    assert parts[0] == parts[1]
    assert [body for _, body in parts[0]] == [CONTENT[0:4], CONTENT[10:13], CONTENT[-2:]]


def test_the_files_time_is_not_a_condition(stack: Stack, blob: str) -> None:
    """The registry does not know a blob's time. nginx knows the file's, which a restore changes."""
    file = stack.storage / "docker/registry/v2/blobs/sha256" / DIGEST[7:9] / DIGEST[7:] / "data"
    condition = {"If-Modified-Since": formatdate(int(file.stat().st_mtime), usegmt=True)}
    token = stack.signer.token(PULL)
    proxied, direct = both(stack, "HEAD", blob, token=token, headers=condition)
    assert (proxied.status, direct.status) == (200, 200)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_range_past_the_end_is_refused_as_the_registry_does(
    stack: Stack, blob: str, method: str
) -> None:
    token = stack.signer.token(PULL)
    condition = {"Range": "bytes=9999999-"}
    proxied, direct = both(stack, method, blob, token=token, headers=condition)
    assert (proxied.status, direct.status) == (416, 416)
    assert proxied.body == direct.body
    # nginx sets these headers before it looks at the range.
    more = [("accept-ranges", "bytes"), ("cache-control", "max-age=31536000")]
    assert headers(proxied) == sorted([*headers(direct), *more])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_refusals_are_the_registrys_own(stack: Stack, blob: str, method: str) -> None:
    pull, other = stack.signer.token(PULL), ("repository", "other/app", ["pull"])
    for path, token, status in (
        (blob, None, 401),
        (blob, "not.a.token", 401),
        (blob, stack.signer.token(other), 401),
        # Stored, but not in that repository.
        (f"/v2/other/app/blobs/{DIGEST}", stack.signer.token(other), 404),
        (f"/v2/{REPOSITORY}/blobs/sha256:{'0' * 64}", pull, 404),
        (f"/v2/{REPOSITORY}/blobs/sha256:abc", pull, 400),
        (f"/v2/{REPOSITORY}/blobs/sha512:{'0' * 128}", pull, 404),
    ):
        proxied, direct = both(stack, method, path, token=token)
        assert (proxied.status, direct.status) == (status, status), path
        assert headers(proxied) == headers(direct)
        assert proxied.body == direct.body


def test_blob_comes_from_disk_by_nginx(stack: Stack, blob: str) -> None:
    """Without this check every comparison above would also hold without the feature."""
    token = stack.signer.token(PULL)
    assert stack.direct("GET", blob, token=token, port="registry").status == 307
    assert stack.proxied("GET", blob, token=token).body == CONTENT


def test_blob_without_its_file_is_an_error_in_the_registrys_form(stack: Stack) -> None:
    """The registry would answer 200 without a body: its own record says that the blob is there."""
    digest = stack.push_blob(REPOSITORY, b"soon gone")
    path = f"/v2/{REPOSITORY}/blobs/{digest}"
    file = stack.storage / "docker/registry/v2/blobs/sha256" / digest[7:9] / digest[7:] / "data"
    file.chmod(0)
    token = stack.signer.token(PULL)
    unreadable = stack.proxied("GET", path, token=token)
    assert (unreadable.status, unreadable.code) == (500, "UNKNOWN")
    assert unreadable["Content-Type"] == "application/json"


@pytest.mark.parametrize("linked", ["file", "directory"])
def test_link_planted_in_the_storage_is_not_followed(stack: Stack, linked: str) -> None:
    """An attacker in the registry's container could plant one to read what nginx can read."""
    outside = stack.folder / f"outside-{linked}"
    outside.mkdir()
    (outside / "data").write_bytes(b"somebody else's")
    (outside / "data").chmod(0o644)
    digest = stack.push_blob(REPOSITORY, f"to be replaced, {linked}".encode())
    path = f"/v2/{REPOSITORY}/blobs/{digest}"
    token = stack.signer.token(PULL)
    assert stack.proxied("GET", path, token=token).status == 200
    blob = stack.storage / "docker/registry/v2/blobs/sha256" / digest[7:9] / digest[7:]
    if linked == "file":
        (blob / "data").unlink()
        (blob / "data").symlink_to(outside / "data")
    else:
        (blob / "data").unlink()
        blob.rmdir()
        blob.symlink_to(outside)
    # The registry itself follows the link, so this tests nginx.
    assert stack.direct("HEAD", path, token=token).status == 200
    for method in ("GET", "HEAD"):
        answer = stack.proxied(method, path, token=token)
        assert answer.status == 500
        assert b"somebody" not in answer.body


def test_foreign_redirect_never_reaches_a_client(registry_elsewhere: Stack) -> None:
    """A registry may redirect to another place because of a mistake in its configuration."""
    digest = registry_elsewhere.push_blob(REPOSITORY, b"x")
    answer = registry_elsewhere.proxied(
        "GET",
        f"/v2/{REPOSITORY}/blobs/{digest}",
        token=registry_elsewhere.signer.token(PULL),
    )
    assert (answer.status, answer.code) == (502, "UNAVAILABLE")
    assert answer["Location"] is None
    assert b"elsewhere" not in answer.body
