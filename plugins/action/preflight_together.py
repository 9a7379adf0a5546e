"""Looks at all hosts of the inventory's group `registry` together, whatever --limit says."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from wharfinger.preflight.report import Report, mistakes
from wharfinger.preflight.together import Registry, check_together

GROUP = "registry"
# Scope → whether its playbook does more than change users and secrets. Others make no files here.
SCOPES = {"site": True, "rotate": True, "users": False, "rotate_robots": False}


class ActionModule(ActionBase):
    """wharfinger.preflight.check_together; to be run once, after every host has been looked at.

    `scope` says for which playbook, as preflight's. Asks no host: one to which the run is not
    limited is known by its variables.
    """

    _VALID_ARGS = frozenset({"scope"})

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Fails with all errors at once."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        names = task_vars["groups"].get(GROUP, [])
        scope = self._task.args.get("scope", "site")
        if scope not in SCOPES or len(names) < 2:
            return result
        report = Report()
        every = task_vars["hostvars"]
        hosts = {
            str(name): described(str(name), every.raw_get(name), every[name]) for name in names
        }
        check_together(hosts, report, deploys=SCOPES[scope])
        for warning in report.warnings:
            self._display.warning(warning)
        if report.errors:
            result.update(failed=True, msg=mistakes(report.errors))
        return result


def described(name: str, raw: Mapping[str, Any], variables: Mapping[str, Any]) -> Registry:
    """What the host's variables say; of a value that cannot be worked out, nothing."""

    def text(variable: str, default: str = "") -> str:
        return str(worked_out(variables, variable, default))

    facts = worked_out(variables, "preflight_facts", {})
    connection = text("ansible_connection", "ssh")
    # Others (docker, say) do not find their host by an address.
    by_ssh = connection in ("ssh", "smart", "paramiko_ssh")
    # Ansible still takes the older names, too.
    address = text("ansible_host", text("ansible_ssh_host", name)) if by_ssh else name
    port = text("ansible_port", text("ansible_ssh_port", "22"))
    ways = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
    return Registry(
        # Preflight knows the name of a host whose registry_hostname is empty.
        hostname=str(facts.get("hostname") or text("registry_hostname")),
        port=text("registry_port", "443"),
        folder=text("inventory_dir"),
        source=text("certificates_tls_source", "own_ca"),
        root=text("certificates_tls_ca"),
        machine="this one" if connection == "local" else f"{address}, port {port}",
        via=" ".join([connection, *map(text, ways)]),
        accounts=accounts(raw, variables),
    )


def accounts(raw: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, str]:
    """Name → `user` or `robot`, of those whose password or secret is generated.

    raw: the host's variables as they are written. Where names stand there, no password needs to be
    decrypted for them.
    """
    found: dict[str, str] = {}
    for variable, kind in (("registry_users", "user"), ("registry_robots", "robot")):
        entries = raw.get(variable)
        if isinstance(entries, str):
            entries = worked_out(variables, variable, {})
        for name, entry in entries.items() if isinstance(entries, Mapping) else ():
            if kind == "robot" or not entry:
                found[str(name)] = kind
    return found


def worked_out(variables: Mapping[str, Any], name: str, default: Any) -> Any:
    """The variable's value; the default where it has none, or one that cannot be worked out."""
    try:
        found = variables[name]
    except (KeyError, AnsibleError):
        return default
    return default if found is None else found
