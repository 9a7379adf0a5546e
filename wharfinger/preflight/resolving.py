"""The values that Ansible resolves for the inventory's variables, and what it cannot resolve."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from ansible.errors import AnsibleError, AnsibleUndefinedVariable
from ansible.parsing.vault import AnsibleVaultError

from wharfinger.deployment.problems import Problem, Report
from wharfinger.inventory import CLOSED

from .extra_vars import NAMES
from .specifications import specifications
from .variables import Spec, check_variables, usable

try:
    # Says where a value was written. It is not public in Ansible, and may be removed one day.
    from ansible._internal._datatag._tags import Origin
except ImportError:
    Origin = None

# Registered by the roles; nobody sets them.
NOT_SETTINGS = frozenset(
    {
        *("certificates_published", "contents_done", "docker_auth_users", "docker_auth_files"),
        *("docker_auth_rotation", "images_present", "preflight_facts"),
    }
)
# Mappings and lists in which values may be numbers.
FREE_NUMBERS = frozenset({"registry_retention", "registry_settings", "registry_environment"})
POLICY = frozenset({"registry_users", "registry_robots", "registry_groups", "registry_access"})


class Resolved(NamedTuple):
    """The result of `resolve`.

    variables: every variable's name; the value only for those with one of our prefixes.
    playbook_vars: those that the playbook gets with -e. problems: one for each of these variables
    that cannot be resolved.
    """

    variables: dict[str, Any]
    playbook_vars: dict[str, Any]
    problems: list[Problem]


def resolve(
    specs: Mapping[str, Mapping[str, Spec]],
    task_vars: Mapping[str, Any],
    template: Callable[[Any], Any],
) -> Resolved:
    """A host's variables as Ansible resolves them. Raises nothing, whatever they hold.

    specs: role → its options. template: Ansible's, which raises AnsibleError.
    """
    prefixes = tuple(f"{role}_" for role in specs)
    options = {name: option for role in specs.values() for name, option in role.items()}
    values: dict[str, Any] = {}
    errors: list[Problem] = []
    missing: set[str] = set()
    for name in task_vars:
        if name.startswith("ansible_") or "__" in name or name in NOT_SETTINGS:
            continue
        # Of other variables only the name matters: it may be a misspelt name of ours.
        ours = name.startswith(prefixes) or name in NAMES
        try:
            values[name] = plain(template(task_vars[name])) if ours else None
        except AnsibleError as error:
            # Ansible would show this mistake alone, with the lines of the inventory around it:
            # other users' passwords.
            errors.append(Problem(name, "", why_unresolved(error)))
            missing.add(name)
            continue
        where = misread_number(name, values[name], options.get(name, {})) if ours else None
        if where:
            words = (
                f"YAML reads the number in {where} as another one (a leading 0 is octal, 12:30 "
                "counts to 60, 1.10 is 1.1): write a plain number, or text in quotation marks"
            )
            errors.append(Problem(name, "", words))
            missing.add(name)
            del values[name]
    if missing & POLICY:
        # They are checked against each other, which is useless if one is unknown.
        values = {name: value for name, value in values.items() if name not in POLICY}
    playbook_vars = {name: values.pop(name) for name in NAMES & values.keys()}
    return Resolved(values, playbook_vars, errors)


def role_problems(
    role: str, task_vars: Mapping[str, Any], template: Callable[[Any], Any]
) -> list[Problem]:
    """What is wrong with the variables of one role."""
    specs = {role: specifications()[role]}
    resolved = resolve(specs, task_vars, template)
    report = Report()
    check_variables(resolved.variables, specs, {}, report)
    return resolved.problems + report.errors


def usable_settings(
    specs: Mapping[str, Mapping[str, Spec]], variables: Mapping[str, Any]
) -> dict[str, Any]:
    """Every variable of the product: its value, or its default if the value has a wrong type."""
    return {
        name: usable(variables.get(name, option.get("default")), option)
        for options in specs.values()
        for name, option in options.items()
    }


def misread_number(name: str, value: Any, option: Spec) -> str | None:
    """Where a number stands that YAML reads as another number than people do; None without one.

    Only variables that may hold a number are checked: in others, any number is refused anyway.
    """
    text = option.get("elements", option.get("type")) in ("str", "path")
    if not text and option.get("type") != "int" and name not in FREE_NUMBERS:
        return None
    if isinstance(value, dict):
        places = (misread_number(name, entry, option) for entry in value.values())
        return next(filter(None, places), None)
    if isinstance(value, list):
        places = (misread_number(name, entry, option) for entry in value)
        return next(filter(None, places), None)
    kinds = (int, float) if name in FREE_NUMBERS else int
    if isinstance(value, bool) or not isinstance(value, kinds):
        return None
    written, where = spelling(value)
    if written is None or written == str(value):
        return None
    plain_number = re.fullmatch(r"[+-]?[0-9][0-9_]*", written) and int(written) == value
    return None if plain_number and option.get("type") == "int" else where


def spelling(value: Any) -> tuple[str | None, str]:
    """A number as it is written in an inventory's YAML file, and its file and line.

    (None, "") if that is not known, as for a value from the command line.
    """
    origin = Origin.get_tag(value) if Origin is not None else None
    if origin is None or not (origin.path and origin.line_num and origin.col_num):
        return None, ""
    try:
        line = Path(origin.path).read_text(encoding="utf-8").splitlines()[origin.line_num - 1]
    except (OSError, UnicodeDecodeError, IndexError):
        return None, ""
    word = re.match(r"[^\s,\]}#]+", line[origin.col_num - 1 :])
    # In a file that the vault encrypts, this line has other text.
    try:
        if word is None or yaml.safe_load(word[0]) != value:
            return None, ""
    except yaml.YAMLError:
        return None, ""
    return word[0], f"{origin.path}, line {origin.line_num}"


def why_unresolved(error: AnsibleError) -> str:
    """Why a variable's value cannot be resolved. Ansible's own message may quote values."""
    # For a single value that cannot be decrypted, Ansible raises a template error with this word.
    if isinstance(error, AnsibleVaultError) or "undecryptable" in str(error):
        return CLOSED
    missing = re.search(r"'([A-Za-z_][A-Za-z0-9_]*)' is undefined", str(error))
    if isinstance(error, AnsibleUndefinedVariable) and missing:
        return f"needs {missing[1]}, which is undefined: define it, or correct its name"
    return "has an expression that fails: correct the text between its braces"


def plain(value: Any) -> Any:
    """Plain containers with resolved values, instead of Ansible's lazy ones."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return value
