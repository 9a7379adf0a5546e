"""Checks the inventory's variables by the roles' argument specs: names, types, choices.

The specs have the shape of Ansible's `meta/argument_specs.yml` (`type`, `required`, `choices`,
`elements`, `options`, `default`). Ansible's own ArgumentSpecValidator is not used, for three
reasons: it prints values, which may be secrets; it does not say what to write instead; and it
accepts values that it can convert, although roles use them as written (`a,b` for a list). What
passes here also passes the roles' own validation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wharfinger.deployment.problems import Report
from wharfinger.suggestions import nearest
from wharfinger.values import boolean, kind, spelt

from .names import typing_errors
from .report import shown

Spec = Mapping[str, Any]

#: Variables that were renamed: old name → new name.
RENAMED: Mapping[str, str] = {}

# These have their own validators, which know more and never print values.
_DELEGATED = frozenset(
    {
        "registry_users",
        "registry_robots",
        "registry_groups",
        "registry_access",
        "registry_retention",
        "registry_settings",
        "registry_environment",
    }
)

_TYPES = {
    "str": "text",
    "path": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
}


def check_variables(
    variables: Mapping[str, Any],
    specs: Mapping[str, Mapping[str, Spec]],
    renamed: Mapping[str, str],
    report: Report,
) -> dict[str, Any]:
    """Reports unknown names, missing values, wrong types and choices.

    variables: the host's variables, templated; variables of other projects are ignored.
    specs: role name → its options (variable name → spec).
    Returns the variables that match their spec, with defaults filled in, and `int` and `bool`
    converted. What was reported is left out, so that no mistake is reported twice.
    """
    known: dict[str, Spec] = {name: spec for role in specs.values() for name, spec in role.items()}
    _check_names(variables, specs.keys(), known, renamed, report)
    good: dict[str, Any] = {}
    for name, spec in known.items():
        if name not in variables:
            if spec.get("required"):
                report.error(name, f"is missing: write {_wanted(spec)}")
            elif spec.get("default") is not None:
                good[name] = spec["default"]
        elif name in _DELEGATED:
            good[name] = variables[name]
        else:
            before = len(report.errors)
            value = _checked(name, "", variables[name], spec, report)
            if len(report.errors) == before and value is not None:
                good[name] = value
    return good


def _check_names(
    variables: Mapping[str, Any],
    roles: Iterable[str],
    known: Mapping[str, Spec],
    renamed: Mapping[str, str],
    report: Report,
) -> None:
    prefixes = {f"{role}_": role for role in roles}
    for name in sorted(set(variables) - set(known)):
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
        if name in renamed:
            report.error(name, f"is now called {renamed[name]}: write that")
        elif prefix is not None:
            near = nearest(name, known, 0.7)
            report.error(
                name,
                "is an unknown variable: "
                + (
                    f"write {near}"
                    if near
                    else (
                        f"remove it; roles/{prefixes[prefix]}/meta/argument_specs.yml lists those "
                        f"that begin with {prefix}"
                    )
                ),
            )
        elif not name.startswith("ansible_"):
            # It has none of our prefixes, but may be a misspelt name of ours: `regsitry_port`.
            near = next((k for k in known if _almost(name, k)), None)
            if near:
                report.error(name, f"is an unknown variable: write {near}")


def _almost(name: str, known: str) -> bool:
    short = len(known) < 10
    return abs(len(name) - len(known)) <= 2 and typing_errors(name.lower(), known) <= (
        1 if short else 2
    )


def _checked(variable: str, place: str, value: Any, spec: Spec, report: Report) -> Any:
    """The value in its spec's type; None if a mistake was reported."""
    wanted = str(spec.get("type", "str"))
    if value is None:
        if spec.get("required") or spec.get("default") is not None:
            message = f"is empty: write {_wanted(spec)}, or remove the line for the default"
            report.error(variable, message, place)
        return None
    try:
        value = _converted(value, wanted)
    except ValueError:
        report.error(variable, _wrong_type(value, wanted, spec), place)
        return None
    choices = spec.get("choices")
    if choices and wanted not in ("list", "dict") and value not in choices:
        message = f"{shown(str(value))} is not one of its choices: write {_wanted(spec)}"
        report.error(variable, message, place)
        return None
    if wanted == "list":
        if "elements" not in spec:
            return value
        element = {**spec, "type": spec["elements"], "required": True}
        return [
            _checked(variable, _within(place, f"entry {number}"), entry, element, report)
            for number, entry in enumerate(value, 1)
        ]
    if wanted == "dict" and "options" in spec:
        return _checked_keys(variable, place, value, spec["options"], report)
    return value


def _within(place: str, inner: str) -> str:
    return f"{place}, {inner}" if place else inner


def usable(value: Any, spec: Spec) -> Any:
    """The value in its spec's type, or the spec's default if it has another type."""
    checked = _checked("", "", value, spec, Report())
    if checked is None or (spec.get("type") == "list" and None in checked):
        return spec.get("default")
    return checked


def _checked_keys(
    variable: str,
    place: str,
    value: Mapping[Any, Any],
    options: Mapping[str, Spec],
    report: Report,
) -> dict[str, Any]:
    good: dict[str, Any] = {}
    whole = _within(variable, place) if place else variable
    for key in value:
        if key not in options:
            near = nearest(str(key), options, 0.7)
            instead = f"write {near}" if near else f"its keys are {', '.join(options)}"
            message = f"is not a key of {whole}: {instead}"
            report.error(variable, message, _within(place, spelt(key)))
    for key, spec in options.items():
        if key in value:
            good[key] = _checked(variable, _within(place, key), value[key], spec, report)
        # An empty mapping means "not used" (`storage_mount: {}`): no key is required.
        elif spec.get("required") and value:
            report.error(variable, f"is missing: write {_wanted(spec)}", _within(place, key))
    return good


def _wrong_type(value: object, wanted: str, spec: Spec) -> str:
    """What is wrong with a value of a wrong type, and what to write instead."""
    misread = wanted in ("str", "path") and not isinstance(value, Mapping | list | tuple)
    if misread and not spec.get("choices"):
        default = spec.get("default")
        example = f', like "{default}"' if default else ""
        return f"is {kind(value)} to YAML: write text in quotation marks{example}"
    return f"is {kind(value)}: write {_wanted(spec)}"


def _converted(value: Any, wanted: str) -> Any:
    if wanted == "bool":
        return boolean(value)
    if wanted == "int":
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError
        # Roles use it as written: nginx would not accept the port `0443`.
        if str(value) != str(int(value)):
            raise ValueError
        return int(value)
    if wanted == "float":
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        return float(value)
    if wanted in ("str", "path"):
        # YAML has changed a number with a decimal point: 1.10 is now 1.1.
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError
        return str(value)
    if wanted == "list" and not isinstance(value, list | tuple):
        raise ValueError
    if wanted == "dict" and not isinstance(value, Mapping):
        raise ValueError
    return value


def _wanted(spec: Spec) -> str:
    if spec.get("choices") and spec.get("type") not in ("list", "dict"):
        return "one of " + ", ".join(str(choice) for choice in spec["choices"])
    return _TYPES.get(str(spec.get("type", "str")), "a value")
