"""Preflight: every mistake in the inventory and every obstacle on the host, all at once.

`check` is called before anything changes. It only looks at what it is handed, and at the files on
the controller that the inventory names (a provided certificate, an image bundle). What of all that
stops a playbook is its scope's business: scopes.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from wharfinger import access
from wharfinger.deployment.facts import HostFacts
from wharfinger.deployment.problems import Problem, Report
from wharfinger.registry import configuration

from .acme import check_acme_files
from .acme_server import check_answer
from .authority import check_authority
from .certificates import check_provided
from .controller import check_credentials
from .extra_vars import check_extra_vars
from .host import check_host
from .host_names import own_name
from .images import check_reachable
from .removed import check_removed
from .robots import check_secrets, check_two_secrets
from .scopes import SCOPES, gathered
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
    """Judge the inventory's variables and the host, as far as the scope's playbook depends on them.

    variables: all variables of the host, templated (of those without a role's prefix only the name
    counts). An empty registry_hostname means `own_name`. specs: role → the options of its argument
    spec; each role's name is a prefix under which unknown variables are errors. host: what
    the host program's `observe` answered, or as much of it as could be had. controller:
    `clock` (epoch seconds before and after observing), `base` (directory that relative paths in
    the inventory start from), and where there is such a thing `archive_error` (what opening
    images_archive said), `read` (path → bytes, for files that the vault encrypts) and `roots`
    (the PEM file of the system's root certificates), and `closed` (the directory that keeps
    credentials/ from being written). scope: one of `SCOPES`. playbook_vars and extra: see
    `extra_vars.check_extra_vars`. unresolved: a problem for each variable whose value is not known.
    Raises nothing for any YAML-shaped variables; the report's messages hold no secrets.
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
    if scope in ("site", "rotate"):
        rotate = (playbook_vars or {}).get("rotate") if scope == "rotate" else None
        check_authority(good, facts, controller, rotate, values)
    # The host has what it was given with the last deployment: a file that is gone or has expired
    # stops only the next one.
    if good.get("certificates_tls_source") == "provided":
        check_provided(good, controller, files)
    elif good.get("certificates_tls_source") == "acme":
        check_acme_files(good, controller, files)
    if scope in ("site", "users"):
        check_secrets(good, facts, controller, files)
    check_host(good, facts, controller, obstacles)
    check_reachable(good, facts, obstacles)
    check_answer(facts, obstacles)
    if scope == "site":
        check_signing_key(good, facts, obstacles)
        check_credentials(good, facts, controller, obstacles)
    report = gathered(scope, unresolved + reading.errors, values, files, obstacles)
    demands = Report()
    if unresolved:
        # Robots are then unknown, not absent.
        good.pop("registry_robots", None)
    check_removed(scope, playbook_vars or {}, good, facts, demands)
    check_extra_vars(scope, playbook_vars or {}, extra, good, demands)
    if "clock_is_right" in (playbook_vars or {}):
        # Whoever says so is told where the controller's clock says otherwise, in every playbook.
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
    report.warnings += configuration.warnings(settings, environment)
    try:
        # As the role will; what only the host knows makes no difference to which keys there are.
        configuration.render(
            auth=good.get("registry_auth", "token"),
            service=str(good.get("registry_hostname", "")),
            settings=settings,
            drain_timeout=0,
            index_members=True,
        )
    except ValueError as error:
        report.error("registry_settings", str(error))
