"""What the variables of an inventory's other hosts say, as far as Ansible can work them out.

Its callers hand over `hostvars` as Ansible has it: `hostvars[host]` works out each value that is
asked for, `hostvars.raw_get(host)` has them as they are written. Where names stand there
themselves, no password is decrypted for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError

#: The group of all hosts that have a registry.
REGISTRIES = "registry"


def worked_out(variables: Mapping[str, Any], name: str, default: Any) -> Any:
    """The variable's value; the default where it has none, or one that cannot be worked out."""
    try:
        value = variables[name]
    except (KeyError, AnsibleError):
        return default
    return default if value is None else value


def entries(raw: Mapping[str, Any], variables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A host's registry_users or registry_robots; empty where they are unknown.

    raw: the host's variables as they are written, variables: worked out.
    """
    value = raw.get(name)
    if isinstance(value, str):  # an expression
        value = worked_out(variables, name, {})
    return value if isinstance(value, Mapping) else {}


def account_names(task_vars: Mapping[str, Any], host: str, *variables: str) -> set[str]:
    """The names in registry_users or registry_robots of any host; none where they are unknown."""
    hostvars = task_vars["hostvars"]
    raw, resolved = hostvars.raw_get(host), hostvars[host]
    return {str(name) for variable in variables for name in entries(raw, resolved, variable)}


def accounts_elsewhere(task_vars: Mapping[str, Any]) -> set[str]:
    """The names of users and robots that other registries of the inventory have."""
    others = {*task_vars["groups"].get(REGISTRIES, [])} - {task_vars["inventory_hostname"]}
    return {
        name
        for host in others
        for name in account_names(task_vars, host, "registry_users", "registry_robots")
    }


def robots_left_out(task_vars: Mapping[str, Any]) -> dict[str, set[str]]:
    """The registries of the same folder that the run is limited not to reach → their robots."""
    hostvars, own = task_vars["hostvars"], task_vars.get("inventory_dir")
    others = {*task_vars["groups"].get(REGISTRIES, [])} - {*task_vars["ansible_play_hosts"]}
    return {
        host: account_names(task_vars, host, "registry_robots")
        for host in others
        if hostvars[host].get("inventory_dir") == own
    }
