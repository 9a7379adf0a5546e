"""Accounts that were removed from a host and that the inventory has again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wharfinger.deployment.facts import HostFacts
from wharfinger.deployment.problems import Report
from wharfinger.wording import listed

from .report import shown

#: The scopes that can add users and robots to a host.
SCOPES = ("site", "users", "rotate_robots")
_VARIABLES = ("registry_users", "registry_robots")


def check_removed(
    scope: str,
    playbook_vars: Mapping[str, Any],
    good: Mapping[str, Any],
    host: HostFacts,
    report: Report,
) -> None:
    """Reports each account that was removed from this host, unless `readmit` names it.

    An old copy of the inventory still has users that were removed since, and would let them in
    again.
    """
    if scope not in SCOPES:
        return
    if host.removed_error:
        report.error("host, removed users", host.removed_error)
    removed = host.removed
    wanted = set(_names(playbook_vars.get("readmit")))
    back = {
        variable: [name for name in good[variable] if name in removed and name not in wanted]
        for variable in _VARIABLES
        if isinstance(good.get(variable), Mapping)
    }
    returning = sorted(name for names in back.values() for name in names)
    names_of_all = ",".join(returning)
    command = f"write -e readmit={names_of_all}"
    if scope == "rotate_robots":
        command = f"run playbooks/users.yml with -e readmit={names_of_all} first"
    for variable, names in back.items():
        if names:
            who = listed([f"{name} (on {_moment(removed[name])})" for name in sorted(names)])
            report.error(
                variable,
                f"this inventory has accounts that were removed from this host: {who}: if it is "
                f"an old copy, update it; to let them in again, {command}",
            )
    _check_readmit(playbook_vars, good, report)


def _check_readmit(
    playbook_vars: Mapping[str, Any], good: Mapping[str, Any], report: Report
) -> None:
    if "readmit" not in playbook_vars:
        return
    value, variables = playbook_vars["readmit"], [good.get(variable) for variable in _VARIABLES]
    names = _names(value)
    example = "write -e readmit=NAME, or -e readmit=NAME,NAME for several"
    if not names or not all(isinstance(name, str) for name in names):
        report.error("readmit", f"names no account: {example}")
        return
    if not all(isinstance(entries, Mapping) for entries in variables):
        return
    known: Iterable[str] = [name for entries in variables for name in entries or ()]
    unknown = [shown(name) for name in names if name not in known]
    if unknown:
        report.error(
            "readmit",
            f"{listed(unknown)}: neither in registry_users nor in registry_robots: add the "
            "account there too, or correct the name",
        )


def _names(value: object) -> list[Any]:
    """The names in the value of `readmit`: names separated by commas, or a list."""
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    return list(value) if isinstance(value, list) else []


def _moment(instant: str) -> str:
    """An instant `YYYY-MM-DDTHH:MM:SSZ` for people."""
    return f"{instant[:10]} at {instant[11:16]} UTC"
