"""The layer of a base image: what differs from host to host is not in it."""

from __future__ import annotations

import io
import tarfile

import pytest

from wharfinger.host.base_images import layer

MOMENT = 1_700_000_000


def tar(
    *members: tuple[str, bytes | None], mtime: float = MOMENT + 0.5, user: str = "root"
) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.mtime, info.uname = mtime, user
            if content is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return output.getvalue()


def written(source: bytes) -> bytes:
    output = io.BytesIO()
    layer.write(io.BytesIO(source), output, b"Types: deb\n", MOMENT)
    return output.getvalue()


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: member for member in archive}


@pytest.mark.parametrize(
    "name",
    [
        "dev/console",
        "etc/hostname",
        "etc/resolv.conf",
        "etc/machine-id",
        "etc/apt/sources.list",
        "etc/apt/sources.list.d/0000debian.sources",
        "etc/shadow-",
        "run/lock/x",
        "tmp/x",
        "var/cache/ldconfig/aux-cache",
        "var/lib/apt/lists/deb.debian.org_InRelease",
        "var/lib/dpkg/status-old",
        "var/log/dpkg.log",
    ],
)
def test_files_of_a_host_or_a_run_are_left_out(name: str) -> None:
    assert not layer.is_kept(name, directory=False)


@pytest.mark.parametrize(
    ("name", "directory"),
    [
        ("dev", True),
        ("etc/shadow", False),
        ("etc/apt/apt.conf.d/01autoremove", False),
        ("var/cache/apt/archives/partial", True),
        ("var/log/apt", True),
        ("var/lib/dpkg/status", False),
        ("tmp", True),
    ],
)
def test_the_rest_stays(name: str, directory: bool) -> None:
    assert layer.is_kept(name, directory=directory)


def test_two_hosts_tars_become_the_same_layer() -> None:
    first = tar(
        ("./", None), ("./etc/", None), ("./etc/os-release", b"x"), ("./etc/hostname", b"a")
    )
    second = tar(
        ("./etc", None), ("./etc/os-release", b"x"), ("./dev/x", b""), mtime=MOMENT, user="u"
    )
    assert written(first) == written(second)
    found = members(written(first))
    assert list(found) == ["etc", "etc/os-release", layer.SOURCES]
    assert {member.mtime for member in found.values()} == {MOMENT}


def test_a_file_capability_stays() -> None:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("bin/ping")
        key = "SCHILY.xattr.security.capability"
        info.pax_headers = {key: "caps", "SCHILY.xattr.user.other": "x"}
        archive.addfile(info)
    assert members(written(output.getvalue()))["bin/ping"].pax_headers == {key: "caps"}


def test_half_a_tar_is_an_error() -> None:
    data = tar(("etc/os-release", b"x" * 20_000))
    with pytest.raises((tarfile.TarError, EOFError)):
        written(data[:9_000])
