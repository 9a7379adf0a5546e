"""`wharf` with a full registry of ours, as users with and without rights, and with a foreign one.

The tests run in the order in which they are written.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from filling.fill import LARGE, Amount
from filling.manifests import belonging
from filling.site import HOSTNAME, NAME, Site
from filling.wharf import Person
from support import hosts
from support.registry import Registry, digest

FOREIGN = "client.wharfinger.test:5000"


@pytest.fixture(scope="module")
def foreign() -> Registry:
    """Debian's docker-registry, with one htpasswd user and an image in each of seven
    repositories."""
    registry = Registry(
        "client.wharfinger.test",
        hosts.variables("client")["ansible_host"],
        str(hosts.ephemeral() / "foreign-ca.crt"),
        port=5000,
        auth="htpasswd",
    )
    for number in range(7):
        for tag in ("one", "two"):
            answer = registry.push(hosts.account("readonly"), f"theirs/{number}/app", tag, b"layer")
            assert answer.status == 201, answer.body
    return registry


def somebody(folder: Path, user: str) -> Person:
    """A user of our registry who also knows the foreign one."""
    folder.mkdir(exist_ok=True)
    credentials = hosts.inventory_file().parent / "credentials"
    return Person(
        folder,
        {HOSTNAME: hosts.account(user), FOREIGN: hosts.account("readonly")},
        {
            HOSTNAME: hosts.variables(NAME)["ansible_host"],
            "client.wharfinger.test": hosts.variables("client")["ansible_host"],
        },
        [credentials / f"{HOSTNAME}-ca.crt", hosts.ephemeral() / "foreign-ca.crt"],
    )


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Person:
    """A user who may do everything."""
    return somebody(tmp_path_factory.mktemp("wharf") / "admin", "admin")


@pytest.fixture(scope="module")
def readonly(tmp_path_factory: pytest.TempPathFactory) -> Person:
    """A user who may pull everything, but not list."""
    return somebody(tmp_path_factory.mktemp("wharf") / "readonly", "readonly")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Person:
    """A user who may do nothing."""
    return somebody(tmp_path_factory.mktemp("wharf") / "stranger", "stranger")


def test_every_tag_of_every_repository_is_listed(site: Site, amount: Amount, admin: Person) -> None:
    rows = admin("repositories", HOSTNAME, "--tags", "--json").json
    listed = {(row["repository"], row["tag"]) for row in rows}
    ours = {tag for tag in listed if not tag[0].startswith("wharfinger-verification")}
    assert ours == {(repository, tag) for repository, tag, _ in site.content.tags}
    assert len(ours) > amount.repositories * amount.tags


def test_tags_have_their_digests(site: Site, admin: Person) -> None:
    rows = admin("tags", f"{HOSTNAME}/signed/app", "--digests", "--json").json
    assert {row["tag"]: row["digest"] for row in rows} == site.content["signed/app"].tags


def test_an_index_is_shown_with_its_platforms_and_raw(site: Site, admin: Person) -> None:
    name = f"{HOSTNAME}/team/app:1.1"
    shown = admin("show", name)
    assert shown.code == 0, shown.error
    index = site.content["team/app"].manifests[site.content["team/app"].tags["1.1"]]
    for child in index.children:
        assert child in shown.output
    assert "arm64" in shown.output
    raw = admin("show", name, "--raw")
    assert digest(raw.output.encode()) == index.digest


@pytest.mark.parametrize("reference", ["classic/app:multi", "artifacts/app:1", "a/b/c/d/e:1"])
def test_every_kind_of_manifest_is_shown(site: Site, admin: Person, reference: str) -> None:
    shown = admin("show", f"{HOSTNAME}/{reference}")
    assert shown.code == 0, shown.error
    repository, _, tag = reference.partition(":")
    assert site.content[repository].tags[tag] in shown.output


def test_du_lists_the_size_of_each_repository(site: Site, admin: Person) -> None:
    report = admin("du", HOSTNAME, "--json").json
    by_name = {row["repository"]: row for row in report["repositories"]}
    [large] = site.content.large.values()
    assert large.size <= by_name[LARGE]["size"] < large.size + 10_000
    # The base layer of 1 MiB is also in team/app.
    assert by_name["team/other"]["shared"] >= 1024**2


def test_without_list_the_catalog_is_closed_and_repositories_can_be_named(
    readonly: Person,
) -> None:
    closed = readonly("repositories", HOSTNAME)
    assert closed.code == 3
    assert "is closed to readonly" in closed.words
    assert "name the repositories instead (wharf tags HOST/NAME)" in closed.words
    assert len(readonly("tags", f"{HOSTNAME}/team/app", "--json").json) == 4


def test_a_user_without_rights_is_refused_by_name(stranger: Person) -> None:
    run = stranger("tags", f"{HOSTNAME}/team/app")
    assert run.code == 3
    assert run.output == ""
    assert f"stranger may not pull team/app on {HOSTNAME}" in run.words


def test_a_digest_that_an_index_needs_is_not_deleted_without_a_word(
    site: Site, admin: Person
) -> None:
    index = site.content["team/app"].manifests[site.content["team/app"].tags["1.0"]]
    child = index.children[0]
    run = admin("rm", f"{HOSTNAME}/team/app@{child}")
    assert run.code == 2
    assert "tag 1.0-amd64 will be gone too" in run.words
    assert f"WARNING: the index team/app:1.0 ({index.digest}) still needs it" in run.words
    # There is no terminal to ask at, so nothing is deleted.
    assert "say --yes" in run.words
    assert site.pushing("team/app").digest_of("team/app", child) == child
    site.whole()


def test_a_tag_is_removed_alone(site: Site, admin: Person) -> None:
    tags = site.content["small/002/app"].tags
    site.pushing("small/002/app").manifest(
        "small/002/app", site.content["small/002/app"].manifests[tags["v1"]], "too"
    )
    removed = admin("rm", f"{HOSTNAME}/small/002/app:too", "--yes")
    assert removed.code == 0, removed.error
    del tags["too"]
    rows = admin("tags", f"{HOSTNAME}/small/002/app", "--json").json
    assert {row["tag"] for row in rows} == set(tags)
    site.whole()


def test_between_registries_an_image_is_copied_with_its_digest(
    site: Site, admin: Person, foreign: Registry
) -> None:
    copied = admin("copy", f"{HOSTNAME}/team/app:1.1", f"{FOREIGN}/theirs/copied")
    assert copied.code == 0, copied.error
    rows = admin("tags", f"{FOREIGN}/theirs/copied", "--digests", "--json").json
    assert {row["tag"]: row["digest"] for row in rows} == {
        "1.1": site.content["team/app"].tags["1.1"]
    }


def test_against_debians_registry(admin: Person, foreign: Registry) -> None:
    rows = admin("repositories", FOREIGN, "--tags", "--json").json
    listed = {(row["repository"], row["tag"]) for row in rows}
    assert listed >= {(f"theirs/{n}/app", tag) for n in range(7) for tag in ("one", "two")}
    shown = admin("show", f"{FOREIGN}/theirs/3/app:one")
    assert shown.code == 0, shown.error
    # Release 2.8 cannot delete a single tag, and nothing else is deleted instead.
    refused = admin("rm", f"{FOREIGN}/theirs/3/app:one", "--yes")
    assert refused.code == 1
    assert f"{FOREIGN} does not remove single tags" in refused.words
    assert len(admin("tags", f"{FOREIGN}/theirs/3/app", "--json").json) == 2
    name = admin("tags", f"{FOREIGN}/theirs/3/app", "--digests", "--json").json[0]["digest"]
    assert admin("rm", f"{FOREIGN}/theirs/3/app@{name}", "--yes").code == 0


def test_a_wrong_password_is_reported(tmp_path: Path, foreign: Registry) -> None:
    person = somebody(tmp_path / "wrong", "readonly")
    run = person(
        "tags", f"{FOREIGN}/theirs/1/app", "--user", "readonly", "--password-stdin", text="wrong"
    )
    assert run.code == 3
    assert "readonly" in run.words


def test_the_inventory_tells_who_may_do_what(admin: Person) -> None:
    inventory = str(hosts.inventory_file().parent)
    yes = admin("can", "someuser", "push", "someuser/app", "--inventory", inventory)
    assert yes.code == 0, yes.error
    no = admin("can", "readonly", "push", "team/app", "--inventory", inventory)
    assert no.code == 3
    run = admin("access", "--inventory", inventory, "--json")
    assert "developers" in json.dumps(run.json)


def test_retention_is_shown_from_here(site: Site, admin: Person) -> None:
    inventory = str(hosts.inventory_file().parent)
    rows = admin("retention", "--dry-run", "--inventory", inventory, "--json").json
    of_one = [row for row in rows if row["repository"] == "team/app"]
    assert {row["tag"] for row in of_one} == set(site.content["team/app"].tags)
    # The inventory has no rules.
    assert {(row["keep"], row["reason"]) for row in rows} == {(True, "no rule names it")}
    refused = admin("retention", "--inventory", inventory)
    assert refused.code == 2
    assert "playbooks/retention.yml" in refused.words
    assert belonging(site.content["signed/app"].tags["v1"], ".sig") in {row["tag"] for row in rows}
