"""Each host in turn, with clients that use it from its first test to its last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from load import Load
from load.plays import Operator
from load.report import table
from load.site import Site, new_load
from support import evidence, hosts
from support.amount import PACE
from support.images import Pushed, push_everywhere

COMMITS = ("74b9cd9", "1409de6")
ACCIDENTS = ("rotation", "maintenance", "switch")


@dataclass
class Upgrade:
    """The upgrade of one host, and its results."""

    site: Site
    load: Load
    accident: str
    commit: str
    # The operator of the earlier commit's checkout.
    before: Operator
    killed: str = ""
    seconds: float = 0
    second_run: str = "not run"
    left_over: str = "not looked at"
    lost: str = "not looked at"


_upgrades: list[Upgrade] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what happened to the clients, even if all is well."""
    rows, pages = [], ""
    for upgrade in _upgrades:
        report = upgrade.load.report("before")
        title = f"{upgrade.commit}, {upgrade.killed}"
        pages += evidence.shown(terminalreporter, title, table(report))
        rows.append(
            [
                upgrade.commit,
                upgrade.site.machine.system_info.release,
                upgrade.killed,
                report["requests"],
                report["failed"],
                upgrade.lost,
                f"{upgrade.seconds:.0f}",
                upgrade.left_over,
                upgrade.second_run,
            ]
        )
    head = ["from", "Debian", "killed (SIGKILL)", "requests", "failed operations"]
    head += ["pushed and lost", "seconds of the upgrade", "left over", "second run"]
    terminalreporter.write_line(evidence.table(head, rows))
    evidence.write(
        "upgrades.md",
        "What clients notice of an upgrade after a killed change",
        "./test upgrade",
        f"{evidence.table(head, rows)}\n{pages}",
    )


@pytest.fixture(scope="module", params=[f"{a}-{c}" for c in COMMITS for a in ACCIDENTS])
def upgrade(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Upgrade]:
    """A host that the earlier commit has deployed, under load."""
    accident, _, commit = request.param.partition("-")
    site = Site(tmp_path_factory.mktemp("site"), request.param, "upgrade")
    # No edits since the first deployment: both checkouts use the same inventory.
    site.operator.settings.clear()
    before = Operator(
        site.operator.inventory, site.name, site.operator.settings, hosts.ephemeral() / commit
    )
    with new_load(site.kept_authority("trusted"), pace=PACE, name=site.name) as load:
        site.load = load
        _upgrades.append(Upgrade(site, load, accident, commit, before))
        yield _upgrades[-1]


@pytest.fixture(scope="module")
def images(upgrade: Upgrade) -> dict[str, Pushed]:
    """Images that were pushed before the upgrade: repository → image."""
    return push_everywhere(upgrade.site.registry(), hosts.account("admin"))
