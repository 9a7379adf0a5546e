"""An inventory and a host without any mistake, and a way to make mistakes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from wharfinger.deployment.problems import Problem, Report
from wharfinger.preflight import check

NOW = 1_800_000_000.0

HOST: dict[str, Any] = {
    "python": "3.13.5",
    "distribution": {
        "id": "debian",
        "version": "13",
        "codename": "trixie",
        "name": "Debian GNU/Linux 13 (trixie)",
    },
    "architecture": "amd64",
    "uid": 0,
    "hostname": "registry",
    "fqdn": "registry.example.com",
    "addresses": ["10.0.0.5", "172.17.0.1"],
    "primary_address": "10.0.0.5",
    "resolved": {"registry.example.com": ["10.0.0.5"]},
    "clock": NOW,
    "engine": {
        "state": "running",
        "detail": None,
        "present": True,
        "running": True,
        "warning": None,
        "version": "26.1.5+dfsg1",
        "root": "/var/lib/docker",
        "images_store": "classic",
        "free_bytes": 50 * 2**30,
    },
    "network": None,
    "networks": [{"name": "bridge", "subnets": ["172.17.0.0/16"]}],
    "routes": [
        {"destination": "10.0.0.0/24", "device": "eth0"},
        {"destination": "172.17.0.0/16", "device": "docker0"},
    ],
    "containers": [],
    "foreign_containers": [],
    "listeners": [{"address": "0.0.0.0", "port": 22, "program": "sshd", "pid": 400}],
    "nginx": {"present": False, "running": False, "servers": [], "error": None, "ours": False},
    "storage": {
        "path": "/var/lib/wharfinger/registry",
        "exists": False,
        "is_mount": False,
        "source": "/dev/vda1",
        "fstype": "ext4",
        "parent_mount": "/",
        "free_bytes": 50 * 2**30,
        "total_bytes": 60 * 2**30,
        "uid": None,
        "gid": None,
        "mode": None,
        "data": False,
        "data_uid": None,
        "foreign_owner": None,
    },
    "uids": {"64500": None, "64501": None},
    "state": {
        "network": None,
        "generations": {
            "registry": {"serving": None, "previous": None},
            "token_server": {"serving": None, "previous": None},
        },
    },
}

VARIABLES: dict[str, Any] = {
    "registry_hostname": "registry.example.com",
    "registry_users": {"admin": {}},
    "registry_access": [{"who": "admin", "may": "all", "on": "all"}],
}

# The playbooks of backups need these, too.
BACKUPS = {"backup_repository": "/mnt/backup", "backup_password": "a password"}
# And that of mirrors this.
MIRRORS = {
    "registry_mirrors": [{"from": "docker.io/library/debian", "to": "base/debian", "tags": "13"}]
}


@dataclass(frozen=True)
class Judged:
    """A report as the operator reads it."""

    report: Report

    @property
    def errors(self) -> list[str]:
        return [str(problem) for problem in self.report.errors]

    @property
    def warnings(self) -> list[str]:
        return [str(problem) for problem in self.report.warnings]


Judge = Callable[..., Judged]


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`; mappings are merged, everything else replaced."""
    result = copy.deepcopy(dict(base))
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


@pytest.fixture(scope="session")
def specs(project: Path) -> dict[str, dict[str, Any]]:
    """The real roles' argument specs."""
    options = {}
    for path in sorted(project.glob("roles/*/meta/argument_specs.yml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        options[path.parents[1].name] = content["argument_specs"]["main"].get("options", {})
    return options


@pytest.fixture
def settings(specs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Every variable's default."""
    return {
        name: option.get("default")
        for options in specs.values()
        for name, option in options.items()
    }


@pytest.fixture
def judge(specs: dict[str, dict[str, Any]], tmp_path: Path) -> Judge:
    """judge(registry_port=80, host={"uid": 1000}): the report on the good case with these changes.

    `without` names variables that the inventory lacks; scope, playbook_vars, extra and unresolved
    are those of `check`.
    """

    def judged(
        *,
        host: Mapping[str, Any] | None = None,
        controller: Mapping[str, Any] | None = None,
        without: tuple[str, ...] = (),
        renamed: Mapping[str, str] | None = None,
        scope: str = "site",
        playbook_vars: Mapping[str, Any] | None = None,
        extra: tuple[str, ...] = (),
        unresolved: tuple[Problem, ...] = (),
        **variables: Any,
    ) -> Judged:
        place = BACKUPS if scope in ("backup", "backup_drill", "restore") else {}
        place = MIRRORS if scope == "mirror" else place
        if scope == "base_images":
            place = {"registry_base_images": [{"to": "base/debian-slim", "suite": "trixie"}]}
        inventory = {**VARIABLES, **place, **variables}
        inventory = {k: v for k, v in inventory.items() if k not in without}
        return Judged(
            check(
                inventory,
                specs,
                merged(HOST, host or {}),
                {"clock": [NOW - 1, NOW + 1], "base": str(tmp_path), **(controller or {})},
                renamed=renamed or {},
                scope=scope,
                playbook_vars=playbook_vars,
                extra=extra,
                unresolved=unresolved,
            )
        )

    return judged


@pytest.fixture
def errors(judge: Judge) -> Callable[..., list[str]]:
    """As `judge`, but only the errors."""
    return lambda **changes: judge(**changes).errors


@pytest.fixture
def warnings(judge: Judge) -> Callable[..., list[str]]:
    """As `judge`, but only the warnings, of a report that has no errors."""

    def warned(**changes: Any) -> list[str]:
        report = judge(**changes)
        assert report.errors == []
        return report.warnings

    return warned
