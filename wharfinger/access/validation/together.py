"""registry_access: its rules compared with each other and with the names of accounts."""

from __future__ import annotations

from collections.abc import Sequence

from wharfinger.deployment.problems import Problem
from wharfinger.oci.names import COMPONENT
from wharfinger.wording import answered_before, quoted

from .. import coverage
from ..policy import ALL, EVERYONE, GROUP, ROBOT, USER, Rule
from .inventory import ACCESS, ROBOTS, USERS, Inventory


def compare_names_and_patterns(inventory: Inventory) -> None:
    """Reports names with which `{user}` would lead into another's namespace, or into none."""
    using = [
        (rule, pattern.split("/"))
        for rule in inventory.rules
        for pattern in rule.on
        if USER in pattern.split("/")
    ]
    if not using:
        return
    named = _named_places(inventory, {len(_before_user(segments)) for _, segments in using})
    reported = set()
    for name, (number, pattern) in named.get((), {}).items():
        for rule, _ in using:
            if name not in reported and _may_be_meant(inventory, name, rule):
                reported.add(name)
                message = _collision(inventory, name, "begins with", pattern, rule.number)
                inventory.error(ACCESS, f"rule {number}", message)
    for rule, segments in using:
        for name, (number, pattern) in named.get(_before_user(segments), {}).items():
            if name not in reported and _may_be_meant(inventory, name, rule):
                reported.add(name)
                message = _collision(inventory, name, "has", pattern, rule.number)
                inventory.error(ACCESS, f"rule {number}", message)
    _check_components(inventory, [rule for rule, _ in using])


def _may_be_meant(inventory: Inventory, name: str, rule: Rule) -> bool:
    """Whether the rule's `{user}` may stand for this name.

    It may stand for any user, since groups change; for a robot only if the rule names it.
    """
    return name in inventory.users or ROBOT + name in rule.who


def _collision(inventory: Inventory, name: str, verb: str, pattern: str, using: int) -> str:
    what, variable = ("user", USERS) if name in inventory.users else ("robot", ROBOTS)
    return (
        f"{quoted(pattern)} {verb} {name}, which is also the name of a {what}; rule {using} uses "
        f"{USER}, so this would be that {what}'s own place: rename the {what} in {variable}, or "
        "choose another name in the pattern"
    )


def _named_places(
    inventory: Inventory, depths: set[int]
) -> dict[tuple[str, ...], dict[str, tuple[int, str]]]:
    """The segments before a user's name in a pattern → name → the first rule and pattern."""
    users = {*inventory.users, *inventory.robots}
    places: dict[tuple[str, ...], dict[str, tuple[int, str]]] = {}
    for rule in inventory.rules:
        for pattern in rule.on:
            segments = pattern.split("/")
            for depth in depths | {0}:
                if depth < len(segments) and segments[depth] in users and pattern != ALL:
                    names = places.setdefault(tuple(segments[:depth]), {})
                    names.setdefault(segments[depth], (rule.number, pattern))
    return places


def _check_components(inventory: Inventory, using: Sequence[Rule]) -> None:
    """Reports accounts to which `{user}` applies and whose name no repository can have."""
    unfit = [
        name for name in (*inventory.users, *inventory.robots) if not COMPONENT.fullmatch(name)
    ]
    for name in unfit:
        words = {ROBOT + name}
        if name in inventory.users:
            groups = (
                GROUP + group for group, members in inventory.groups.items() if name in members
            )
            words = {name, EVERYONE, *groups}
        rule = next((rule for rule in using if not words.isdisjoint(rule.who)), None)
        if rule is not None:
            variable, what = (USERS, "user") if name in inventory.users else (ROBOTS, "robot")
            inventory.error(
                variable,
                name,
                "this name cannot be part of a repository's name, and registry_access, "
                f"rule {rule.number}, gives this {what} {USER}: write the name with "
                "single dots, one or two underscores, or hyphens, and only between letters and "
                "digits",
            )


def find_useless_rules(inventory: Inventory) -> None:
    """Reports rules that earlier rules always answer, and accounts that get nothing."""
    findings = coverage.examine(
        inventory.users, inventory.groups, inventory.rules, inventory.robots
    )
    by_number = {rule.number: rule for rule in inventory.rules}
    for number, earlier in findings.useless.items():
        rule, first = by_number[number], by_number[earlier[0]]
        same = first.number if _content(rule) == _content(first) else None
        inventory.error(ACCESS, f"rule {number}", answered_before(same, earlier))
    for name in findings.empty_handed:
        inventory.warnings.append(
            Problem(
                USERS,
                name,
                "no rule in registry_access gives this user anything: add one, or remove the user",
            )
        )
    for name in findings.idle_robots:
        inventory.warnings.append(
            Problem(
                ROBOTS,
                name,
                "no rule in registry_access gives this robot anything, and everyone does "
                f"not include robots: add one with who: {ROBOT}{name}, or remove the robot",
            )
        )


def _content(rule: Rule) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    return frozenset(rule.who), frozenset(rule.may), frozenset(rule.on)


def _before_user(segments: Sequence[str]) -> tuple[str, ...]:
    return tuple(segments[: list(segments).index(USER)])
