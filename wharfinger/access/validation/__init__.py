"""Every mistake in registry_users, _robots, _groups and _access, found at once.

Nothing that stands under a user's name in registry_users is ever repeated in a message, since it
may be a secret, a key that YAML misread included.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from wharfinger.deployment.fixed import VERIFICATION_ACCOUNT
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
    """The policy, and all errors and warnings of the four variables, which may be anything that
    YAML can say.

    `auth` is registry_auth: `htpasswd` knows no rules, so that only the one that gives everyone
    everything is accepted. `server` is docker_auth_server: cesanta's knows no expiry. `today`, in
    UTC, is what robots' dates are compared with; without it they are not. The policy is whole only
    where there are no errors, and warnings are given only there. Never raises.
    """
    inventory = Inventory((VERIFICATION_ACCOUNT,))
    read_users(inventory, users)
    read_robots(inventory, {} if robots is None else robots, auth, server, today)
    if not isinstance(users, Mapping):
        # Every name in groups and rules would be told to be no user.
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


def read_policy(users: object, groups: object, access: object, robots: object = None) -> Policy:
    """The policy of registry_users, registry_groups, registry_access and registry_robots.

    That a robot has expired is not a mistake here: preflight tells of it. Raises ValueError with
    every error that `examine` finds, one a line.
    """
    policy, report = examine(users, groups, access, robots)
    if report.errors:
        raise ValueError("\n".join(str(error) for error in report.errors))
    return policy
