"""Preflight: every mistake in the inventory and every obstacle on the host, all at once.

`check` is called before anything changes. It only looks at what it is handed, and at the files on
the controller that the inventory names (a provided certificate, an image bundle).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wharfinger import access
from wharfinger.registry import configuration

from .certificates import check_provided
from .host import check_host, own_name
from .report import Report
from .settings import check_settings
from .variables import RENAMED, Spec, check_variables

__all__ = ["RENAMED", "Report", "check", "own_name"]


def check(
    variables: Mapping[str, Any],
    specs: Mapping[str, Mapping[str, Spec]],
    host: Mapping[str, Any],
    controller: Mapping[str, Any],
    *,
    renamed: Mapping[str, str] = RENAMED,
) -> Report:
    """Judge the inventory's variables and the host.

    variables: all variables of the host, templated (of those without a role's prefix only the name
    counts). An empty registry_hostname means `own_name`. specs: role → the options of its argument
    spec; each role's name is a prefix under which unknown variables are errors. host: what
    `wharfinger.host.run("observe", …)` answered, or as much of it as could be had. controller:
    `clock` (epoch seconds before and after observing), `base` (directory that relative paths in
    the inventory start from), and where there is such a thing `archive_error` (what opening
    images_archive said), `read` (path → bytes, for files that the vault encrypts) and `roots`
    (the PEM file of the system's root certificates).
    Raises nothing for any YAML-shaped variables; the report's sentences hold no secrets.
    """
    report = Report()
    good = check_variables(variables, specs, renamed, report)
    guessed = good.get("registry_hostname") == "" and bool(host.get("fqdn"))
    if guessed:
        good["registry_hostname"] = own_name(host, bool(good.get("registry_hosts_entry")))
    good = check_settings(good, controller, report, hostname_is_guessed=guessed)
    _check_access(good, report)
    _check_registry(good, report)
    if good.get("certificates_tls_source") == "provided":
        check_provided(good, controller, report)
    check_host(good, host, controller, report)
    return report


def _check_access(good: Mapping[str, Any], report: Report) -> None:
    review = access.validate(
        good.get("registry_users", {}),
        good.get("registry_groups", {}),
        good.get("registry_access", []),
        auth=good.get("registry_auth", "token"),
    )
    report.errors += [str(problem) for problem in review.errors]
    report.warnings += [str(problem) for problem in review.warnings]


def _check_registry(good: Mapping[str, Any], report: Report) -> None:
    settings, environment = good.get("registry_settings", {}), good.get("registry_environment", {})
    problems = configuration.review(settings, environment)
    report.errors += [str(problem) for problem in problems]
    if not problems:
        report.warnings += [str(one) for one in configuration.warnings(settings, environment)]
