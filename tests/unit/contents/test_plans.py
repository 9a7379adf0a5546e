"""Retention and the removal of untagged revisions over a storage on disk."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

import pytest

from support.storage_tree import DAY, NOW, Tree
from wharfinger.host.contents.storage import Storage, apply, plan_retention, plan_untagged
from wharfinger.host.system.errors import HostError

RULE: dict[str, Any] = {"number": 1, "on": ["^team/[^/]+$"], "newest": 2}


def retention(storage: Storage, *rules: dict[str, Any], keep: float | None = 14 * DAY) -> Any:
    return plan_retention(storage, {"retention": list(rules), "untagged_keep": keep}, NOW)


def untagged(storage: Storage, keep: float | None = 14 * DAY) -> Any:
    return plan_untagged(storage, {"untagged_keep": keep}, NOW)


def names(plan: Any) -> list[str]:
    return [removal.name for removal in plan["removals"]]


def test_a_storage_that_was_never_written_has_no_contents(storage: Storage) -> None:
    assert retention(storage, RULE) == {"rows": [], "removals": [], "damage": []}
    assert untagged(storage) == {"removals": [], "revisions": 0, "damage": []}


def test_a_storage_that_is_not_there_has_no_contents(tree: Tree) -> None:
    assert untagged(Storage(tree.path / "nowhere")) == {
        "removals": [],
        "revisions": 0,
        "damage": [],
    }


def test_repositories_below_others_and_each_tag_are_found(tree: Tree, storage: Storage) -> None:
    for repository in ("team", "team/app", "team/app/deep", "a/b/c"):
        tree.image(repository, repository, tag="v1")
    (tree.root / "repositories/uploads/only/_uploads").mkdir(parents=True)
    assert list(storage.repositories()) == ["a/b/c", "team", "team/app", "team/app/deep"]
    plan = retention(storage)
    assert {row["reason"] for row in plan["rows"]} == {"no rule names it"}
    assert json.loads(json.dumps(plan["rows"])) == plan["rows"]


def test_the_newest_stay_and_so_do_repositories_without_a_rule(
    tree: Tree, storage: Storage
) -> None:
    for age in range(4):
        tree.image("team/app", f"v{age}", tag=f"v{age}", age=age * DAY)
        tree.image("other/app", f"v{age}", tag=f"v{age}", age=age * DAY)
    plan = retention(storage, RULE)
    assert names(plan) == ["team/app:v2", "team/app:v3"]
    rows = [row for row in plan["rows"] if row["repository"] == "team/app"]
    assert [(row["tag"], row["keep"], row["rule"], row["reason"]) for row in rows] == [
        ("v0", True, 1, "among the newest 2"),
        ("v1", True, 1, "among the newest 2"),
        ("v2", False, 1, "not among the newest 2"),
        ("v3", False, 1, "not among the newest 2"),
    ]


def test_tags_from_the_future_do_not_push_others_out(tree: Tree, storage: Storage) -> None:
    """The clock was a year ahead for a day before somebody noticed."""
    for number in range(2):
        tree.image("team/app", f"future {number}", tag=f"future{number}", age=-365 * DAY)
    for age in range(3):
        tree.image("team/app", f"v{age}", tag=f"v{age}", age=age * DAY)
    plan = retention(storage, RULE)
    assert names(plan) == ["team/app:v2"]
    reasons = {row["tag"]: row["reason"] for row in plan["rows"]}
    assert reasons["future0"] == "pushed in the future, by a clock that was wrong"
    assert reasons["v0"] == reasons["v1"] == "among the newest 2"


def test_a_tag_pushed_every_day_leaves_revisions_that_go(tree: Tree, storage: Storage) -> None:
    ages = (30, 20, 15, 3)
    digests = [tree.image("app", f"day {age}", tag="latest", age=age * DAY) for age in ages]
    # The third lost its tag three days ago.
    assert names(untagged(storage)) == sorted(f"app@{digest}" for digest in digests[:2])
    assert names(untagged(storage, None)) == []


def test_children_referrers_and_signatures_stay_with_what_needs_them(
    tree: Tree, storage: Storage
) -> None:
    children = [tree.image("app", name, age=90 * DAY) for name in ("amd64", "arm64")]
    tree.index("app", children, tag="v1", age=90 * DAY)
    tree.image("app", "sbom", subject=children[0], age=90 * DAY)
    signed = children[1].replace(":", "-")
    tree.image("app", "signature", tag=f"{signed}.sig", age=90 * DAY)
    assert names(untagged(storage)) == []
    assert names(retention(storage, {"number": 1, "on": [".*"], "newest": 1})) == []


def test_an_index_keeps_what_it_names_of_a_mirror_with_some_platforms(
    tree: Tree, storage: Storage
) -> None:
    """Its other platforms are not there, or only as long as another mirror keeps them."""
    absent = tree.image("elsewhere", "s390x", tag="v1")
    kept = tree.image("base/app", "amd64", age=90 * DAY)
    other = tree.image("base/app", "arm64", tag="arm64", age=90 * DAY)
    tree.index(
        "base/app", [kept, other, absent], tag="v1", age=90 * DAY,
        platforms=["linux/amd64", "linux/arm64", "linux/s390x"],
    )  # fmt: skip
    assert untagged(storage) == {"removals": [], "revisions": 4, "damage": []}
    # The other mirror's tag goes; its image stays, since the index names it.
    shutil.rmtree(tree.tag_path("base/app", "arm64"))
    tree.quiet()
    assert untagged(storage)["removals"] == []
    plan = retention(storage, {"number": 1, "on": ["^base/.*$"], "newest": 1})
    assert (names(plan), plan["damage"]) == ([], [])


def test_signatures_and_referrers_go_with_their_subject(tree: Tree, storage: Storage) -> None:
    tree.image("app", "new", tag="v2")
    old = tree.image("app", "old", age=90 * DAY)
    referrer = tree.image("app", "sbom", subject=old, age=90 * DAY)
    tag = f"{old.replace(':', '-')}.sig"
    signature = tree.image("app", "signature", tag=tag, age=90 * DAY)
    revisions = sorted(f"app@{digest}" for digest in (old, referrer, signature))
    assert names(untagged(storage)) == [f"app:{tag}", *revisions]


def test_signatures_and_lists_outlive_the_last_tag_of_their_subject(
    tree: Tree, storage: Storage
) -> None:
    """Its manifest stays for a while, and is still signed if it is tagged again."""
    for age in (1, 2, 60):
        digest = tree.image("app", f"v{age}", tag=f"v{age}", age=age * DAY)
        tree.image("app", f"signature {age}", tag=f"{digest.replace(':', '-')}.sig", age=age * DAY)
    name = digest.replace(":", "-")
    signature = tree.image("app", "signature of v60", subject=digest, age=60 * DAY)
    tree.index("app", [signature], tag=name, age=60 * DAY)
    rule = {"number": 1, "on": ["app"], "newest": 2}
    plan = retention(storage, rule)
    assert names(plan) == ["app:v60"]
    rows = {row["tag"]: (row["keep"], row["reason"]) for row in plan["rows"]}
    assert rows[name] == rows[f"{name}.sig"] == (True, f"belongs to {digest}")
    apply(storage, plan["removals"])
    os.utime(tree.tag_path("app", "v1").parent, (NOW - 50 * DAY, NOW - 50 * DAY))
    assert sorted(names(retention(storage, rule))) == [f"app:{name}", f"app:{name}.sig"]
    assert {f"app:{name}", f"app:{name}.sig", f"app@{digest}"} < set(names(untagged(storage)))


def test_in_a_repository_with_a_damaged_manifest_nothing_untagged_goes(
    tree: Tree, storage: Storage
) -> None:
    tree.image("app", "old", age=90 * DAY)
    broken = tree.image("app", "broken", tag="v1", age=90 * DAY)
    path = tree.blob_path(broken)
    path.write_bytes(path.read_bytes()[:40])
    tree.image("other", "other old", age=90 * DAY)
    plan = untagged(storage)
    assert [name.split("@")[0] for name in names(plan)] == ["other"]
    assert [damage["sentence"] for damage in plan["damage"]] == [
        f"The manifest app@{broken} is unreadable: its blob is missing or damaged. What it needs"
        f" cannot be known, so nothing untagged is removed from app. Restore {path} from a backup;"
        " or remove that file, if it exists, and push the image again"
    ]
    tree.image("app", "new", tag="v2")
    plan = retention(storage, {"number": 1, "on": ["app"], "newest": 1})
    assert names(plan) == []
    assert {row["tag"]: row["reason"] for row in plan["rows"]} == {
        "v1": "its manifest cannot be read",
        "v2": "among the newest 1",
    }


@pytest.mark.parametrize(
    ("text", "what"), [("", "is empty, as a power loss can leave it"), ("x", "holds no digest")]
)
def test_a_broken_link_is_damage(tree: Tree, storage: Storage, text: str, what: str) -> None:
    digest = tree.image("app", "image", tag="v1", age=90 * DAY)
    tree.image("app", "old", age=90 * DAY)
    path = tree.revision_path("app", digest)
    path.write_text(text)
    plan = untagged(storage)
    assert names(plan) == []
    assert [damage["sentence"] for damage in plan["damage"]] == [
        f"The link of the manifest app@{digest} {what}: the manifest cannot be pulled by its"
        " digest, and a garbage collection fails there. Push the image again, or write the digest"
        f" into the link: printf %s {digest} > {path}"
    ]


@pytest.mark.parametrize(
    ("text", "what"), [("", "is empty, as a power loss can leave it"), ("x", "holds no digest")]
)
def test_a_tag_that_names_nothing_is_damage(
    tree: Tree, storage: Storage, text: str, what: str
) -> None:
    tree.image("app", "image", tag="v1")
    (tree.tag_path("app", "v1") / "current/link").write_text(text)
    assert [damage["sentence"] for damage in untagged(storage)["damage"]] == [
        f"The tag app:v1 names nothing: its link {what}. While it is there, no manifest of app can"
        " be deleted by digest. Push the tag again, or delete the tag"
    ]


def test_a_tag_whose_manifest_is_gone_is_damage(tree: Tree, storage: Storage) -> None:
    digest = tree.image("app", "image", tag="v1")
    tree.revision_path("app", digest).unlink()
    plan = untagged(storage)
    assert [damage["sentence"] for damage in plan["damage"]] == [
        f"The tag app:v1 names {digest}, which is not in app: push the tag again, or delete it"
    ]


def test_the_remains_of_a_tag_are_removed(tree: Tree, storage: Storage) -> None:
    tree.image("app", "image", tag="v1")
    (tree.tag_path("app", "v1") / "current/link").unlink()
    for plan in (
        untagged(storage, None),
        retention(storage, {"number": 1, "on": ["app"], "newest": 1}),
    ):
        assert [(removal.name, removal.digest) for removal in plan["removals"]] == [("app:v1", "")]
        assert plan["damage"] == []


def test_no_symbolic_link_is_followed(tree: Tree, storage: Storage) -> None:
    outside = Tree(tree.path.parent / "outside")
    outside.image("app", "image", tag="v1")
    repositories = tree.root / "repositories"
    repositories.mkdir(parents=True)
    (repositories / "app").symlink_to(outside.root / "repositories/app")
    assert list(storage.repositories()) == []
    assert storage.strays() == [repositories / "app"]
    (repositories / "app").unlink()
    repositories.rmdir()
    repositories.symlink_to(outside.root / "repositories")
    with pytest.raises(HostError) as caught:
        untagged(storage)
    assert str(caught.value) == (
        f"{repositories}: this or a folder above it is a symbolic link or a file, and no"
        " symbolic link is followed in the registry's storage. Move the folder itself to this place"
    )


def test_a_link_that_is_a_symbolic_link_or_a_pipe_is_damage(tree: Tree, storage: Storage) -> None:
    for name in ("v1", "v2"):
        digest = tree.image("app", name, tag=name)
        link = tree.tag_path("app", name) / "current/link"
        link.unlink()
        if name == "v1":
            link.symlink_to(tree.revision_path("app", digest))
        else:
            os.mkfifo(link)
    assert {damage["kind"] for damage in untagged(storage)["damage"]} == {"unreadable tag link"}


def test_a_tag_that_is_deleted_meanwhile_is_not_damage(
    tree: Tree, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = tree.image("app", "image", tag="v1")
    original = storage.revisions

    def revisions(repository: str) -> Any:
        shutil.rmtree(tree.tag_path("app", "v1"))
        tree.revision_path("app", digest).unlink()
        return original(repository)

    monkeypatch.setattr(storage, "revisions", revisions)
    assert untagged(storage) == {"removals": [], "revisions": 0, "damage": []}
