"""registry_robots: names, allowed addresses and last days."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from wharfinger.deployment.problems import Problem
from wharfinger.values import kind

from ..policy import ALL
from ..robots import expires_soon, read_robot
from .inventory import ROBOTS, Inventory, account_name, shown_name


def read_robots(
    inventory: Inventory, entries: object, auth: str, server: str, today: date | None
) -> None:
    """Names, allowed addresses and last days."""
    if not isinstance(entries, Mapping):
        inventory.error(
            ROBOTS,
            "",
            f"is {kind(entries)}: write a mapping of names, as in `ci: {{}}`, "
            "or {} for no robots",
        )
        return
    if entries and auth == "htpasswd":
        inventory.error(
            ROBOTS,
            "",
            "registry_auth htpasswd has no rules, so a robot could do everything: "
            "remove the robots, or write registry_auth: token",
        )
    for position, (name, entry) in enumerate(entries.items(), 1):
        if isinstance(name, str):
            inventory.written_robots.add(name)
        where = shown_name(name, entry) or f"entry {position}"
        wrong = account_name(inventory, name, entry, "robot") or _taken(inventory, name)
        if wrong:
            inventory.error(ROBOTS, where, wrong)
        robot, mistakes = read_robot(entry, today)
        for message in mistakes:
            inventory.error(ROBOTS, where, message)
        if robot.expires is not None and server == "cesanta":
            inventory.error(
                ROBOTS,
                where,
                "only the embedded token server supports expires: remove it, or write "
                "docker_auth_server: embedded",
            )
        if not wrong and isinstance(name, str):
            inventory.robots[str(name)] = robot
            soon = expires_soon(robot, name, today)
            if soon:
                inventory.warnings.append(Problem(ROBOTS, name, soon))


def _taken(inventory: Inventory, name: object) -> str | None:
    """Why a robot may not have this name, although a user may."""
    if name == ALL:
        return (
            "all means every robot in playbooks/rotate_robots.yml: choose another name, "
            "as in all-jobs"
        )
    if name in inventory.written_users:
        return (
            "this is also the name of a user in registry_users, and both would sign in with it: "
            "rename one of them"
        )
    return None
