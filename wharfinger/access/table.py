"""The rules as a table: which account may do what."""

from __future__ import annotations

from .policy import ALL, ANONYMOUS, EVERYONE, GROUP, ROBOT, USER, Policy

MEMBERS_SHOWN = 3
NETWORKS_SHOWN = 2
HEADER = {"rule": "rule", "who": "who", "may": "may", "on": "on"}


def rows(policy: Policy) -> list[dict[str, str]]:
    """One row for each word of each rule's `who`, in the rules' order: rule, who, may, on."""
    return [
        {
            "rule": str(rule.number),
            "who": _who(policy, who),
            "may": "everything" if rule.may == (ALL,) else ", ".join(rule.may) or "nothing",
            "on": "every repository and the catalog"
            if rule.everything
            else ", ".join(_on(who, pattern) for pattern in rule.on),
        }
        for rule in policy.rules
        for who in rule.who
    ]


def table(policy: Policy) -> str:
    """The rows as lines of aligned columns, and a last line that says how to read them."""
    entries = rows(policy)
    if not entries:
        return "Nobody may do anything: registry_access has no rules."
    widths = {key: max(len(row[key]) for row in (HEADER, *entries)) for key in HEADER}
    lines = [
        "  ".join(row[key].ljust(widths[key]) for key in HEADER).rstrip()
        for row in (HEADER, *entries)
    ]
    return "\n".join([*lines, "The first rule that matches decides; anything else is denied."])


def _who(policy: Policy, who: str) -> str:
    if who == EVERYONE:
        return "every user"
    if who == ANONYMOUS:
        return "anyone, without login"
    if who.startswith(ROBOT):
        return _robot(who.removeprefix(ROBOT), policy)
    if who.startswith(GROUP):
        name = who.removeprefix(GROUP)
        members = policy.groups[name]
        if not members:
            return f"group {name} (no members)"
        few = len(members) <= MEMBERS_SHOWN
        return f"group {name} ({', '.join(members) if few else f'{len(members)} members'})"
    return who


def _robot(name: str, policy: Policy) -> str:
    """`robot ci (from 10.0.0.0/8, until 2027-06-30)`."""
    robot = policy.robots[name]
    limits = []
    if robot.addresses:
        networks = [str(network) for network in robot.addresses]
        few = len(networks) <= NETWORKS_SHOWN
        limits.append(f"from {' or '.join(networks) if few else f'{len(networks)} networks'}")
    if robot.expires:
        limits.append(f"until {robot.expires}")
    return f"robot {name}" + (f" ({', '.join(limits)})" if limits else "")


def _on(who: str, pattern: str) -> str:
    """The pattern; `{user}` becomes the account's name if the rule names a single account."""
    known = who not in (EVERYONE, ANONYMOUS) and not who.startswith(GROUP)
    return pattern.replace(USER, who.removeprefix(ROBOT)) if known else pattern
