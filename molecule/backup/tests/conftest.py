"""A registry that is backed up under load, and the bare host that takes its place.

The tests run in the order of the files; those of the second host need what the first host's leave.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from load import Account, Load, Target
from load.backups import BackedUp
from load.report import table
from support import evidence, hosts
from support.amount import PACE

FIRST = "debian12"
HOSTNAME = f"{FIRST}.wharfinger.test"


@dataclass
class Kept:
    """What is left of the first host once it is gone.

    pushed: the manifests that were acknowledged before the last backup began, as NAME@DIGEST.
    tokens: which key has signed it → a token that a thief of that key has made.
    survivor: the digest of a layer that a tag needs, and that restic stores in one piece.
    survivor_at: the pack of the repository that has it, and a byte of it in that pack.
    kills: what was killed, when, and the snapshots before and after, for people.
    """

    pushed: list[str] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    kills: list[tuple[str, str, str]] = field(default_factory=list)
    survivor: str = ""
    survivor_at: tuple[str, int] = ("", 0)
    load: Load | None = None


_kept = Kept()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what was killed and what the clients noticed, even if all is well."""
    page = evidence.table(("killed", "seconds after the start", "new snapshots"), _kept.kills)
    terminalreporter.write_line(page)
    if _kept.load is not None:
        title = "What clients noticed of backups"
        page += "\n" + evidence.shown(terminalreporter, title, table(_kept.load.report("steady")))
    command = "WHARFINGER_TEST_FULL=1 ./test backup"
    evidence.write("backup.md", "Backups under load, and killed ones", command, page)


@pytest.fixture(scope="session")
def kept() -> Kept:
    """What the tests of the first host leave for those of the second."""
    return _kept


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authority that clients trusted before anything happened."""
    folder = tmp_path_factory.mktemp("authority")
    return Path(shutil.copy(hosts.authority(FIRST), folder / "ca.crt"))


@pytest.fixture(scope="session")
def first() -> BackedUp:
    """The host that is backed up."""
    return BackedUp(FIRST, "keeper", "store")


@pytest.fixture(scope="session")
def loaded(authority: Path, kept: Kept) -> Iterator[Load]:
    """Clients use the first host from its first backup to its last."""
    admin = hosts.account("admin")
    target = Target(HOSTNAME, hosts.variables(FIRST)["ansible_host"])
    with Load(target, Account(admin.name, admin.password), authority, pace=PACE) as load:
        kept.load = load
        load.phase("steady")
        yield load
