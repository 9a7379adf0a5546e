"""`wharf can` and `wharf access`: who may do what, from the inventory alone.

Ansible itself reads the inventory, so that group_vars, host_vars and plugins count as they do for a
deployment. Of registry_users only the names are read: no password is decrypted or worked out.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ClientError, Denied, UsageError
from .output import Column, Output
from .text import clean

if TYPE_CHECKING:
    from wharfinger.access import Decision, Policy

PROJECT = Path(__file__).resolve().parents[2]
GROUP = "registry"
ANONYMOUS = "anonymous"
# Beside an inventory's files lie generated passwords, which are no inventory.
_IGNORED = {"ANSIBLE_INVENTORY_IGNORE_REGEX": "^credentials$"}
_VARIABLES: dict[str, Any] = {
    "registry_users": {},
    "registry_robots": {},
    "registry_groups": {},
    "registry_access": [],
    "registry_auth": "token",
}


def answer(
    user: str, verb: str, repository: str | None, inventory: Path, limit: str | None, json: bool
) -> None:
    """Prints the decision and its rule; raises Denied for no, so that the exit code says it."""
    from wharfinger.access import VERBS

    if verb not in VERBS:
        raise UsageError(f"{verb!r} is no verb: write one of {', '.join(VERBS)}")
    if verb == "list" and repository is not None:
        raise UsageError("list is asked of the catalog: write no repository")
    if verb != "list" and not repository:
        raise UsageError(f"{verb} is asked of a repository: write its name after the verb")
    host, settings = _settings(inventory, limit)
    who = "someone who is not signed in" if user == ANONYMOUS else user
    what = (
        "see the catalog"
        if verb == "list"
        else f"{verb} {'to ' if verb == 'push' else ''}{repository}"
    )
    allowed, number, why = _decide(settings, user, verb, repository)
    if json:
        Output().document(
            {
                "user": user,
                "verb": verb,
                "repository": repository,
                "allowed": allowed,
                "rule": number,
                "why": why,
                "host": host,
            }
        )
    sentence = f"{who} {'may' if allowed else 'may not'} {what}: {why}"
    if not allowed:
        raise Denied(sentence)
    if not json:
        print(sentence)


def _decide(
    settings: Mapping[str, Any], user: str, verb: str, repository: str | None
) -> tuple[bool, int | None, str]:
    """Allowed, the rule's number, and the reason in words."""
    if user != ANONYMOUS and user not in settings["registry_users"]:
        if user in (settings["registry_robots"] or {}):
            return _decide_robot(settings, user, verb, repository)
        return False, None, f"registry_users has no {user}"
    if settings["registry_auth"] == "htpasswd":
        signed_in = user != ANONYMOUS
        return signed_in, None, "with registry_auth: htpasswd every user may do everything"
    policy = _policy(settings)
    return _reason(policy, policy.decide(None if user == ANONYMOUS else user, verb, repository))


def _decide_robot(
    settings: Mapping[str, Any], name: str, verb: str, repository: str | None
) -> tuple[bool, int | None, str]:
    """As _decide, for a robot that signs in from where it may."""
    policy = _policy(settings)
    robot = policy.robots[name]
    if robot.expires and robot.expires < datetime.now(UTC).date():
        return False, None, f"registry_robots says that it has expired, on {robot.expires}"
    allowed, rule, why = _reason(policy, policy.decide(name, verb, repository))
    if allowed and robot.addresses:
        why += f"; from {' or '.join(str(network) for network in robot.addresses)} only"
    if allowed and robot.expires:
        why += f"; until {robot.expires}"
    return allowed, rule, why


def _reason(policy: Policy, found: Decision) -> tuple[bool, int | None, str]:
    if found.rule is None:
        return found.allowed, None, "no rule of registry_access matches"
    rule = policy.rules[found.rule - 1]
    words = f"{{who: {_one(rule.who)}, may: {_one(rule.may)}, on: {_one(rule.on)}}}"
    return found.allowed, found.rule, f"rule {found.rule} of registry_access, {words}"


def _one(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"[{', '.join(words)}]"


def show_access(inventory: Path, limit: str | None, output: Output) -> None:
    """Prints a row for each word of each rule's `who`."""
    from wharfinger.access import rows

    _, settings = _settings(inventory, limit)
    if settings["registry_auth"] == "htpasswd":
        found: list[dict[str, object]] = [
            {
                "rule": None,
                "who": "every user",
                "may": "everything",
                "on": "every repository and the catalog",
            }
        ]
    else:
        found = [{**row, "rule": int(row["rule"])} for row in rows(_policy(settings))]
    columns = [
        Column("rule", "RULE", right=True),
        Column("who", "WHO"),
        Column("may", "MAY"),
        Column("on", "ON"),
    ]
    output.rows(columns, found)


def _policy(settings: Mapping[str, Any]) -> Policy:
    from wharfinger.access import Policy

    names: dict[str, object] = {name: {} for name in settings["registry_users"]}
    try:
        return Policy.from_inventory(
            names,
            settings["registry_groups"],
            settings["registry_access"],
            settings["registry_robots"],
        )
    except ValueError as error:
        raise ClientError(f"the inventory has mistakes:\n{error}") from error


def _settings(inventory: Path, limit: str | None) -> tuple[str, dict[str, Any]]:
    """The host that is meant, and its variables: registry_users as a list of names."""
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
        found = {}
        for name, default in _VARIABLES.items():
            raw = variables.get(name, default)
            if name == "registry_users" and isinstance(raw, Mapping):
                found[name] = [str(one) for one in raw]
            else:
                found[name] = plain(templar.template(raw))
        return host.name, found
    except AnsibleError as error:
        said = clean(str(error))
        hint = ""
        if "vault" in said.lower() or "decrypt" in said.lower():
            hint = (
                " (a whole file, or a value that is needed here, is encrypted: name its password's "
                "file in ANSIBLE_VAULT_PASSWORD_FILE)"
            )
        raise ClientError(f"{inventory} cannot be read{hint}: {said[:500]}") from error


def _refuse(mistakes: list[str]) -> None:
    """What Ansible would say has the lines around the mistake in it, other users' passwords too."""
    from wharfinger.inventory import CLOSED, report

    # A closed vault is left to Ansible: the file may hold nothing that is needed here.
    mistakes = [one for one in mistakes if not one.endswith(CLOSED)]
    if mistakes:
        raise ClientError(report(mistakes))


@functools.cache
def _load_plugins() -> None:
    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader()


def _give_vault_passwords(loader: Any) -> None:
    """Those that Ansible's own settings name (ANSIBLE_VAULT_PASSWORD_FILE, ansible.cfg)."""
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
    """Ansible's own containers and texts as Python's."""
    if isinstance(value, Mapping):
        return {plain(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, str):
        return str(value)
    return value
