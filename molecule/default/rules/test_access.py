"""The sample of docs/access.md: what accounts may do, asked of the running registry.

The expectations are written out here, not computed from the rules.
"""

from __future__ import annotations

import os

import pytest

from support import hosts
from support.images import REPOSITORIES, Pushed
from support.registry import Account, Registry

EVERYTHING = set(REPOSITORIES)
OWN = {"someuser/app", "someuser/deep/er/app"}
GROUP = {"team/app", "shared/deep/app"}
NOTHING: set[str] = set()

MAY_PULL = {
    "admin": EVERYTHING,
    "readonly": EVERYTHING,
    "someuser": OWN | GROUP,
    "stranger": NOTHING,
    "anonymous": {"public/app"},
}
MAY_PUSH = {
    "admin": EVERYTHING,
    "readonly": NOTHING,
    "someuser": OWN | GROUP,
    "stranger": NOTHING,
    "anonymous": NOTHING,
}
MAY_DELETE = {
    "admin": EVERYTHING,
    "readonly": NOTHING,
    "someuser": OWN,
    "stranger": NOTHING,
    "anonymous": NOTHING,
}
WHO = sorted(MAY_PULL)


@pytest.fixture(params=WHO)
def who(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def account(who: str) -> Account:
    return hosts.account(who)


@pytest.mark.parametrize("user", ["admin", "readonly", "someuser", "stranger"])
def test_every_user_can_sign_in(registry: Registry, user: str) -> None:
    assert registry.login(hosts.account(user)) == 200


@pytest.mark.parametrize("user", ["admin", "readonly", "someuser", "stranger", "nobody"])
def test_nobody_can_sign_in_with_a_wrong_password(registry: Registry, user: str) -> None:
    assert registry.login(Account(user, "wrong")) == 401


def test_somebody_without_login_is_not_signed_in(registry: Registry) -> None:
    answer = registry.request("GET", "/v2/")
    assert answer.status == 401
    assert answer.codes == ["UNAUTHORIZED"]


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_pull(
    registry: Registry, images: dict[str, Pushed], who: str, account: Account, repository: str
) -> None:
    image = images[repository]
    by_tag = registry.pull(account, repository, "present")
    by_digest = registry.pull(account, repository, image.digest)
    layer = registry.blob(account, repository, image.layer_digest)
    if repository in MAY_PULL[who]:
        assert by_tag.headers["docker-content-digest"] == image.digest
        assert by_digest.body == by_tag.body
        assert layer.body == image.layer
    else:
        assert [by_tag.status, by_digest.status, layer.status] == [401, 401, 401]
        assert image.layer not in layer.body


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_push(registry: Registry, who: str, account: Account, repository: str) -> None:
    answer = registry.push(account, repository, f"from-{who}", os.urandom(512))
    assert answer.status == (201 if repository in MAY_PUSH[who] else 401)


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_delete(
    registry: Registry, admin: Account, who: str, account: Account, repository: str
) -> None:
    pushed = registry.push(admin, repository, f"to-delete-{who}", os.urandom(512))
    name = pushed.headers["docker-content-digest"]
    answer = registry.delete(account, repository, name)
    left = registry.pull(admin, repository, name)
    if repository in MAY_DELETE[who]:
        assert (answer.status, left.status) == (202, 404)
    else:
        assert (answer.status, left.status) == (401, 200)


def test_only_admin_may_list_the_repositories(
    registry: Registry, images: dict[str, Pushed], who: str, account: Account
) -> None:
    answer = registry.catalog(account)
    if who == "admin":
        assert set(answer.json["repositories"]) >= set(images)
    else:
        assert answer.status == 401
        assert b"repositories" not in answer.body


def test_a_repository_may_not_be_named_to_look_like_ones_own(
    registry: Registry, someuser: Account
) -> None:
    for repository in ("someuser", "xsomeuser/app", "someuserx/app", "other/someuser/app"):
        assert registry.push(someuser, repository, "latest", b"layer").status == 401, repository
