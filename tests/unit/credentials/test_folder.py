"""The files of credentials/: durable, and readable only by their owner."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from wharfinger.credentials.folder import Credentials


def test_a_generated_password_is_on_the_disk_before_the_host_gets_its_hash(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path.name, [file.name for file in credentials.directory.iterdir()]))

    monkeypatch.setattr(os, "fsync", fsync)
    for replace in (False, True):
        synced.clear()
        credentials.generate("u", replace=replace)
        assert len(synced) == 2 and synced[0][0].startswith(".u.")
        assert synced[1] == ("credentials", ["u"])


@pytest.mark.parametrize("umask", [0o077, 0o000], ids=oct)
def test_a_generated_password_is_its_owner_s_whatever_the_umask(
    credentials: Credentials, umask: int
) -> None:
    before = os.umask(umask)
    try:
        credentials.generate("u", replace=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE(credentials.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((credentials.directory / "u").stat().st_mode) == 0o600
