"""The inventories of README and docs, word for word, and the samples, on a fresh host."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import documentation

from . import files
from .controller import BIN, PROJECT, Controller
from .machine import NAME, Machine, differences

#: Settings that no page shows, because they differ from host to host.
SETTINGS: dict[str, Any] = {
    "registry_hostname": NAME,
    "registry_hosts_entry": True,
    "images_source": "build",
    "registry_users": {"admin": {}},
    "registry_access": [{"who": "admin", "may": "all", "on": "all"}],
}


@pytest.fixture(scope="module")
def disk(machine: Machine) -> None:
    """The host has what docs/storage.md mounts."""
    machine.run("mkdir -p /dev/disk/by-label && ln -s /dev/null /dev/disk/by-label/registry")


@pytest.mark.parametrize("name", documentation.INVENTORIES)
def test_the_documentations_examples_deploy(
    machine: Machine, disk: None, controller: Controller, name: str
) -> None:
    folder = controller.directory / f"documented-{name}"
    documentation.write(folder, name, SETTINGS, controller.host_variables)
    if name == "start":
        bundle = [sys.executable, PROJECT / "images/build.py", "bundle", "--architecture", "amd64"]
        done = subprocess.run(
            [*bundle, "--output", folder / "wharfinger-images.tar"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    if name == "access":
        files.root(folder / "partner-ca.crt")
    if name == "robots":
        for root in ("acme-root.crt", "issuing-root.crt"):
            files.root(folder / root)
    before = machine.snapshot()
    options = ["--check"]
    if name == "robots":
        # Its only mistake is that its ACME server cannot be reached from here.
        refused = controller.play(f"documented {name}, without its server", folder, *options)
        assert refused.code == 2
        assert "1 mistake found; nothing was changed." in refused.output
        assert "- certificates_acme_directory: no certificate can come from" in refused.output
        options += ["--extra-vars", "certificates_tls_source=own_ca"]
    run = controller.play(f"documented {name}", folder, *options)
    assert run.code == 0, run.output[-4000:]
    assert differences(before, machine.snapshot()) == []


def test_an_update_of_mirrors_on_a_host_without_a_registry_says_what_to_run_first(
    machine: Machine, controller: Controller
) -> None:
    folder = controller.directory / "documented-mirrors"
    documentation.write(folder, "start", SETTINGS, controller.host_variables)
    before = machine.snapshot()
    options = ("-e", "update=true")
    dry = controller.play(
        "mirrors, dry", folder, "--check", *options, playbook="playbooks/mirror.yml"
    )
    assert dry.code == 0, dry.output[-4000:]
    said = " ".join(dry.output.split())
    assert "so nothing can be copied: run site.yml first." in said
    run = controller.play("mirrors", folder, *options, playbook="playbooks/mirror.yml")
    assert run.code == 2, run.output[-4000:]
    assert run.said["instance"] == ("No registry serves on this host yet: run site.yml first.")
    assert not (folder / "mirror.lock").exists()
    assert differences(before, machine.snapshot()) == []


@pytest.mark.parametrize("name", documentation.INVENTORIES)
def test_wharf_reads_what_docs_show(controller: Controller, name: str) -> None:
    folder = controller.directory / f"documented-{name}"
    words = [BIN / "wharf", "access", "--inventory", folder, "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(row["on"] for row in json.loads(done.stdout))


def test_the_example_deploys_as_it_is_but_for_the_host(
    machine: Machine, controller: Controller
) -> None:
    hosts = {"registry": {"hosts": {"registry.example.com": controller.host_variables}}}
    mine = controller.directory / "hosts.json"
    mine.write_text(json.dumps(hosts), encoding="utf-8")
    example: Path = PROJECT / "inventory/example"
    # These tests run where no image registry can be reached.
    options = ("-i", str(mine), "--check", "-e", "images_source=build")
    run = controller.play("the example", example, *options)
    assert run.code == 0, run.output[-4000:]
