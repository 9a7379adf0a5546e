"""Variables of an inventory's other hosts, as far as Ansible can resolve them.

Callers pass Ansible's `hostvars`: `hostvars[host]` resolves each value that is read, and
`hostvars.raw_get(host)` has the values as they are written. Names that are written literally are
read from there, so that no password is decrypted for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError

#: The group of all hosts that have a registry.
REGISTRIES = "registry"


def resolved_value(variables: Mapping[str, Any], name: str, default: Any) -> Any:
    """The variable's value; the default if it has none, or one that cannot be resolved."""
    try:
        value = variables[name]
    except (KeyError, AnsibleError):
        return default
    return default if value is None else value


def entries(raw: Mapping[str, Any], variables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A host's registry_users or registry_robots; empty if they are unknown.

    raw: the host's variables as they are written. variables: the same, resolved.
    """
    value = raw.get(name)
    if isinstance(value, str):  # an expression
        value = resolved_value(variables, name, {})
    return value if isinstance(value, Mapping) else {}


def account_names(task_vars: Mapping[str, Any], host: str, *variables: str) -> set[str]:
    """The names in a host's registry_users or registry_robots; empty if they are unknown."""
    hostvars = task_vars["hostvars"]
    raw, resolved = hostvars.raw_get(host), hostvars[host]
    return {str(name) for variable in variables for name in entries(raw, resolved, variable)}


def accounts_elsewhere(task_vars: Mapping[str, Any]) -> set[str]:
    """The names of the users and robots of the inventory's other registries."""
    others = {*task_vars["groups"].get(REGISTRIES, [])} - {task_vars["inventory_hostname"]}
    return {
        name
        for host in others
        for name in account_names(task_vars, host, "registry_users", "registry_robots")
    }


def robots_left_out(task_vars: Mapping[str, Any]) -> dict[str, set[str]]:
    """Registries of the same folder that --limit excludes → their robots."""
    hostvars, own = task_vars["hostvars"], task_vars.get("inventory_dir")
    others = {*task_vars["groups"].get(REGISTRIES, [])} - {*task_vars["ansible_play_hosts"]}
    return {
        host: account_names(task_vars, host, "registry_robots")
        for host in others
        if hostvars[host].get("inventory_dir") == own
    }
