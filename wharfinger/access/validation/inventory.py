"""Users, robots, groups and rules as far as they were read, and the mistakes in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from wharfinger.deployment.problems import Problem
from wharfinger.values import kind, spelt

from ..policy import ANONYMOUS, EVERYONE, Rule
from ..robots import Robot

USERS, GROUPS, ACCESS = "registry_users", "registry_groups", "registry_access"
ROBOTS = "registry_robots"

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(slots=True)
class Inventory:
    """What was read so far, and the mistakes in it."""

    # Name → what it is reserved for.
    reserved: Mapping[str, str]
    users: dict[str, None] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    robots: dict[str, Robot] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    # Every name that was written as a user, robot or group, also if its entry is wrong: a rule that
    # uses such a name must not be reported for an unknown name.
    written_users: set[str] = field(default_factory=set)
    written_robots: set[str] = field(default_factory=set)
    written_groups: set[str] = field(default_factory=set)

    def error(self, variable: str, where: str, message: str) -> None:
        self.errors.append(Problem(variable, where, message))


def account_name(inventory: Inventory, name: object, entry: object, what: str) -> str | None:
    if not isinstance(name, str):
        return f"the name is {kind(name)} to YAML: write it in quotation marks"
    if name in inventory.reserved:
        return f"this name is reserved for {inventory.reserved[name]}: choose another name"
    if name in (EVERYONE, ANONYMOUS):
        return f"{name} has a meaning of its own in registry_access: choose another name"
    if not NAME.fullmatch(name):
        return (
            f"a {what}'s name is lower-case letters, digits, dots, hyphens and underscores, "
            f"beginning with a letter or digit{near_name(name, entry)}"
        )
    return None


def near_name(name: str, entry: object) -> str:
    """`: write NAME` with a similar name that is allowed; "" if none can be shown."""
    near = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("._-")
    return f": write {near}" if near and shown_name(name, entry) else ""


def shown_name(name: object, entry: object) -> str | None:
    """A key as it may be shown; None if it could hold more than a user's name.

    YAML reads `{admin:secret}` as a key without a value.
    """
    if not isinstance(name, str):
        return spelt(name) if isinstance(name, bool | int | float) else None
    innocent = NAME.fullmatch(name) or (
        isinstance(entry, Mapping) and re.fullmatch(r"[A-Za-z0-9 ._@+-]{1,64}", name)
    )
    return str(name) if innocent else None
