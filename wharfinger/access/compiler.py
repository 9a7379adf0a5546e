"""The compiler: a policy as the `users` and `acl` of docker_auth's file (cesanta/docker_auth 1.14).

Every name is a regular expression that is anchored at both ends, because docker_auth does not
anchor them and its globs cannot cross a slash. Every entry that is not about everything has
`type: repository`: the action `*` on a name alone would also open the catalog.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wharfinger.deployment.fixed import MIRROR_ACCOUNT, VERIFICATION_ACCOUNT

from .policy import (
    ALL,
    ANONYMOUS,
    EVERYONE,
    GROUP,
    ONE_SEGMENT,
    ROBOT,
    SEGMENTS,
    USER,
    Policy,
    Rule,
)
from .robots import Robot

_ACTIONS = ("pull", "push", "delete")
# If there are robots, every user has this label: `everyone` matches users by it and no robots.
_KIND, _USER_KIND = "kind", "user"
# The label with the digest of a generated secret, which the embedded server compares.
_DIGESTS = "secret_sha256"


def compile_acl(policy: Policy) -> list[dict[str, Any]]:
    """docker_auth's `acl`: the reserved accounts' entries, then the rules' in their order."""
    entries = list(_reserved(policy))
    for rule in policy.rules:
        entries.extend(_entries(rule, policy))
    return entries


def compile_users(
    policy: Policy,
    hashes: Mapping[str, str],
    previous: Mapping[str, Mapping[str, str]] | None = None,
    server: str = "embedded",
    digests: Mapping[str, str] | None = None,
) -> dict[str, dict[str, Any]]:
    """docker_auth's `users`: name → bcrypt hash and labels; `""` if a rule names anonymous.

    `hashes` is name → bcrypt hash. Names that are neither users nor robots of the policy are left
    out; the verification account is included if `hashes` has it, and that of mirrors, if there are
    any. `previous` is robot → `hash`, `until` and (if it is known) `digest` of its previous secret.
    `digests` is name → SHA-256 of a generated secret, which the embedded server compares instead of
    the bcrypt hash. Raises ValueError for users without a hash.
    """
    missing = [name for name in (*policy.users, *policy.robots) if name not in hashes]
    if missing:
        raise ValueError(f"no password hash is known for: {', '.join(missing)}")
    labels: dict[str, list[str]] = {}
    for group, members in policy.groups.items():
        for name in members:
            labels.setdefault(name, []).append(group)
    users: dict[str, dict[str, Any]] = {}
    if VERIFICATION_ACCOUNT in hashes:
        users[VERIFICATION_ACCOUNT] = {"password": str(hashes[VERIFICATION_ACCOUNT])}
    if MIRROR_ACCOUNT in hashes and policy.mirrors:
        users[MIRROR_ACCOUNT] = {"password": str(hashes[MIRROR_ACCOUNT])}
    for name in policy.users:
        users[name] = {"password": str(hashes[name])}
        user_labels = {"group": labels[name]} if name in labels else {}
        if policy.robots:
            user_labels[_KIND] = [_USER_KIND]
        if user_labels:
            users[name]["labels"] = user_labels
    for name in policy.robots:
        users[name] = {"password": str(hashes[name])}
        if server == "embedded":
            users[name] |= _limits(policy.robots[name], (previous or {}).get(name))
    if server == "embedded":
        for name, digest in (digests or {}).items():
            if name in users:
                before = (previous or {}).get(name, {}).get("digest")
                users[name].setdefault("labels", {})[_DIGESTS] = [digest, *filter(None, [before])]
    if policy.knows_anonymous:
        users[""] = {}
    return users


def _reserved(policy: Policy) -> Iterator[dict[str, Any]]:
    """What the reserved accounts may do. These entries come before those of the rules."""
    own = {"type": "repository", "name": _expression(f"{VERIFICATION_ACCOUNT}/**")}
    yield {
        "match": {"account": VERIFICATION_ACCOUNT, **own},
        "actions": ["pull", "push"],
        "comment": "verification: its own repositories",
    }
    yield {
        "match": {"account": VERIFICATION_ACCOUNT},
        "actions": [],
        "comment": "verification: nothing else",
    }
    if policy.knows_anonymous:
        yield {
            "match": {"account": "", **own},
            "actions": [],
            "comment": "verification: never without login",
        }
    for repository in policy.mirrors:
        name = _expression(repository)
        yield {
            "match": {"account": MIRROR_ACCOUNT, "type": "repository", "name": name},
            "actions": ["pull", "push"],
            "comment": f"registry_mirrors: {repository}",
        }
    if policy.mirrors:
        yield {
            "match": {"account": MIRROR_ACCOUNT},
            "actions": [],
            "comment": "registry_mirrors: nothing else",
        }


def _limits(robot: Robot, previous: Mapping[str, str] | None) -> dict[str, Any]:
    """What the embedded server checks at a robot's login, besides its secret."""
    limits: dict[str, Any] = {}
    if previous:
        limits["previous_password"] = {
            "password": str(previous["hash"]),
            "until": str(previous["until"]),
        }
    if robot.end:
        limits["expires"] = robot.end
    if robot.addresses:
        limits["addresses"] = [str(network) for network in robot.addresses]
    return limits


def _entries(rule: Rule, policy: Policy) -> Iterator[dict[str, Any]]:
    """One rule's entries: one for each word of `who` and each pattern."""
    for who in rule.who:
        principals = _principals(who, policy)
        comment = f"registry_access, rule {rule.number}: {who}"
        if rule.everything:
            if rule.may != (ALL,) and "list" in rule.may:
                catalog = {"type": "registry", "name": "catalog"}
                for principal in principals:
                    yield {
                        "match": {**principal, **catalog},
                        "actions": ["*"],
                        "comment": f"{comment} (the catalog)",
                    }
            for principal in principals:
                yield {"match": principal, "actions": _actions(rule), "comment": comment}
            continue
        for pattern in rule.on:
            if who == ANONYMOUS and USER in pattern.split("/"):
                # An anonymous client has no name, and the expression would match an empty one.
                continue
            for principal in principals:
                yield {
                    "match": {**principal, "type": "repository", "name": _expression(pattern)},
                    "actions": _actions(rule),
                    "comment": f"{comment} on {pattern}",
                }


def _principals(who: str, policy: Policy) -> list[dict[str, Any]]:
    """The keys of `match` for one word of `who`: an account that one of these matches is meant."""
    if who == EVERYONE:
        return [{"labels": {_KIND: _USER_KIND}} if policy.robots else {"account": "/.+/"}]
    if who == ANONYMOUS:
        return [{"account": ""}]
    if who.startswith(GROUP):
        return [{"labels": {"group": who.removeprefix(GROUP)}}]
    if who.startswith(ROBOT):
        name = who.removeprefix(ROBOT)
        networks = policy.robots[name].addresses
        return [{"account": name, "ip": str(network)} for network in networks] or [
            {"account": name}
        ]
    return [{"account": who}]


def _actions(rule: Rule) -> list[str]:
    if rule.may == (ALL,):
        return ["*"]
    return [action for action in _ACTIONS if action in rule.may]


def _expression(pattern: str) -> str:
    """A pattern as docker_auth's regular expression (RE2), which begins and ends with a slash."""
    return f"/{anchored(pattern)}/"


def anchored(pattern: str) -> str:
    """A pattern as a regular expression, anchored at both ends, for RE2 and Python alike."""
    expression = ""
    for position, segment in enumerate(pattern.split("/")):
        slash = "/" if position else ""
        if segment == SEGMENTS:
            expression += "(/[^/]+)+" if position else "[^/]+(/[^/]+)*"
        elif segment == ONE_SEGMENT:
            expression += f"{slash}[^/]+"
        elif segment == USER:
            # docker_auth escapes the account's name before it inserts it.
            expression += f"{slash}${{account}}"
        else:
            # The dot is the only character of a path component that is special in RE2.
            expression += slash + segment.replace(".", "\\.")
    return f"^{expression}$"
