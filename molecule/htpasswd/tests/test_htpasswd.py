"""Everybody who can sign in may do everything, and nobody else may do anything."""

from __future__ import annotations

import os

import pytest

from support import hosts
from support.registry import ANONYMOUS, Account, Registry

USERS = ["admin", "readonly", "someuser", "stranger"]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return hosts.registry("htpasswd", auth="htpasswd")


@pytest.mark.parametrize("user", USERS)
def test_every_user_may_do_everything(registry: Registry, user: str) -> None:
    account = hosts.account(user)
    assert registry.login(account) == 200
    pushed = registry.push(account, "any/where", user, os.urandom(2048))
    assert pushed.status == 201
    assert registry.pull(account, "any/where", user).status == 200
    assert registry.catalog(account).status == 200
    name = pushed.headers["docker-content-digest"]
    assert registry.delete(account, "any/where", name).status == 202


@pytest.mark.parametrize("account", [ANONYMOUS, Account("admin", "wrong"), Account("nobody", "x")])
def test_nobody_else_may_do_anything(registry: Registry, account: Account) -> None:
    admin = hosts.account("admin")
    assert registry.push(admin, "any/where", "present", b"layer").status == 201
    assert registry.login(account) == 401
    assert registry.pull(account, "any/where", "present").status == 401
    assert registry.push(account, "any/where", "other", b"layer").status == 401
    assert registry.catalog(account).status == 401


def test_there_is_no_token_server(registry: Registry) -> None:
    machine = hosts.host("htpasswd")
    listed = machine.check_output("docker ps --format '{{.Names}}'").split()
    assert [name.rsplit("-", 1)[0] for name in listed] == ["wharfinger-registry"]
    assert registry.request("GET", "/auth").status == 404
