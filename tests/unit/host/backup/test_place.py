"""Where a repository lies, and disks that are not mounted."""

from __future__ import annotations

from pathlib import Path

import pytest

from wharfinger.host.backup.place import Place, on_one_disk, unmounted


@pytest.mark.parametrize(
    ("text", "shown", "server"),
    [
        ("/mnt/backup", "/mnt/backup", "/mnt/backup"),
        ("sftp:keeper@store:/srv/x", "sftp:keeper@store:/srv/x", "store"),
        ("sftp://keeper@store:2222//srv/x", "sftp://keeper@store:2222//srv/x", "store:2222"),
        ("s3:https://s3.example.com/b/x", "s3:https://s3.example.com/b/x", "s3.example.com"),
        ("s3:s3.amazonaws.com/b", "s3:s3.amazonaws.com/b", "s3.amazonaws.com"),
        ("rest:https://u:p:a@s:8000/", "rest:https://u:***@s:8000/", "s:8000"),
        ("rest:http://store/", "rest:http://store/", "store"),
    ],
)
def test_a_place_is_shown_without_its_password(text: str, shown: str, server: str) -> None:
    place = Place(text)
    assert (str(place), place.server) == (shown, server)
    assert (place.directory is not None) == text.startswith("/")


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        ("/mnt/backup/registry", "/mnt/backup"),
        ("/mnt/backup", "/mnt/backup"),
        ("/mnt/backup2/registry", None),
        ("/mnt/other/x", None),
        ("/proc/x", None),
        ("/mnt/old", None),
    ],
)
def test_a_disk_of_fstab_that_is_not_mounted(
    tmp_path: Path, directory: str, expected: str | None
) -> None:
    fstab = tmp_path / "fstab"
    fstab.write_text(
        "# /mnt/old was on /dev/sda during installation\nUUID=1 / ext4 defaults 0 1\n"
        "proc /proc proc defaults 0 0\nLABEL=backup /mnt/backup ext4 nofail 0 2\n"
        "# /mnt/other ext4\n"
    )
    assert unmounted(Path(directory), fstab) == expected
    assert unmounted(Path(directory), tmp_path / "missing") is None


def test_paths_that_are_not_there_yet_lie_where_their_parents_do(tmp_path: Path) -> None:
    assert on_one_disk(tmp_path / "a/b", tmp_path / "c")
    assert not on_one_disk(tmp_path / "a", Path("/proc/x"))
