"""Attempts to cross the border between what an account may do and what it may not."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from support.images import Pushed
from support.registry import MANIFEST, Account, Registry, digest


@pytest.fixture
def foreign(images: dict[str, Pushed]) -> Pushed:
    """An image that someuser may not read."""
    return images["other/app"]


def mount(registry: Registry, account: Account, query: list[tuple[str, str]]) -> Any:
    """Asks to mount a blob into someuser/thief, with every scope that a thief would like."""
    return registry.call(
        account,
        ["repository:someuser/thief:pull,push", "repository:other/app:pull"],
        "POST",
        f"/v2/someuser/thief/blobs/uploads/?{urlencode(query)}",
    )


def test_a_blob_can_be_mounted_from_a_repository_that_one_may_read(
    registry: Registry, someuser: Account, images: dict[str, Pushed]
) -> None:
    # Without this, the tests below would pass even if nothing could be mounted at all.
    own = images["someuser/app"]
    answer = registry.call(
        someuser,
        ["repository:someuser/second:pull,push", "repository:someuser/app:pull"],
        "POST",
        f"/v2/someuser/second/blobs/uploads/?mount={own.layer_digest}&from=someuser/app",
    )
    assert answer.status == 201
    assert registry.blob(someuser, "someuser/second", own.layer_digest).body == own.layer


@pytest.mark.parametrize(
    "origins", [["other/app"], ["someuser/app", "other/app"], ["other/app", "someuser/app"]]
)
def test_a_blob_cannot_be_mounted_from_a_repository_that_one_may_not_read(
    registry: Registry, someuser: Account, foreign: Pushed, origins: list[str]
) -> None:
    query = [("mount", foreign.layer_digest)] + [("from", origin) for origin in origins]
    answer = mount(registry, someuser, query)
    assert answer.status in (202, 400, 401), answer.body
    stolen = registry.blob(someuser, "someuser/thief", foreign.layer_digest)
    assert stolen.status == 404
    assert foreign.layer not in stolen.body


def test_a_foreign_blob_is_not_found_through_ones_own_repository(
    registry: Registry, someuser: Account, images: dict[str, Pushed], foreign: Pushed
) -> None:
    assert "someuser/app" in images
    answer = registry.blob(someuser, "someuser/app", foreign.layer_digest)
    assert (answer.status, answer.codes) == (404, ["BLOB_UNKNOWN"])


def test_a_foreign_upload_cannot_be_continued(
    registry: Registry, admin: Account, someuser: Account
) -> None:
    secret = os.urandom(256)
    begun = registry.call(
        admin, "repository:other/app:pull,push", "POST", "/v2/other/app/blobs/uploads/"
    )
    parts = urlsplit(begun.headers["location"])
    address = f"{parts.path}?{parts.query}"
    ours = address.replace("/v2/other/app/", "/v2/someuser/app/")
    scope = "repository:someuser/app:pull,push"
    headers = {"Content-Type": "application/octet-stream"}
    for path in (address, ours):
        for method in ("GET", "PATCH", "PUT", "DELETE"):
            target = f"{path}&digest={digest(secret)}" if method == "PUT" else path
            answer = registry.call(someuser, scope, method, target, headers=headers, body=secret)
            assert 400 <= answer.status < 500, (method, target, answer.status)
    # The upload is still its owner's, and empty.
    finished = registry.call(
        admin,
        "repository:other/app:pull,push",
        "PUT",
        f"{address}&digest={digest(secret)}",
        headers=headers,
        body=secret,
    )
    assert finished.status == 201


def test_a_state_of_one_upload_is_of_no_use_for_another(
    registry: Registry, admin: Account, someuser: Account
) -> None:
    foreign = registry.call(
        admin, "repository:other/app:pull,push", "POST", "/v2/other/app/blobs/uploads/"
    )
    own = registry.call(
        someuser, "repository:someuser/app:pull,push", "POST", "/v2/someuser/app/blobs/uploads/"
    )
    mixed = (
        f"{urlsplit(own.headers['location']).path}?{urlsplit(foreign.headers['location']).query}"
    )
    answer = registry.call(
        someuser,
        "repository:someuser/app:pull,push",
        "PATCH",
        mixed,
        headers={"Content-Type": "application/octet-stream"},
        body=b"content",
    )
    assert (answer.status, answer.codes) == (404, ["BLOB_UPLOAD_INVALID"])


def test_a_token_for_one_repository_is_of_no_use_for_another(
    registry: Registry, someuser: Account, foreign: Pushed
) -> None:
    headers = registry.authorization(someuser, "repository:someuser/app:pull,push,delete")
    for method, path in [
        ("GET", f"/v2/other/app/manifests/{foreign.digest}"),
        ("GET", f"/v2/other/app/blobs/{foreign.layer_digest}"),
        ("GET", "/v2/other/app/tags/list"),
        ("POST", "/v2/other/app/blobs/uploads/"),
        ("DELETE", f"/v2/other/app/manifests/{foreign.digest}"),
        ("GET", "/v2/_catalog"),
    ]:
        answer = registry.request(method, path, headers=headers)
        assert answer.status == 401, (method, path)
        assert foreign.layer not in answer.body


def test_a_token_to_pull_is_of_no_use_to_push_or_delete(
    registry: Registry, admin: Account, foreign: Pushed
) -> None:
    headers = registry.authorization(admin, "repository:other/app:pull")
    path = f"/v2/other/app/manifests/{foreign.digest}"
    accepted = {**headers, "Accept": MANIFEST}
    assert registry.request("GET", path, headers=accepted).status == 200
    assert registry.request("DELETE", path, headers=headers).status == 401
    uploads = registry.request("POST", "/v2/other/app/blobs/uploads/", headers=headers)
    assert uploads.status == 401


def test_a_path_with_detours_does_not_change_whose_repository_is_asked(
    registry: Registry, someuser: Account, foreign: Pushed
) -> None:
    headers = registry.authorization(someuser, "repository:someuser/app:pull")
    blob = f"blobs/{foreign.layer_digest}"
    for path in (
        f"/v2/someuser/app/../../other/app/{blob}",
        f"/v2/someuser/app/%2e%2e/%2e%2e/other/app/{blob}",
        f"/v2/someuser/app/..%2f..%2fother/app/{blob}",
        f"/v2/someuser//app/../../../v2/other/app/{blob}",
    ):
        answer = registry.request("GET", path, headers=headers)
        assert 300 <= answer.status < 500, path
        assert foreign.layer not in answer.body
