"""The data is on the disk that the inventory names."""

from __future__ import annotations

from testinfra.host import Host

from support import hosts
from support.registry import digest

LAYER = b"a layer that must survive"


def machine() -> Host:
    return hosts.host("storage")


def test_the_disk_is_mounted_and_will_be_at_the_next_boot() -> None:
    mounted = machine().check_output(
        "findmnt --noheadings --output TARGET /var/lib/wharfinger/registry"
    )
    assert mounted == "/var/lib/wharfinger/registry"
    assert "/srv/disk /var/lib/wharfinger/registry none bind" in machine().check_output(
        "tr -s ' \t' ' ' </etc/fstab"
    )


def test_what_is_pushed_lies_on_the_disk() -> None:
    registry, someuser = hosts.registry("storage"), hosts.account("someuser")
    assert registry.push(someuser, "someuser/app", "latest", LAYER).status == 201
    name = digest(LAYER).removeprefix("sha256:")
    data = f"/srv/disk/docker/registry/v2/blobs/sha256/{name[:2]}/{name}/data"
    assert machine().file(data).content == LAYER
