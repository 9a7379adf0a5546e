"""`wharf` with the registry that the toolkit builds, with its token server and nginx."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from filling import Content, Pushing, manifests
from filling.fill import LARGE
from local.registries import Served
from tests.client.conftest import Person, admin_session

TAGS = 30 * 3


def test_without_trust_or_a_login_nothing_is_shown(somebody: Person) -> None:
    ran = somebody("repositories", cacert=False)
    assert (ran.code, ran.out) == (1, "")
    assert "of an authority that this machine does not trust" in ran.err
    ran = somebody("repositories")
    assert (ran.code, ran.out) == (3, "")
    assert f"wants a login: wharf login {somebody.served.name}" in ran.err
    ran = somebody("login", "--user", "admin", "--password-stdin", input="guessed")
    assert (ran.code, list(somebody.home.iterdir())) == (3, [])
    assert "wrong user or password" in ran.err
    assert "guessed" not in ran.err


def test_every_tag_of_every_repository_is_listed(somebody: Person, content: Content) -> None:
    rows = somebody.logged_in("admin")("repositories", "--tags", "--json").json
    tags = {(row["repository"], row["tag"]) for row in rows}
    assert tags == {(name, tag) for name, tag, _ in content.tags}
    assert len(tags) > TAGS


def test_digests_and_raw_manifests(somebody: Person, content: Content) -> None:
    somebody.logged_in("admin")
    rows = somebody("tags", "classic/app", "--digests", "--json").json
    assert {row["tag"]: row["digest"] for row in rows} == content["classic/app"].tags
    for tag, digest in content["classic/app"].tags.items():
        raw = somebody("show", f"classic/app:{tag}", "--raw").out
        assert "sha256:" + hashlib.sha256(raw.encode()).hexdigest() == digest


@pytest.mark.parametrize(
    "name", ["team/app:1.1", "classic/app:multi", "a/b/c/d/e:1", "cache/app:main"]
)
def test_every_kind_is_shown(somebody: Person, content: Content, name: str) -> None:
    shown = somebody.logged_in("admin")("show", name)
    assert (shown.code, shown.err) == (0, "")
    repository, _, tag = name.partition(":")
    manifest = content[repository].manifests[content[repository].tags[tag]]
    for digest in [manifest.digest, *manifest.children]:
        assert digest in shown.out


def test_referrers_are_found_without_an_api_for_them(somebody: Person, content: Content) -> None:
    somebody.logged_in("admin")
    referrers = somebody("show", "artifacts/app:1", "--json").json["referrers"]
    subject = content["artifacts/app"].tags["1"]
    assert {referrer["digest"] for referrer in referrers} == {
        name
        for name, manifest in content["artifacts/app"].manifests.items()
        if manifest.subject == subject
    }
    referrers = somebody("show", "signed/app:v1", "--json").json["referrers"]
    endings = [referrer["tag"].rpartition(".")[2] for referrer in referrers]
    assert endings == ["att", "sig"]


def test_space_counts_each_blob_once(somebody: Person, content: Content) -> None:
    usage = somebody.logged_in("admin")("du", "--json").json
    by_name = {row["repository"]: row for row in usage["repositories"]}
    [large] = content.large.values()
    assert large.size < by_name[LARGE]["size"] < large.size + 10_000
    assert by_name["team/other"]["shared"] >= 1 << 20
    blobs = {digest: size for _, digest, size in content.blobs}
    manifests = {
        digest: len(repository.manifests[digest].content)
        for repository in content.repositories.values()
        for digest in _tagged(repository)
    }
    tagged = {
        blob
        for repository in content.repositories.values()
        for digest in _tagged(repository)
        for blob, _ in repository.manifests[digest].blobs
    }
    expected = sum(manifests.values()) + sum(blobs[digest] for digest in tagged)
    assert usage["total"]["size"] == expected


def _tagged(repository: object) -> set[str]:
    """All manifests that tags lead to, directly or through indexes, but not through subjects."""
    names: set[str] = set()
    todo = list(repository.tags.values())  # type: ignore[attr-defined]
    while todo:
        name = todo.pop()
        if name not in names:
            names.add(name)
            todo += repository.manifests[name].children  # type: ignore[attr-defined]
    return names


def test_users_see_what_they_may(somebody: Person) -> None:
    reader = somebody.logged_in("reader")
    ran = reader("repositories", "--tags")
    assert ran.code == 3
    repositories = {line.split("\t")[0] for line in ran.out.splitlines()}
    assert {"team/app", "team/other", "small/000/app"} <= repositories
    assert not {"daily/app", "signed/app"} & repositories
    assert "left out, which you may not read: a/b/c/d/e, artifacts/app" in ran.err
    ran = reader("rm", "team/app:1.1", "--yes")
    assert (ran.code, ran.out) == (3, "")
    assert "reader may not delete team/app" in ran.err


def test_the_catalog_may_be_closed(somebody: Person) -> None:
    ran = somebody.logged_in("someuser")("repositories")
    assert (ran.code, ran.out) == (3, "")
    assert "is closed to someuser (it needs the right `list`): name the repositories" in ran.err
    ran = somebody("tags", "team/app")
    assert ran.code == 3
    assert "someuser may not pull team/app" in ran.err


def test_copy_then_remove_a_tag_then_the_manifest(somebody: Person, content: Content) -> None:
    somebody.logged_in("admin")
    digest = content["team/app"].tags["1.1"]
    for tag in ("1", "2"):
        ran = somebody("copy", "team/app:1.1", f"copied/app:{tag}")
        assert (ran.code, ran.err) == (0, "")
        assert ", 0 of them copied)" in ran.out
    ran = somebody("rm", "copied/app:1", "--yes")
    assert (ran.code, "the manifest stays, with tag 2" in ran.err) == (0, True)
    rows = somebody("tags", "copied/app", "--digests", "--json").json
    assert [(row["tag"], row["digest"]) for row in rows] == [("2", digest)]
    child = content["team/app"].manifests[digest].children[0]
    ran = somebody("rm", f"copied/app@{child}")
    assert (ran.code, f"the index copied/app:2 ({digest}) still needs it" in ran.err) == (2, True)
    ran = somebody("rm", f"copied/app@{digest}", f"copied/app@{child}", "--yes")
    assert (ran.code, "WARNING" in ran.err) == (0, False)
    assert somebody("tags", "copied/app").out == ""
    assert somebody("show", f"copied/app@{child}").code == 1


def test_a_build_cache_is_read_and_copied(somebody: Person, content: Content) -> None:
    somebody.logged_in("admin")
    shown = somebody("show", "cache/app:main", "--json").json
    manifest = content["cache/app"].manifests[content["cache/app"].tags["main"]]
    blobs = dict(manifest.blobs)
    assert (shown["type"], shown["size"]) == ("BuildKit cache", sum(blobs.values()))
    assert {member["digest"]: member["problem"] for member in shown["manifests"]} == dict.fromkeys(
        blobs
    )
    [row] = somebody("du", "cache/app", "--json").json["repositories"]
    assert row["size"] == len(manifest.content) + sum(blobs.values())
    ran = somebody("copy", "cache/app:main", "copied/cache:main")
    assert (ran.code, ran.err) == (0, "")
    assert "(1 manifest, 3 blobs, 0 of them copied)" in ran.out


@pytest.mark.parametrize("kind", [manifests.index, manifests.docker_list])
def test_an_index_without_its_members_is_refused(
    registry: tuple[Served, Content], kind: Callable[..., manifests.Manifest]
) -> None:
    """Its members may be manifests, or layers as in a build cache."""
    repository = f"lacking/{kind.__name__}"
    pushing = Pushing(admin_session(registry[0]), Content(), [repository])
    layer, gone = manifests.layer(b"here"), manifests.layer(b"not here")
    child = manifests.image(b"{}", [])
    pushing.blob(repository, b"here")
    for members, lacking in (
        ([layer, gone], [gone["digest"]]),
        ([layer, child.descriptor()], [child.digest]),
    ):
        index = kind(members)
        answer = pushing.request(
            "PUT", f"/v2/{repository}/manifests/1", index.content, Content_Type=index.media_type
        )
        assert answer.status_code == 400, answer.text
        errors = [(error["code"], error["detail"]) for error in answer.json()["errors"]]
        assert errors == [("MANIFEST_BLOB_UNKNOWN", digest) for digest in lacking]
    assert pushing.digest_of(repository, "1") is None
    pushing.manifest(repository, kind([layer]), "1")
