"""The data is on the disk that the inventory names."""

from __future__ import annotations

from testinfra.host import Host

from support import hosts
from support.registry import digest

LAYER = b"a layer that must survive"
PATH = "/var/lib/wharfinger/registry"


def machine() -> Host:
    return hosts.host("storage")


def test_the_disk_is_mounted_and_will_be_before_docker_starts() -> None:
    assert machine().check_output(f"findmnt --noheadings --output TARGET {PATH}") == PATH
    [line] = [
        line.split()
        for line in machine().file("/etc/fstab").content_string.splitlines()
        if PATH in line
    ]
    assert line[:3] == ["/srv/disk/registry", PATH, "none"]
    assert line[3].split(",") == ["bind", "nofail", "x-systemd.before=docker.service"]


def test_what_is_pushed_lies_on_the_disk() -> None:
    registry, someuser = hosts.registry("storage"), hosts.account("someuser")
    assert registry.push(someuser, "someuser/app", "latest", LAYER).status == 201
    name = digest(LAYER).removeprefix("sha256:")
    data = f"/srv/disk/registry/docker/registry/v2/blobs/sha256/{name[:2]}/{name}/data"
    assert machine().file(data).content == LAYER
