"""Finds all mistakes in registry_users, _robots, _groups and _access at once.

No message repeats what stands under a user's name in registry_users, not even a key: YAML may have
read a secret as a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date

from wharfinger.deployment.fixed import RESERVED_ACCOUNTS
from wharfinger.deployment.problems import Report

from ..policy import Policy
from .groups import read_groups
from .inventory import NAME, Inventory
from .robots import read_robots
from .rules import read_access, read_htpasswd
from .together import compare_names_and_patterns, find_useless_rules
from .users import read_users

__all__ = ["NAME", "examine", "read_policy"]


def examine(
    users: object,
    groups: object,
    access: object,
    robots: object = None,
    *,
    auth: str = "token",
    server: str = "embedded",
    today: date | None = None,
) -> tuple[Policy, Report]:
    """The policy, and all errors and warnings.

    The four variables may be anything that YAML can say. `auth` is registry_auth: with `htpasswd`
    only the rule that gives everyone everything is accepted. `server` is docker_auth_server:
    cesanta's does not support expiry. `today`, in UTC: robots' dates are compared with it; without
    it they are not compared. The policy is complete, and warnings are given, only if there are no
    errors. Never raises.
    """
    inventory = Inventory(RESERVED_ACCOUNTS)
    read_users(inventory, users)
    read_robots(inventory, {} if robots is None else robots, auth, server, today)
    if not isinstance(users, Mapping):
        # Otherwise every name in groups and rules would be reported as unknown.
        return Policy((), {}, ()), Report(inventory.errors)
    read_groups(inventory, groups)
    if auth == "htpasswd":
        read_htpasswd(inventory, access)
    else:
        read_access(inventory, access)
        compare_names_and_patterns(inventory)
        find_useless_rules(inventory)
    policy = Policy(
        tuple(inventory.users), inventory.groups, tuple(inventory.rules), inventory.robots
    )
    return policy, Report(inventory.errors, [] if inventory.errors else inventory.warnings)


def read_policy(
    users: object,
    groups: object,
    access: object,
    robots: object = None,
    mirrors: Iterable[str] = (),
) -> Policy:
    """The policy of registry_users, registry_groups, registry_access and registry_robots.

    mirrors: the repositories that registry_mirrors fill.
    A robot that has expired is not a mistake here: preflight reports it. Raises ValueError with
    every error that `examine` finds, one per line.
    """
    policy, report = examine(users, groups, access, robots)
    if report.errors:
        raise ValueError("\n".join(str(error) for error in report.errors))
    return replace(policy, mirrors=tuple(sorted(set(mirrors))))
