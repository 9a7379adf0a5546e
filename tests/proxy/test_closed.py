"""While the registry takes no writes, it refuses them as registries do, and reading goes on."""

from __future__ import annotations

import json

import pytest

from local.stack import Stack

REPOSITORY = "closed/app"
ALL = ("repository", REPOSITORY, ["pull", "push", "delete"])
# 2026-11-24 03:30 UTC
UNTIL = 1795491000.0
SENTENCES = {
    503: (
        "UNAVAILABLE",
        "the registry is being tidied up and takes no changes for a moment: pulling goes on, try "
        "again",
    ),
    429: (
        "TOOMANYREQUESTS",
        "the registry is being tidied up and takes no changes until 03:30 UTC at the latest: "
        "pulling goes on",
    ),
}
DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize("status", [503, 429])
def test_writes_are_refused_with_a_sentence_and_reading_goes_on(stack: Stack, status: int) -> None:
    content = f"read while closed, {status}".encode()
    digest = stack.push_blob(REPOSITORY, content)
    token = stack.signer.token(ALL)
    writes = [
        ("POST", f"/v2/{REPOSITORY}/blobs/uploads/"),
        ("POST", f"/v2/{REPOSITORY}/blobs/uploads/?mount={digest}&from={REPOSITORY}"),
        ("PATCH", f"/v2/{REPOSITORY}/blobs/uploads/01a20f36-ddf3-7433-9783-80170b2b246c"),
        ("PUT", f"/v2/{REPOSITORY}/blobs/uploads/01a20f36-ddf3-7433-9783-80170b2b246c"),
        ("PUT", f"/v2/{REPOSITORY}/manifests/latest"),
        ("DELETE", f"/v2/{REPOSITORY}/manifests/{DIGEST}"),
        ("DELETE", f"/v2/{REPOSITORY}/blobs/{digest}"),
    ]
    with stack.closed(status, UNTIL):
        for method, path in writes:
            answer = stack.proxied(method, path, token=token, body=b"{}")
            assert answer.status == status, (method, path)
            assert answer["Content-Type"] == "application/json"
            code, message = SENTENCES[status]
            assert json.loads(answer.body) == {"errors": [{"code": code, "message": message}]}
        read = stack.proxied("GET", f"/v2/{REPOSITORY}/blobs/{digest}", token=token)
        assert (read.status, read.body) == (200, content)
        assert stack.proxied("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}", token=token).status == 200
        assert stack.proxied("GET", f"/v2/{REPOSITORY}/tags/list", token=token).status == 404
        # A login is also a POST, but it is not a write.
        assert stack.proxied("POST", "/auth/token", body=b"grant_type=password").status == 200
    assert stack.proxied("GET", f"/v2/{REPOSITORY}/blobs/{digest}", token=token).body == content
    assert stack.push_blob(REPOSITORY, content + b" and after")


def test_writes_to_a_repository_that_is_being_restored_are_refused_and_to_no_other(
    stack: Stack,
) -> None:
    others = ("closed/app2", "closed/app/below", "also/closed/app")
    digest = stack.push_blob(REPOSITORY, b"read while restored")
    token = stack.signer.token(ALL)
    message = (
        "this repository is being restored and takes no changes for a moment: pulling goes on, "
        "try again"
    )
    with stack.closed(None, 0, "closed/app"):
        for method, path in (
            ("POST", "blobs/uploads/"),
            ("POST", "blobs/uploads/?mount=x&from=y"),
            ("PUT", "manifests/latest"),
            ("DELETE", f"manifests/{DIGEST}"),
            ("DELETE", f"blobs/{digest}"),
        ):
            answer = stack.proxied(method, f"/v2/{REPOSITORY}/{path}", token=token, body=b"{}")
            assert answer.status == 503, (method, path)
            assert json.loads(answer.body) == {
                "errors": [{"code": "UNAVAILABLE", "message": message}]
            }
        read = stack.proxied("GET", f"/v2/{REPOSITORY}/blobs/{digest}", token=token)
        assert (read.status, read.body) == (200, b"read while restored")
        for repository in others:
            assert stack.push_blob(repository, b"pushed meanwhile")
    assert stack.push_blob(REPOSITORY, b"pushed afterwards")
