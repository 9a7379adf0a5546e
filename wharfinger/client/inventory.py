"""The variables of one host in an inventory, as Ansible itself reads them.

group_vars, host_vars and plugins count as in a deployment. Only the names in registry_users are
read: no password is decrypted or templated.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import ClientError, UsageError
from .text import clean

PROJECT = Path(__file__).resolve().parents[2]
GROUP = "registry"
# The folder with generated passwords, beside the files of an inventory, is not part of it.
_IGNORED = {"ANSIBLE_INVENTORY_IGNORE_REGEX": "^credentials$"}
_VARIABLES: dict[str, Any] = {
    "registry_users": {},
    "registry_robots": {},
    "registry_groups": {},
    "registry_access": [],
    "registry_auth": "token",
}


def host_variables(inventory: Path, limit: str | None) -> tuple[str, dict[str, Any]]:
    """The selected host and its variables; registry_users is a list of names."""
    if not inventory.exists():
        raise UsageError(f"--inventory {inventory}: there is no such file or directory")
    for name, value in _IGNORED.items():
        os.environ.setdefault(name, value)
    try:
        from ansible.errors import AnsibleError
        from ansible.inventory.manager import InventoryManager
        from ansible.parsing.dataloader import DataLoader
        from ansible.template import Templar
        from ansible.vars.manager import VariableManager

        from wharfinger.inventory import inventory_mistakes, variable_mistakes
    except ModuleNotFoundError as error:
        raise ClientError(
            "this needs Ansible, which is not installed here: pip install 'wharfinger[inventory]', "
            "or use .venv/bin/wharf of the project's folder after ./deploy"
        ) from error
    try:
        _load_plugins()
        loader = DataLoader()
        _give_vault_passwords(loader)
        _refuse(inventory_mistakes([str(inventory)], PROJECT))
        manager = InventoryManager(loader=loader, sources=[str(inventory)])
        host = _host(manager, inventory, limit)
        folder = inventory if inventory.is_dir() else inventory.parent
        groups = [group.name for group in host.get_groups()]
        _refuse(variable_mistakes(loader, [folder], groups, [host.name]))
        variables = VariableManager(loader=loader, inventory=manager).get_vars(host=host)
        templar = Templar(loader=loader, variables=variables)
        values = {}
        for name, default in _VARIABLES.items():
            raw = variables.get(name, default)
            if name == "registry_users" and isinstance(raw, Mapping):
                values[name] = [str(user) for user in raw]
            else:
                values[name] = plain(templar.template(raw))
        return host.name, values
    except AnsibleError as error:
        message = clean(str(error))
        hint = ""
        if "vault" in message.lower() or "decrypt" in message.lower():
            hint = (
                " (a whole file, or a value that is needed here, is encrypted: name its password's "
                "file in ANSIBLE_VAULT_PASSWORD_FILE)"
            )
        raise ClientError(f"{inventory} cannot be read{hint}: {message[:500]}") from error


def _refuse(mistakes: list[str]) -> None:
    """Raises ClientError with our own messages. Ansible's would show the lines around a mistake,
    with other users' passwords."""
    from wharfinger.inventory import CLOSED, report

    # Ansible handles closed vaults: nothing in such a file may be needed here.
    mistakes = [mistake for mistake in mistakes if not mistake.endswith(CLOSED)]
    if mistakes:
        raise ClientError(report(mistakes))


@functools.cache
def _load_plugins() -> None:
    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader()


def _give_vault_passwords(loader: Any) -> None:
    """Loads the passwords that Ansible's settings name (ANSIBLE_VAULT_PASSWORD_FILE and others)."""
    from ansible import constants

    identities = list(constants.DEFAULT_VAULT_IDENTITY_LIST or [])
    file = constants.DEFAULT_VAULT_PASSWORD_FILE
    if identities or file:
        from ansible.cli import CLI

        secrets = CLI.setup_vault_secrets(
            loader, identities, [file] if file else None, auto_prompt=False
        )
        loader.set_vault_secrets(secrets)


def _host(manager: Any, inventory: Path, limit: str | None) -> Any:
    group = manager.groups.get(GROUP)
    hosts = {host.name: host for host in group.get_hosts()} if group else {}
    if not hosts:
        raise UsageError(f"{inventory} has no host in the group {GROUP}")
    if limit is not None:
        if limit not in hosts:
            raise UsageError(f"--limit {limit}: the group {GROUP} has {', '.join(sorted(hosts))}")
        return hosts[limit]
    if len(hosts) > 1:
        raise UsageError(
            f"{inventory} has several registries: say --limit HOST, one of "
            f"{', '.join(sorted(hosts))}"
        )
    return next(iter(hosts.values()))


def plain(value: Any) -> Any:
    """Ansible's types of lists, mappings and texts as plain Python types."""
    if isinstance(value, Mapping):
        return {plain(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, str):
        return str(value)
    return value
