"""The inventories of README and docs, word for word, with every playbook that reads them, on a
deployed host."""

from __future__ import annotations

import pytest

from support import documentation

from . import files
from .controller import Controller, Run
from .machine import Machine
from .test_0_documentation import SETTINGS

CONTENTS = ("playbooks/retention.yml", "playbooks/garbage_collect.yml", "playbooks/scrub.yml")


@pytest.fixture(scope="module")
def deployed(controller: Controller, machine: Machine) -> None:
    """Deploys the users, robots and rules of docs/robots.md, whatever was there before."""
    folder = controller.directory / "robots-deployed"
    context = SETTINGS | {"certificates_tls_source": "own_ca"}
    made = documentation.INVENTORIES["robots"].blocks[:2]
    documentation.write_blocks(folder, made, context, controller.host_variables)
    run = controller.play("robots are deployed", folder)
    assert run.code == 0, run.output[-4000:]
    # With this record the host would take the next inventories for old copies of this one.
    machine.run("rm /var/lib/wharfinger/removed_accounts.json")


@pytest.mark.parametrize(
    ("name", "playbooks", "options"),
    [
        ("start", ("playbooks/users.yml", *CONTENTS), ()),
        ("start", ("playbooks/rotate_certificates.yml",), ("-e", "rotate=signing")),
        ("access", ("playbooks/users.yml",), ()),
        ("wishes", ("playbooks/users.yml",), ()),
        ("robots", ("playbooks/users.yml",), ()),
        # As docs/robots.md shows it, and the same in JSON.
        ("robots", ("playbooks/rotate_robots.yml",), ("-e", "robot=ci")),
        ("robots", ("playbooks/rotate_robots.yml",), ("-e", '{"robot": "ci", "overlap": "24h"}')),
    ],
)
def test_every_playbook_takes_what_docs_show(
    deployed: None,
    controller: Controller,
    name: str,
    playbooks: tuple[str, ...],
    options: tuple[str, ...],
) -> None:
    folder = controller.directory / f"later-{name}"
    if not folder.exists():
        documentation.write(folder, name, SETTINGS, controller.host_variables)
        files.root(folder / "partner-ca.crt")
    run: Run = controller.play(
        f"{name}: {playbooks}{options}", folder, "--check", *options, playbook=" ".join(playbooks)
    )
    assert run.code == 0, run.output[-4000:]
