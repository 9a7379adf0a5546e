"""Lists of referrers: `wharf rm` of what stands in one, and `wharf repair`."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.unit.client.conftest import Wharf
from tests.unit.client.registry import HOST, Fake, digest, errors, image, index
from wharfinger.client.referrers import is_list
from wharfinger.oci.digests import list_tag
from wharfinger.oci.media_types import DOCKER_LIST, OCI_IMAGE

APP = f"{HOST}/app"
SUBJECT = image(("subject", 1))
LIST = digest(SUBJECT).replace(":", "-")


def referrer(name: str) -> bytes:
    """A manifest that refers to SUBJECT."""
    subject = {"mediaType": OCI_IMAGE, "digest": digest(SUBJECT), "size": len(SUBJECT)}
    return image((name, 1), subject=subject)


A, B, C = (referrer(name) for name in "abc")


def listing(*referrers: bytes, **more: Any) -> bytes:
    """A list as clients write it, with other fields too."""
    document = json.loads(index(*referrers, platforms=False))
    for descriptor in document["manifests"]:
        descriptor |= {"artifactType": "a/b", "annotations": {"created": "2026"}}
    return json.dumps({**document, **more}).encode()


@pytest.fixture
def app(fake: Fake) -> Fake:
    """A repository with an image and three signatures in its list."""
    fake.push("app", "1", SUBJECT)
    for manifest in (A, B, C):
        fake.push("app", None, manifest)
    fake.push("app", LIST, listing(A, B, C, annotations={"made by": "ümlaut"}))
    return fake


def named(fake: Fake) -> list[str]:
    """What the list names now."""
    tagged = fake.repositories["app"].get(LIST)
    if tagged is None:
        return []
    return [descriptor["digest"] for descriptor in json.loads(fake.content[tagged])["manifests"]]


def changes(fake: Fake) -> list[str]:
    """What was written or deleted, in order; not the question whether deletion is allowed."""
    changes = [request for request in fake.requests if request.method not in ("GET", "HEAD")]
    return [
        f"{request.method} {request.url.path.rpartition('/')[2]}"
        for request in changes
        if request.url.path.rpartition("/")[2] != digest(b"")
    ]


def test_the_tag_of_a_list_follows_the_specification() -> None:
    assert list_tag("sha256:" + "a" * 64) == "sha256-" + "a" * 64
    assert list_tag("sha512:" + "b" * 128) == "sha512-" + "b" * 64


@pytest.mark.parametrize(
    ("tag", "kind", "expected"),
    [
        (LIST, "application/vnd.oci.image.index.v1+json", True),
        (LIST, DOCKER_LIST, False),
        (LIST, OCI_IMAGE, False),
        (f"{LIST}.sig", "application/vnd.oci.image.index.v1+json", False),
        ("v1", "application/vnd.oci.image.index.v1+json", False),
        (LIST[:-1], "application/vnd.oci.image.index.v1+json", False),
    ],
)
def test_what_is_a_list(tag: str, kind: str, expected: bool) -> None:
    assert is_list(tag, digest(b"another"), kind) is expected


def test_an_index_tagged_with_its_own_digest_is_not_a_list_of_referrers() -> None:
    assert not is_list(LIST, digest(SUBJECT), "application/vnd.oci.image.index.v1+json")


def test_the_entry_goes_before_the_manifest_and_nothing_else_changes(
    app: Fake, wharf: Wharf
) -> None:
    ran = wharf("rm", f"{APP}@{digest(B)}", "--yes")
    assert (ran.code, ran.out) == (0, f"deleted {APP}@{digest(B)}\n")
    assert ran.err == (
        f"{APP}@{digest(B)}\n  will be taken out of the list of referrers app:{LIST}\n"
    )
    assert changes(app) == [f"PUT {LIST}", f"DELETE {digest(B)}"]
    expected = json.loads(listing(A, C, annotations={"made by": "ümlaut"}))
    assert json.loads(app.content[app.repositories["app"][LIST]]) == expected


def test_the_last_entry_takes_the_tag_along(app: Fake, wharf: Wharf) -> None:
    ran = wharf("rm", *(f"{APP}@{digest(manifest)}" for manifest in (A, B, C)), "--yes")
    assert ran.code == 0, ran.err
    assert app.repositories["app"] == {"1": digest(SUBJECT)}
    assert changes(app)[-2:] == [f"DELETE {LIST}", f"DELETE {digest(C)}"]


def test_if_single_tags_cannot_be_removed_the_empty_list_is_deleted(
    app: Fake, wharf: Wharf
) -> None:
    app.deletes_tags = False
    app.push("app", LIST, listing(A))
    ran = wharf("rm", f"{APP}@{digest(A)}", "--yes")
    assert ran.code == 0, ran.err
    assert app.repositories["app"] == {"1": digest(SUBJECT)}


def test_a_user_who_may_not_push_deletes_nothing(app: Fake, wharf: Wharf) -> None:
    app.auth, app.allowed = "token", lambda scope: "push" not in scope
    before = dict(app.repositories["app"])
    ran = wharf(
        "rm", f"{APP}@{digest(A)}", "--yes", "--user", "bob", "--password-stdin", input="pw\n"
    )
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.splitlines()[-1].startswith(
        f"wharf: {APP}@{digest(A)} was not deleted: it has to be taken out of the list of "
        f"referrers app:{LIST} first, and bob may not pull and push app on registry.test"
    )
    assert (app.repositories["app"], digest(A) in app.blobs["app"]) == (before, True)


def test_a_user_who_may_not_delete_leaves_the_list_alone(app: Fake, wharf: Wharf) -> None:
    app.auth, app.allowed = "token", lambda scope: "delete" not in scope
    ran = wharf(
        "rm", f"{APP}@{digest(A)}", "--yes", "--user", "bob", "--password-stdin", input="pw\n"
    )
    assert (ran.code, ran.out) == (3, "")
    assert "wharf: bob may not delete app on registry.test" in ran.err
    assert named(app) == [digest(manifest) for manifest in (A, B, C)]
    assert "PUT" not in {request.method for request in app.requests}


def test_a_registry_that_deletes_nothing_keeps_its_lists(app: Fake, wharf: Wharf) -> None:
    app.before = [
        lambda request: (
            httpx.Response(405, json=errors("UNSUPPORTED", "The operation is unsupported."))
            if request.method == "DELETE"
            else None
        )
    ]
    assert wharf("rm", f"{APP}@{digest(A)}", "--yes").code == 1
    assert named(app) == [digest(manifest) for manifest in (A, B, C)]


def test_a_registry_with_the_referrers_api_keeps_them_itself(app: Fake, wharf: Wharf) -> None:
    app.referrers = {}
    assert wharf("rm", f"{APP}@{digest(A)}", "--yes").code == 0
    assert changes(app) == [f"DELETE {digest(A)}"]


@pytest.mark.parametrize("moment", ["before it is written", "after it is written", "after all"])
def test_an_attachment_added_meanwhile_stays(app: Fake, wharf: Wharf, moment: str) -> None:
    """Another client writes the list with its entry, and with ours again if it has read the list
    before."""
    new = referrer("new")

    def attach(request: httpx.Request) -> None:
        written = [request for request in app.requests if request.method == "PUT"]
        gone = f"DELETE {digest(A)}" in changes(app)
        heads = [
            request
            for request in app.requests
            if request.url.path.endswith(LIST) and request.method == "HEAD"
        ]
        now = {
            "before it is written": len(heads) == 2 and not written,
            "after it is written": bool(written) and request.method == "GET",
            "after all": gone and request.method == "GET",
        }[moment]
        if now:
            app.before.clear()
            app.push("app", None, new)
            app.push("app", LIST, listing(A, B, C, new))

    app.before = [attach]
    ran = wharf("rm", f"{APP}@{digest(A)}", "--yes")
    assert (ran.code, ran.out) == (0, f"deleted {APP}@{digest(A)}\n"), ran.err
    assert app.before == []
    assert named(app) == [digest(manifest) for manifest in (B, C, new)]


def test_a_list_that_is_written_all_the_time_is_given_up(app: Fake, wharf: Wharf) -> None:
    numbers = iter(range(1000))

    def attach(request: httpx.Request) -> None:
        if request.method == "HEAD" and request.url.path.endswith(LIST):
            new = referrer(f"new {next(numbers)}")
            app.push("app", None, new)
            app.push("app", LIST, listing(A, new))

    app.before = [attach]
    ran = wharf("rm", f"{APP}@{digest(A)}", "--yes")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[-1] == (
        f"wharf: {APP}@{digest(A)} was not deleted: it has to be taken out of the list of "
        f"referrers app:{LIST} first, and {APP}:{LIST} is written again and again by somebody "
        "else: try again when nobody attaches anything"
    )
    assert digest(A) in app.blobs["app"]


def test_a_list_that_comes_back_after_the_deletion_is_reported(app: Fake, wharf: Wharf) -> None:
    def refuse(request: httpx.Request) -> httpx.Response | None:
        if f"DELETE {digest(A)}" in changes(app) and request.url.path.endswith(LIST):
            return httpx.Response(500)
        return None

    app.before = [refuse]
    ran = wharf("rm", f"{APP}@{digest(A)}", "--yes")
    assert (ran.code, ran.out) == (1, "")
    assert f"{APP}@{digest(A)} is deleted, but the list of referrers app:{LIST} may" in ran.err
    assert ran.err.endswith(f"Afterwards: wharf repair {APP}\n")


def test_removing_the_list_itself_gives_a_warning(app: Fake, wharf: Wharf) -> None:
    warning = (
        f"  WARNING: this is the list of 3 signatures and other referrers of {digest(SUBJECT)}: "
        "they stay, but oras, cosign and regctl no longer find them\n"
    )
    name = app.repositories["app"][LIST]
    assert warning in wharf("rm", f"{APP}@{name}").err
    assert warning in wharf("rm", f"{APP}:{LIST}", "--yes").err
    assert app.repositories["app"] == {"1": digest(SUBJECT)}


def test_an_index_beside_the_list_still_needs_it(app: Fake, wharf: Wharf) -> None:
    app.push("app", "all", listing(A))
    ran = wharf("rm", f"{APP}@{digest(A)}", "--yes")
    assert "the index app:all" in ran.err and LIST in ran.err
    assert f"the index app:{LIST}" not in ran.err


@pytest.mark.parametrize(
    "other",
    [image(("plain", 1)), index(A, media_type=DOCKER_LIST)],
    ids=["an image", "a Docker list"],
)
def test_a_tag_that_only_looks_like_a_list_is_not_touched(
    app: Fake, wharf: Wharf, other: bytes
) -> None:
    app.push("app", LIST, other)
    assert wharf("rm", f"{APP}@{digest(A)}", "--yes").code == 0
    assert wharf("repair", APP).code == 0
    assert app.repositories["app"][LIST] == digest(other)


# -- wharf repair


def test_missing_manifests_are_taken_out(app: Fake, wharf: Wharf) -> None:
    app.blobs["app"].discard(digest(B))
    ran = wharf("repair", APP, "--dry-run")
    assert ran.out == f"{APP}:{LIST}: {digest(B)} is gone, would be taken out\n"
    assert changes(app) == []
    ran = wharf("repair", APP)
    assert (ran.code, ran.out) == (0, f"{APP}:{LIST}: {digest(B)} is gone, taken out\n")
    assert named(app) == [digest(A), digest(C)]
    assert wharf("repair", APP).out == (
        f"{APP}: no list of referrers names anything that is gone\n"
    )


def test_a_list_of_only_missing_manifests_is_removed(app: Fake, wharf: Wharf) -> None:
    app.blobs["app"] -= {digest(manifest) for manifest in (A, B, C)}
    ran = wharf("repair", APP)
    assert ran.lines == [
        *(f"{APP}:{LIST}: {digest(manifest)} is gone, taken out" for manifest in (A, B, C)),
        f"{APP}:{LIST}: it is empty, removed",
    ]
    assert app.repositories["app"] == {"1": digest(SUBJECT)}


def test_removing_a_signature_repairs_its_list_too(app: Fake, wharf: Wharf) -> None:
    app.blobs["app"].discard(digest(B))
    assert wharf("rm", f"{APP}@{digest(A)}", "--yes").code == 0
    assert named(app) == [digest(C)]


@pytest.mark.parametrize("field", ["manifests", "digest"])
def test_a_list_that_no_tool_writes_is_left_alone(app: Fake, wharf: Wharf, field: str) -> None:
    """Go's JSON accepts these names too."""
    text = listing(A, B, C).decode().replace(f'"{field}"', f'"{field.title()}"')
    app.push("app", LIST, text.encode())
    app.blobs["app"].discard(digest(B))
    ran = wharf("repair", APP)
    assert (ran.code, ran.err) == (
        1,
        f"wharf: the list of referrers app:{LIST} is written in a way that no tool writes (fields "
        "twice, or with unusual names), so it was not changed: remove that tag, and attach again "
        "what it named\n",
    )
    assert app.repositories["app"][LIST] == digest(text.encode())


def test_two_repositories_and_an_argument_that_is_not_one(app: Fake, wharf: Wharf) -> None:
    app.push("other", "1", SUBJECT)
    ran = wharf("repair", APP, f"{HOST}/other")
    assert len(ran.lines) == 2
    assert wharf("repair", f"{APP}:1").code == 2
    ran = wharf("repair", f"{HOST}/nothing")
    assert (ran.code, ran.err) == (1, f"wharf: {HOST} has no repository nothing\n")
