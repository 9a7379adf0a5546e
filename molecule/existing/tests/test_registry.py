"""The registry serves beside what was there."""

from __future__ import annotations

from support import hosts


def test_the_registry_serves() -> None:
    registry = hosts.registry("existing")
    someuser = hosts.account("someuser")
    assert registry.push(someuser, "someuser/app", "latest", b"a layer").status == 201
    assert registry.pull(someuser, "someuser/app", "latest").status == 200
