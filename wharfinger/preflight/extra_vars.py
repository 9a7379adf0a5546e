"""Checks the variables that a playbook gets with `-e`, before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wharfinger.deployment.problems import Report
from wharfinger.values import boolean, duration

from .names import typing_errors
from .report import shown

#: Scope → the variables that its playbook reads besides those of the roles.
READ: Mapping[str, tuple[str, ...]] = {
    "site": ("regenerate", "readmit", "clock_is_right"),
    "users": ("regenerate", "readmit"),
    "rotate": ("rotate", "revoke", "finish", "rotate_wait", "clock_is_right"),
    "rotate_robots": ("robot", "overlap", "overlap_ends"),
    "rollback": ("rollback",),
    "retention": ("confirm_deletions", "clock_is_right"),
    "garbage_collect": ("confirm_deletions", "clock_is_right"),
    "scrub": (),
    "backup": (),
    "backup_drill": (),
    "mirror": ("update",),
    "base_images": (),
    "restore": ("snapshot", "only", "leave_out_damaged"),
    "remove": ("remove_data",),
}
#: All of them.
NAMES = frozenset(name for names in READ.values() for name in names)

_PLAYBOOKS = {
    **dict.fromkeys(READ["users"], "playbooks/users.yml"),
    **dict.fromkeys(READ["rotate"], "playbooks/rotate_certificates.yml"),
    **dict.fromkeys(READ["rotate_robots"], "playbooks/rotate_robots.yml"),
    "rollback": "playbooks/rollback.yml",
    "update": "playbooks/mirror.yml",
    "remove_data": "playbooks/remove.yml",
    **dict.fromkeys(READ["restore"], "playbooks/restore.yml"),
    "confirm_deletions": "playbooks/retention.yml or playbooks/garbage_collect.yml",
}
ROTATE = ("signing", "tls", "ca", "all")
ROLLBACK = ("registry", "token_server")
# For a robot's former secret, in seconds.
LONGEST_OVERLAP = 366 * 86400
_OR_DUE = "or leave it out for what is due"


def check_extra_vars(
    scope: str,
    playbook_vars: Mapping[str, Any],
    extra: Iterable[str],
    good: Mapping[str, Any],
    report: Report,
) -> None:
    """Reports what is wrong with the playbook's variables.

    playbook_vars: those of `NAMES` that are set, with their values. extra: the names of all
    variables that were given with -e. Only these are reported if the playbook does not read them:
    in an inventory they may be meant for others. good: checked variables.
    """
    for name in sorted(set(extra)):
        if name in NAMES and name not in READ[scope]:
            report.error(
                name,
                f"is not read by this playbook: run {_PLAYBOOKS[name]} with it, or leave it out",
            )
        elif name not in NAMES:
            near = next(
                (known for known in READ[scope] if typing_errors(name.lower(), known) <= 1), None
            )
            if near:
                report.error(name, f"is an unknown variable: write -e {near}=…")
    for name in ("confirm_deletions", "clock_is_right", "leave_out_damaged", "update"):
        if name in READ[scope]:
            _truth(name, "true", playbook_vars, report)
    if scope == "rotate":
        _check_rotate(playbook_vars, good, report)
    elif scope == "rotate_robots":
        _check_rotate_robots(playbook_vars, good, report)
    elif scope == "rollback" and "rollback" in playbook_vars:
        _check_rollback(playbook_vars["rollback"], good, report)
    elif "regenerate" in READ[scope] and "regenerate" in playbook_vars:
        _check_regenerate(playbook_vars["regenerate"], good, report)


def _check_rotate(
    playbook_vars: Mapping[str, Any], good: Mapping[str, Any], report: Report
) -> None:
    what = playbook_vars.get("rotate")
    revoke = _truth("revoke", "true", playbook_vars, report)
    finish = _truth("finish", "true", playbook_vars, report)
    _truth("rotate_wait", "false", playbook_vars, report)
    source = good.get("certificates_tls_source")
    if "rotate" in playbook_vars and what not in ROTATE:
        report.error(
            "rotate",
            f"{shown(str(what))} is not one of its choices: write -e rotate=signing, tls, ca or "
            f"all, {_OR_DUE}",
        )
        return
    if good.get("registry_auth") == "htpasswd" and (what == "signing" or revoke):
        report.error(
            "revoke" if revoke else "rotate",
            "with registry_auth htpasswd there are no tokens and no signing key: "
            f"write -e rotate=tls, {_OR_DUE}",
        )
    elif revoke and what not in ("signing", "all"):
        report.error(
            "revoke",
            "is for a signing key, whose tokens it makes invalid at once: write -e rotate=signing "
            "-e revoke=true, or leave it out",
        )
    if what in ("tls", "ca") and source == "provided":
        report.error(
            "rotate",
            "certificates_tls_source is provided, so the server's certificate is yours: "
            "put the new one into certificates_tls_certificate and certificates_tls_key, "
            "and run site.yml",
        )
    elif what == "ca" and source == "acme":
        report.error(
            "rotate",
            "certificates_tls_source is acme, so no authority of this host issues the server's "
            f"certificate: write -e rotate=tls for a new one, {_OR_DUE}",
        )
    elif finish and what != "ca":
        report.error(
            "finish",
            "is for an authority, once no client needs the previous one: write -e rotate=ca -e "
            "finish=true, or leave it out",
        )


def _truth(name: str, useful: str, playbook_vars: Mapping[str, Any], report: Report) -> bool:
    if name not in playbook_vars:
        return False
    try:
        return boolean(playbook_vars[name])
    except ValueError:
        report.error(
            name,
            f"{shown(str(playbook_vars[name]))} is neither true nor false: "
            f"write -e {name}={useful}, or leave it out",
        )
        return False


def _check_rotate_robots(
    playbook_vars: Mapping[str, Any], good: Mapping[str, Any], report: Report
) -> None:
    robots = good.get("registry_robots")
    if not isinstance(robots, Mapping):
        return
    name, overlap, ends = (playbook_vars.get(variable) for variable in READ["rotate_robots"])
    choices = f"write -e robot=NAME with one of {', '.join(map(str, robots))}, or -e robot=all"
    if not robots:
        report.error(
            "robot", "registry_robots is empty: add a robot there, and run playbooks/users.yml"
        )
    elif name in (None, ""):
        report.error("robot", f"is missing: {choices}")
    elif name != "all" and name not in robots:
        report.error("robot", f"{shown(str(name))} is not in registry_robots: {choices}")
    if "overlap_ends" in playbook_vars and ends != "now":
        report.error(
            "overlap_ends",
            f"{shown(str(ends))} is not one of its choices: write -e overlap_ends=now, or leave "
            "it out",
        )
    if "overlap" in playbook_vars and "overlap_ends" in playbook_vars:
        report.error(
            "overlap",
            "applies to a new secret, and overlap_ends makes none: leave one of them out",
        )
        return
    try:
        seconds = duration(overlap) if "overlap" in playbook_vars else None
    except ValueError:
        report.error(
            "overlap",
            f"{shown(str(overlap))} is not a duration: write -e overlap=24h or the like, or -e "
            "overlap=0, which refuses the old secret at once",
        )
        return
    if seconds and str(overlap).isdecimal():
        report.error(
            "overlap",
            f"{shown(str(overlap))} has no unit: write -e overlap={overlap}h or the like",
        )
    elif seconds is not None and seconds > LONGEST_OVERLAP:
        report.error(
            "overlap",
            f"{shown(str(overlap))} is more than a year: write -e overlap=24h or the like",
        )
    if (
        good.get("docker_auth_server") == "cesanta"
        and "overlap_ends" not in playbook_vars
        and seconds != 0
    ):
        report.error(
            "overlap",
            "docker_auth_server is cesanta, which supports only one secret per robot: write -e "
            "overlap=0, which refuses the old secret at once, or docker_auth_server: embedded",
        )


def _check_rollback(kind: object, good: Mapping[str, Any], report: Report) -> None:
    choices = "write -e rollback=registry or token_server, "
    if kind not in ROLLBACK:
        report.error(
            "rollback",
            f"{shown(str(kind))} is not one of its choices: {choices}or leave it out for what the "
            "last deployment changed",
        )


def _check_regenerate(name: object, good: Mapping[str, Any], report: Report) -> None:
    users = good.get("registry_users", {})
    if not isinstance(users, Mapping):
        return
    robots = good.get("registry_robots", {})
    if isinstance(robots, Mapping) and name in robots:
        report.error(
            "regenerate",
            f"{name} is a robot: run playbooks/rotate_robots.yml -e robot={name}, with -e "
            "overlap=0 if the old secret must be refused at once",
        )
        return
    generated = sorted(str(user) for user, what in users.items() if what in ({}, None))
    if name not in generated:
        report.error(
            "regenerate",
            f"registry_users has no user {shown(str(name))} without password and password_hash, "
            "and only a generated password can be regenerated: "
            + (
                f"write -e regenerate=NAME with one of {', '.join(generated)}"
                if generated
                else "write `NAME: {}` for a user whose password is to be generated, "
                "or leave it out"
            ),
        )
