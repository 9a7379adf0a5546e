"""Checks after the users have been changed."""

from __future__ import annotations

import json

from support import hosts
from support.registry import Account


def test_the_changed_users_are_in_force() -> None:
    registry = hosts.registry("htpasswd", auth="htpasswd")
    former = hosts.users()["former"]
    assert registry.login(hosts.account("newcomer")) == 200
    assert registry.login(hosts.account("readonly")) == 200
    assert registry.login(Account("readonly", former["readonly"])) == 401
    assert registry.login(Account("leaver", former["leaver"])) == 401


def test_the_host_remembers_who_was_removed() -> None:
    path = "/var/lib/wharfinger/removed_accounts.json"
    removed = json.loads(hosts.host("htpasswd").check_output("cat %s", path))
    assert removed.keys() == {"leaver"}
