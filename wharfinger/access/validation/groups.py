"""registry_groups: names and members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wharfinger.suggestions import nearest
from wharfinger.values import kind
from wharfinger.wording import quoted

from ..policy import GROUP, ROBOT
from .inventory import GROUPS, NAME, Inventory, near_name, shown_name


def read_groups(inventory: Inventory, groups: object) -> None:
    """Group names and their members."""
    if not isinstance(groups, Mapping):
        inventory.error(
            GROUPS,
            "",
            f"is {kind(groups)}: write a mapping of names to lists of users, "
            "as in `developers: [someuser]`, or {} for none",
        )
        return
    inventory.written_groups = {name for name in groups if isinstance(name, str)}
    for name, members in groups.items():
        if not isinstance(name, str):
            inventory.error(
                GROUPS,
                shown_name(name, {}) or "",
                f"the name is {kind(name)} to YAML: write it in quotation marks",
            )
            continue
        if not NAME.fullmatch(name):
            inventory.error(
                GROUPS,
                quoted(name),
                "a group's name is lower-case letters, digits, dots, hyphens and underscores, "
                f"beginning with a letter or digit{near_name(name, {})}",
            )
        elif not isinstance(members, list | tuple):
            inventory.error(
                GROUPS,
                name,
                f"is {kind(members)}: write a list of users, as in `{name}: [someuser]`, "
                "or [] for none",
            )
        else:
            inventory.groups[str(name)] = _members(inventory, str(name), members)


def _members(inventory: Inventory, group: str, members: Sequence[object]) -> tuple[str, ...]:
    good: dict[str, None] = {}
    for member in members:
        if not isinstance(member, str):
            inventory.error(
                GROUPS, group, f"a member is {kind(member)}: write a user's name as text"
            )
        elif member in good:
            inventory.error(GROUPS, group, f"{member} is written twice: remove one")
        elif member in inventory.users:
            good[str(member)] = None
        elif member in inventory.written_robots:
            inventory.error(
                GROUPS,
                group,
                f"{quoted(member)} is a robot, and a group has users only: remove it here, and "
                f"write {ROBOT}{member} beside {GROUP}{group} in the who of its rules",
            )
        elif member not in inventory.written_users:
            inventory.error(GROUPS, group, _member_mistake(inventory, member))
    return tuple(good)


def _member_mistake(inventory: Inventory, name: str) -> str:
    """Why this name is not a user's, and what to write instead."""
    if name in inventory.reserved:
        return f"{name} is reserved for {inventory.reserved[name]}: remove it"
    if name.startswith(GROUP) or name in inventory.written_groups:
        return f"{quoted(name)} is a group, and a group has users only: write its members"
    close = nearest(name, inventory.users)
    if close:
        return f"{quoted(name)} is not a user in registry_users: write {close}"
    return f"{quoted(name)} is not a user: add it to registry_users, or remove it here"
