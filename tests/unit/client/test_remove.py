"""`wharf rm`."""

from __future__ import annotations

import httpx
import pytest

from tests.unit.client.conftest import Wharf
from tests.unit.client.registry import HOST, Fake, digest, errors, image, index

APP = f"{HOST}/app"
A, B, C = (image((name, 1)) for name in "abc")


def test_a_digest_goes_with_its_tags_and_they_are_shown_first(fake: Fake, wharf: Wharf) -> None:
    name = fake.push("app", "1", A)
    fake.push("app", "latest", A)
    fake.push("app", "2", B)
    ran = wharf("rm", f"{APP}@{name}", input="y\n", terminal=True)
    assert (ran.code, ran.out) == (0, f"deleted {APP}@{name}\n")
    assert ran.err == (
        f"{APP}@{name}\n  tags 1, latest will be gone too\n"
        f"Delete the manifest {name} from registry.test/app? [y/N] "
    )
    assert list(fake.repositories["app"]) == ["2"]


@pytest.mark.parametrize(
    ("references", "question"),
    [
        ([f"{APP}:1"], "Delete the tag 1 from registry.test/app?"),
        ([f"{APP}:1", f"{APP}:2"], "Delete these 2 tags from registry.test?"),
        (
            [f"{APP}:1", f"{APP}@{digest(B)}", f"{APP}@{digest(C)}"],
            "Delete these 1 tag and 2 manifests from registry.test?",
        ),
    ],
)
def test_the_question_says_what_would_be_deleted(
    fake: Fake, wharf: Wharf, references: list[str], question: str
) -> None:
    for tag, content in (("1", A), ("2", B), ("3", C)):
        fake.push("app", tag, content)
    ran = wharf("rm", *references, input="n\n", terminal=True)
    assert f"\n{question} [y/N] " in ran.err


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "yesterday\n"])
def test_anything_but_yes_deletes_nothing(fake: Fake, wharf: Wharf, answer: str) -> None:
    name = fake.push("app", "1", A)
    ran = wharf("rm", f"{APP}@{name}", input=answer, terminal=True)
    assert ran.code == 1
    assert ran.err.endswith("wharf: nothing was deleted\n")
    assert "DELETE" not in {request.method for request in fake.requests}


def test_if_nobody_can_be_asked_yes_is_required(fake: Fake, wharf: Wharf) -> None:
    name = fake.push("app", "1", A)
    ran = wharf("rm", f"{APP}@{name}", input="y\n")
    assert (ran.code, ran.err) == (
        2,
        f"{APP}@{name}\n  tag 1 will be gone too\nwharf: there is no terminal to ask whether to "
        "delete, so nothing was deleted: say --yes\n",
    )
    assert fake.repositories["app"] == {"1": name}


def test_an_index_that_still_needs_it_is_named(fake: Fake, wharf: Wharf) -> None:
    child = fake.push("app", None, A)
    fake.push("app", None, B)
    outer = fake.push("app", "multi", index(A, B))
    ran = wharf("rm", f"{APP}@{child}", "--yes")
    assert (ran.code, ran.out) == (0, f"deleted {APP}@{child}\n")
    assert ran.err == (
        f"{APP}@{child}\n"
        f"  WARNING: the index app:multi ({outer}) still needs it: pulling that will fail for this "
        "platform\n"
    )


def test_an_index_of_indexes_needs_it_too(fake: Fake, wharf: Wharf) -> None:
    child = fake.push("app", None, A)
    inner = index(A)
    fake.push("app", None, inner)
    outer = fake.push("app", "all", index(inner))
    assert (
        f"the index app:all ({outer}) still needs it" in wharf("rm", f"{APP}@{child}", "--yes").err
    )


def test_an_index_that_is_deleted_too_gives_no_warning(fake: Fake, wharf: Wharf) -> None:
    child = fake.push("app", None, A)
    outer = fake.push("app", "multi", index(A))
    ran = wharf("rm", f"{APP}@{child}", f"{APP}@{outer}", "--yes")
    assert "WARNING" not in ran.err
    assert ran.lines == [f"deleted {APP}@{child}", f"deleted {APP}@{outer}"]


def test_signatures_that_are_left_are_named(fake: Fake, wharf: Wharf) -> None:
    name = fake.push("app", "1", A)
    fake.push("app", name.replace(":", "-") + ".sig", B)
    assert (
        f"  what belongs to it stays and becomes useless: tag {name.replace(':', '-')}.sig\n"
        in wharf("rm", f"{APP}@{name}", "--yes").err
    )


def test_a_tag_goes_alone(fake: Fake, wharf: Wharf) -> None:
    name = fake.push("app", "1", A)
    fake.push("app", "latest", A)
    ran = wharf("rm", f"{APP}:1", "--yes")
    assert (ran.code, ran.out) == (0, f"deleted {APP}:1\n")
    assert ran.err == f"{APP}:1 (now {name})\n  the manifest stays, with tag latest\n"
    assert fake.repositories["app"] == {"latest": name}


def test_the_last_tag_of_a_manifest_leaves_it_without_one(fake: Fake, wharf: Wharf) -> None:
    fake.push("app", "1", A)
    ran = wharf("rm", f"{APP}:1", "--yes")
    assert ran.err.splitlines()[1] == (
        "  no other tag has this manifest: it stays without one, until cleaned up"
    )


def test_if_single_tags_cannot_be_removed_nothing_is(fake: Fake, wharf: Wharf) -> None:
    fake.deletes_tags = False
    name = fake.push("app", "1", A)
    fake.push("app", "latest", A)
    ran = wharf("rm", f"{APP}:1", "--yes")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[-1] == (
        "wharf: registry.test does not remove single tags (registry.test answers 400 Bad Request "
        f"when it is asked to (DIGEST_INVALID: no digest)): {APP}:1 was not removed. By its "
        f"digest the whole manifest can be deleted, and tag latest with it: wharf rm {APP}@{name}"
    )
    assert set(fake.repositories["app"]) == {"1", "latest"}


def test_a_registry_without_deletion_is_named_as_such(fake: Fake, wharf: Wharf) -> None:
    name = fake.push("app", "1", A)
    fake.before = [
        lambda request: (
            httpx.Response(405, json=errors("UNSUPPORTED", "The operation is unsupported."))
            if request.method == "DELETE"
            else None
        )
    ]
    ran = wharf("rm", f"{APP}@{name}", "--yes")
    assert (ran.code, ran.err.splitlines()[-1]) == (
        1,
        "wharf: registry.test does not remove manifests (registry.test answers 405 Method Not "
        "Allowed when it is asked to (UNSUPPORTED: The operation is unsupported.))",
    )


def test_a_tag_that_moved_since_it_was_shown_is_left_alone(fake: Fake, wharf: Wharf) -> None:
    before = fake.push("app", "1", A)
    moved = []

    def move(request: httpx.Request) -> None:
        # Between the listing and the last check.
        heads = [request for request in fake.requests if request.method == "HEAD"]
        if len(heads) == 2 and not moved:
            moved.append(fake.push("app", "1", B))

    fake.before = [move]
    ran = wharf("rm", f"{APP}:1", "--yes")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[-1] == (
        f"wharf: {APP}:1 was not removed: it has moved since it was shown, from {before} to "
        f"{moved[0]}; look again"
    )
    assert fake.repositories["app"] == {"1": moved[0]}


@pytest.mark.parametrize("newcomer", ["a tag", "an index"])
def test_a_digest_that_is_needed_since_it_was_shown_is_left_alone(
    fake: Fake, wharf: Wharf, monkeypatch: pytest.MonkeyPatch, newcomer: str
) -> None:
    name = fake.push("app", "1", A)

    def readline() -> str:
        if newcomer == "a tag":
            fake.push("app", "2", A)
        else:
            fake.push("app", "multi", index(A))
        return "y\n"

    monkeypatch.setattr("tests.unit.client.conftest.Input.readline", lambda self: readline())
    ran = wharf("rm", f"{APP}@{name}", terminal=True)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[-1].endswith(
        f"wharf: {APP}@{name} was not deleted: since it was shown, another tag or index has "
        "begun to need it; look again"
    )
    assert "1" in fake.repositories["app"]


def test_a_tag_that_went_away_meanwhile_does_not_hold_it_up(
    fake: Fake, wharf: Wharf, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = fake.push("app", "1", A)
    fake.push("app", "2", A)

    def readline() -> str:
        fake.repositories["app"].pop("2", None)
        return "y\n"

    monkeypatch.setattr("tests.unit.client.conftest.Input.readline", lambda self: readline())
    assert wharf("rm", f"{APP}@{name}", terminal=True).out == f"deleted {APP}@{name}\n"


def test_a_removal_that_fails_does_not_stop_the_others(fake: Fake, wharf: Wharf) -> None:
    name = fake.push("app", "1", A)
    ran = wharf("rm", f"{APP}:nothing", f"{APP}@{name}", "--yes")
    assert (ran.code, ran.out) == (1, f"deleted {APP}@{name}\n")
    assert ran.err.splitlines()[-1] == f"wharf: {APP} has no tag nothing"


@pytest.mark.parametrize(
    ("reference", "which"),
    [
        (APP, "a tag or digest"),
        (f"{APP}:1@sha256:{'0' * 64}", "either its tag or its digest, not both"),
    ],
)
def test_either_a_tag_or_a_digest_is_required(
    fake: Fake, wharf: Wharf, reference: str, which: str
) -> None:
    ran = wharf("rm", reference, "--yes")
    assert (ran.code, ran.err) == (
        2,
        f"wharf: '{reference}': say {which}: REPO:TAG or REPO@DIGEST (wharf tags {APP} --digests "
        "lists them)\n",
    )


def test_one_password_is_never_shown_to_two_registries(fake: Fake, wharf: Wharf) -> None:
    others = f"other.test/app@sha256:{'0' * 64}"
    ran = wharf("rm", f"{APP}:1", others, "--yes", "--user", "bob")
    assert (ran.code, ran.err) == (
        2,
        "wharf: --user would be one login for several registries: log in to each with wharf "
        "login\n",
    )
    assert fake.requests == []


def test_an_index_that_cannot_be_read_is_reported_and_does_not_stop(
    fake: Fake, wharf: Wharf
) -> None:
    name = fake.push("app", "1", A)
    broken = fake.push("app", "broken", index(A))
    fake.content[broken] = index(B)
    ran = wharf("rm", f"{APP}@{name}", "--yes")
    assert ran.out == f"deleted {APP}@{name}\n"
    assert f"answers app@{broken} with other content" in ran.err
    assert "; what it contains is not known" in ran.err
