"""`wharf` with another registry: Debian's docker-registry 2.8, with htpasswd."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from local.registries import ADDRESS, Served
from support.registry import Account, Registry
from tests.client.conftest import Person
from wharfinger.oci.media_types import OCI_IMAGE, OCI_INDEX

NAMES = [f"team/{number:03}" for number in range(120)]


@pytest.fixture(scope="module")
def pushed(debian: Served) -> dict[str, str]:
    """120 repositories, more than one page of the catalog; team/000 has two tags of one image.
    Repository → digest."""
    client = Registry(ADDRESS, ADDRESS, str(debian.ca), debian.port, auth="htpasswd")
    admin = Account("admin", "admin-pw")
    digests = {}
    for name in NAMES:
        answer = client.push(admin, name, "1", b"layer")
        assert answer.status == 201, answer.body
        digests[name] = answer.headers["docker-content-digest"]
    data = client.pull(admin, NAMES[0], "1")
    again = client.call(
        admin,
        "",
        "PUT",
        f"/v2/{NAMES[0]}/manifests/2",
        headers={"Content-Type": data.headers["content-type"]},
        body=data.body,
    )
    assert again.status == 201
    return digests


@pytest.fixture
def admin(debian: Served, tmp_path: Path, pushed: dict[str, str]) -> Person:
    """The admin, logged in."""
    return Person(debian, tmp_path).logged_in("admin")


def test_every_page_of_the_catalog_is_read(admin: Person) -> None:
    assert admin("repositories").out.splitlines() == NAMES


def test_a_login_is_needed(debian: Served, tmp_path: Path) -> None:
    ran = Person(debian, tmp_path)("tags", "team/000")
    assert (ran.code, ran.out) == (3, "")
    assert "wants a login" in ran.err
    ran = Person(debian, tmp_path)("login", "--user", "admin", "--password-stdin", input="wrong")
    assert ran.code == 3
    assert "does not accept the login of admin" in ran.err


def test_an_image_is_shown_and_summed_up(admin: Person, pushed: dict[str, str]) -> None:
    assert pushed["team/001"] in admin("show", "team/001:1").out
    total = admin("du", "team/000", "--json").json["total"]
    assert (total["tags"], total["logical"]) == (2, 2 * total["size"])


def test_a_single_tag_cannot_be_removed_and_the_other_stays(
    admin: Person, pushed: dict[str, str]
) -> None:
    ran = admin("rm", "team/000:1", "--yes")
    assert (ran.code, ran.out) == (1, "")
    assert "does not remove single tags" in ran.err
    assert (
        "By its digest the whole manifest can be deleted, and tag 2 with it: wharf rm "
        f"{admin.served.name}/team/000@{pushed['team/000']}"
    ) in ran.err
    assert admin("tags", "team/000").out == "1\n2\n"


def test_a_manifest_is_deleted_with_its_tags(admin: Person, pushed: dict[str, str]) -> None:
    ran = admin("rm", f"team/119@{pushed['team/119']}", "--yes")
    assert (ran.code, "tag 1 will be gone too" in ran.err) == (0, True)
    # The catalog still has the name, and its list of tags is null.
    assert "team/119\t\n" in admin("repositories", "--tags").out


def test_a_signature_goes_with_its_list(
    admin: Person, debian: Served, pushed: dict[str, str]
) -> None:
    """This registry cannot remove a tag alone, so the manifest of the empty list is deleted."""
    name, subject = "team/118", pushed["team/118"]
    client = Registry(ADDRESS, ADDRESS, str(debian.ca), debian.port, auth="htpasswd")
    user = Account("admin", "admin-pw")
    list_tag = subject.replace(":", "-")
    image = json.loads(client.pull(user, name, "1").body)
    digests = []
    for number in range(2):
        signature = image | {
            "mediaType": OCI_IMAGE,
            "subject": {"mediaType": OCI_IMAGE, "digest": subject, "size": 1},
            "annotations": {"number": str(number)},
        }
        data = json.dumps(signature).encode()
        digests.append(f"sha256:{hashlib.sha256(data).hexdigest()}")
        put(client, user, f"/v2/{name}/manifests/{digests[-1]}", OCI_IMAGE, data)
    entries = [{"mediaType": OCI_IMAGE, "digest": digest, "size": len(data)} for digest in digests]
    listed = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    put(client, user, f"/v2/{name}/manifests/{list_tag}", OCI_INDEX, json.dumps(listed).encode())
    for digest, tags in zip(digests, (["1", list_tag], ["1"]), strict=True):
        ran = admin("rm", f"{name}@{digest}", "--yes")
        assert (ran.code, "taken out of the list of referrers" in ran.err) == (0, True), ran.err
        assert admin("tags", name).out.split() == tags


def put(client: Registry, user: Account, path: str, kind: str, data: bytes) -> None:
    """Pushes a manifest."""
    answer = client.call(user, "", "PUT", path, headers={"Content-Type": kind}, body=data)
    assert answer.status == 201, answer.body


def test_without_tls_nothing_is_sent(debian: Served, tmp_path: Path) -> None:
    ran = Person(debian, tmp_path)("tags", "team/000", "--plain-http", cacert=False)
    assert (ran.code, ran.out) == (1, "")
    assert "answers 400 Bad Request" in ran.err
