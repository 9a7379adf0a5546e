"""`wharf can` and `wharf access`: who may do what, read only from the inventory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ClientError, Denied, UsageError
from ..inventory import host_variables
from ..output import Column, Output

if TYPE_CHECKING:
    from wharfinger.access import Decision, Policy

ANONYMOUS = "anonymous"


def answer(
    user: str, verb: str, repository: str | None, inventory: Path, limit: str | None, json: bool
) -> None:
    """Prints the decision and its rule. Raises Denied for no, which sets the exit code."""
    from wharfinger.access import VERBS

    if verb not in VERBS:
        raise UsageError(f"{verb!r} is not a verb: write one of {', '.join(VERBS)}")
    if verb == "list" and repository is not None:
        raise UsageError("list is a question about the catalog: write no repository")
    if verb != "list" and not repository:
        raise UsageError(f"{verb} is a question about a repository: write its name after the verb")
    host, settings = host_variables(inventory, limit)
    who = "someone who is not signed in" if user == ANONYMOUS else user
    what = (
        "see the catalog"
        if verb == "list"
        else f"{verb} {'to ' if verb == 'push' else ''}{repository}"
    )
    allowed, number, why = _decide(settings, user, verb, repository)
    if json:
        Output().document(
            {
                "user": user,
                "verb": verb,
                "repository": repository,
                "allowed": allowed,
                "rule": number,
                "why": why,
                "host": host,
            }
        )
    sentence = f"{who} {'may' if allowed else 'may not'} {what}: {why}"
    if not allowed:
        raise Denied(sentence)
    if not json:
        print(sentence)


def _decide(
    settings: Mapping[str, Any], user: str, verb: str, repository: str | None
) -> tuple[bool, int | None, str]:
    """Allowed, the rule's number, and the reason in words."""
    if user != ANONYMOUS and user not in settings["registry_users"]:
        if user in (settings["registry_robots"] or {}):
            return _decide_robot(settings, user, verb, repository)
        return False, None, f"registry_users has no {user}"
    if settings["registry_auth"] == "htpasswd":
        signed_in = user != ANONYMOUS
        return signed_in, None, "with registry_auth: htpasswd every user may do everything"
    policy = _policy(settings)
    return _reason(policy, policy.decide(None if user == ANONYMOUS else user, verb, repository))


def _decide_robot(
    settings: Mapping[str, Any], name: str, verb: str, repository: str | None
) -> tuple[bool, int | None, str]:
    """Like _decide, for a robot that logs in from one of its addresses."""
    policy = _policy(settings)
    robot = policy.robots[name]
    if robot.expires and robot.expires < datetime.now(UTC).date():
        return False, None, f"registry_robots says that it has expired, on {robot.expires}"
    allowed, rule, why = _reason(policy, policy.decide(name, verb, repository))
    if allowed and robot.addresses:
        why += f"; from {' or '.join(str(network) for network in robot.addresses)} only"
    if allowed and robot.expires:
        why += f"; until {robot.expires}"
    return allowed, rule, why


def _reason(policy: Policy, decision: Decision) -> tuple[bool, int | None, str]:
    if decision.rule is None:
        return decision.allowed, None, "no rule of registry_access matches"
    rule = policy.rules[decision.rule - 1]
    line = f"{{who: {_yaml(rule.who)}, may: {_yaml(rule.may)}, on: {_yaml(rule.on)}}}"
    return decision.allowed, decision.rule, f"rule {decision.rule} of registry_access, {line}"


def _yaml(words: tuple[str, ...]) -> str:
    """The words of one field as they can be pasted into an inventory."""
    import yaml

    text = yaml.safe_dump([*words], default_flow_style=True, width=math.inf, allow_unicode=True)
    return text.strip()[1:-1] if len(words) == 1 else text.strip()


def show_access(inventory: Path, limit: str | None, output: Output) -> None:
    """Prints a row for each word of each rule's `who`."""
    from wharfinger.access import rows

    _, settings = host_variables(inventory, limit)
    if settings["registry_auth"] == "htpasswd":
        shown: list[dict[str, object]] = [
            {
                "rule": None,
                "who": "every user",
                "may": "everything",
                "on": "every repository and the catalog",
            }
        ]
    else:
        shown = [{**row, "rule": int(row["rule"])} for row in rows(_policy(settings))]
    columns = [
        Column("rule", "RULE", right=True),
        Column("who", "WHO"),
        Column("may", "MAY"),
        Column("on", "ON"),
    ]
    output.rows(columns, shown)


def _policy(settings: Mapping[str, Any]) -> Policy:
    from wharfinger.access import read_policy

    names: dict[str, object] = {name: {} for name in settings["registry_users"]}
    try:
        return read_policy(
            names,
            settings["registry_groups"],
            settings["registry_access"],
            settings["registry_robots"],
        )
    except ValueError as error:
        raise ClientError(f"the inventory has mistakes:\n{error}") from error
