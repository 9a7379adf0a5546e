"""Preflight: every mistake in the inventory and every obstacle on the host, all at once.

`check` is called before anything changes. It looks only at its arguments, and at the files on the
controller that the inventory names (a provided certificate, an image bundle). Which of the problems
stop a playbook is decided by its scope (scopes.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from wharfinger import access
from wharfinger.base_images import check_base_images_given
from wharfinger.deployment.facts import HostFacts
from wharfinger.deployment.problems import Problem, Report
from wharfinger.registry import configuration

from .acme import check_acme_files
from .acme_server import check_answer
from .authority import check_authority
from .backup_password import (
    check_backup_password,
    check_backup_place,
    check_password_of_restore,
)
from .certificates import check_provided
from .controller import check_credentials
from .extra_vars import check_extra_vars
from .host import check_host
from .host_names import own_name
from .images import check_reachable
from .mirrors import check_mirrors
from .removed import check_removed
from .robots import check_secrets, check_two_secrets
from .scopes import SCOPES, report_of_scope
from .settings import check_settings
from .signing import check_signing_key
from .variables import RENAMED, Spec, check_variables

__all__ = ["RENAMED", "SCOPES", "check", "own_name"]


def check(
    variables: Mapping[str, Any],
    specs: Mapping[str, Mapping[str, Spec]],
    host: Mapping[str, Any],
    controller: Mapping[str, Any],
    *,
    renamed: Mapping[str, str] = RENAMED,
    scope: str = "site",
    playbook_vars: Mapping[str, Any] | None = None,
    extra: Iterable[str] = (),
    unresolved: Iterable[Problem] = (),
) -> Report:
    """Checks the inventory's variables and the host, as far as the scope's playbook needs them.

    variables: all variables of the host, templated (for those without a role's prefix only the name
    counts). An empty registry_hostname means `own_name`. specs: role → the options of its argument
    spec; each role's name is a prefix, and unknown variables with it are errors. host: what the
    host program's `observe` answered, which may be incomplete. controller: `clock` (epoch seconds
    before and after observing), `base` (the directory that relative paths in the inventory start
    from), and optionally `archive_error` (the error from opening images_archive), `read` (path →
    bytes, for files that the vault encrypts), `roots` (the PEM file of the system's root
    certificates), and `closed` (the directory because of which credentials/ cannot be written).
    scope: one of `SCOPES`. playbook_vars and extra: see `extra_vars.check_extra_vars`. unresolved:
    a problem for each variable whose value is not known. Raises nothing, whatever YAML the
    variables hold; the report's messages hold no secrets.
    """
    facts = HostFacts.of(host)
    unresolved = list(unresolved)
    reading, values, files, obstacles = Report(), Report(), Report(), Report()
    good = check_variables(variables, specs, renamed, reading)
    guessed = good.get("registry_hostname") == "" and bool(facts.fqdn)
    if guessed:
        good["registry_hostname"] = own_name(facts.fqdn, bool(good.get("registry_hosts_entry")))
    given = {
        name
        for options in specs.values()
        for name, option in options.items()
        if variables.get(name, option.get("default")) != option.get("default")
    }
    good = check_settings(good, controller, values, given=given, hostname_is_guessed=guessed)
    _check_access(good, controller, values)
    check_two_secrets(good, facts, controller, values)
    _check_registry(good, values)
    if scope in ("site", "restore", "rotate"):
        rotate = (playbook_vars or {}).get("rotate") if scope == "rotate" else None
        check_authority(good, facts, controller, rotate, values)
    # The host has the files of the last deployment: one that is gone from the controller, or has
    # expired, stops only the next deployment.
    if good.get("certificates_tls_source") == "provided":
        check_provided(good, controller, files)
    elif good.get("certificates_tls_source") == "acme":
        check_acme_files(good, controller, files)
    check_backup_password(good, controller, files)
    check_mirrors(good, controller, values, files, scope, (playbook_vars or {}).get("update"))
    if scope in ("restore", "backup", "backup_drill"):
        check_backup_place(good, obstacles)
    if scope == "base_images":
        check_base_images_given(good, obstacles)
    if scope == "restore":
        check_password_of_restore(good, controller, obstacles)
    if scope in ("site", "restore", "users"):
        check_secrets(good, facts, controller, files)
    check_host(good, facts, controller, obstacles)
    check_reachable(good, facts, obstacles)
    check_answer(facts, obstacles)
    if scope == "site" and facts.half_restored:
        # Half of a registry would be served, with an authority that no client trusts.
        obstacles.error("host, restore", facts.half_restored)
    if scope in ("site", "restore"):
        check_signing_key(good, facts, obstacles)
        check_credentials(good, facts, controller, obstacles)
    report = report_of_scope(scope, unresolved + reading.errors, values, files, obstacles)
    demands = Report()
    if unresolved:
        # Then it is not known which robots there are.
        good.pop("registry_robots", None)
    check_removed(scope, playbook_vars or {}, good, facts, demands)
    check_extra_vars(scope, playbook_vars or {}, extra, good, demands)
    if "clock_is_right" in (playbook_vars or {}):
        # Every playbook reports it if the controller's clock contradicts this.
        demands.errors += [
            problem for problem in obstacles.errors if problem.topic == "host, clock"
        ]
    report.errors += [problem for problem in demands.errors if problem not in report.errors]
    return report


def _check_access(good: Mapping[str, Any], controller: Mapping[str, Any], report: Report) -> None:
    _, review = access.examine(
        good.get("registry_users", {}),
        good.get("registry_groups", {}),
        good.get("registry_access", []),
        good.get("registry_robots", {}),
        auth=good.get("registry_auth", "token"),
        server=good.get("docker_auth_server", "embedded"),
        today=datetime.fromtimestamp(controller["clock"][1], UTC).date(),
    )
    report.add(review)


def _check_registry(good: Mapping[str, Any], report: Report) -> None:
    settings, environment = good.get("registry_settings", {}), good.get("registry_environment", {})
    problems = configuration.review(settings, environment)
    report.errors += problems
    if problems:
        return
    mirrors = good.get("registry_mirrors", [])
    report.warnings += configuration.warnings(settings, environment, mirrors)
    try:
        # As the role does it; values that only the host knows do not change which keys there are.
        configuration.render(
            auth=good.get("registry_auth", "token"),
            service=str(good.get("registry_hostname", "")),
            settings=settings,
            drain_timeout=0,
            index_members=True,
            sparse=configuration.sparse(mirrors),
        )
    except ValueError as error:
        report.error("registry_settings", str(error))
