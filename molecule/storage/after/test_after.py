"""After boots without and with the disk, the data is there and usable."""

from __future__ import annotations

from support import hosts
from support.registry import digest

LAYER = b"a layer that must survive"


def test_what_was_pushed_before_can_be_pulled() -> None:
    registry, someuser = hosts.registry("storage"), hosts.account("someuser")
    assert registry.pull(someuser, "someuser/app", "latest").status == 200
    assert registry.blob(someuser, "someuser/app", digest(LAYER)).body == LAYER


def test_it_can_be_deleted_and_pushed_again() -> None:
    registry, someuser = hosts.registry("storage"), hosts.account("someuser")
    pushed = registry.push(someuser, "someuser/app", "again", b"another layer")
    assert pushed.status == 201
    name = pushed.headers["docker-content-digest"]
    assert registry.delete(someuser, "someuser/app", name).status == 202
