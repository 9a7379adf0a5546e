"""Random inventories and questions, from a seeded `random.Random`: fast, and the same every time.

The vocabulary is small, so that rules overlap often, and nasty: names that are prefixes of each
other or differ only where a dot could match anything, and repositories that only an attacker asks
for.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from wharfinger.access import VERIFICATION_ACCOUNT

USERS = ("alice", "ali", "bob", "ci.robot", "cixrobot", "ci-robot", "a_b", "0", "x" * 40, "team")
ROBOTS = ("build", "nodes", "nodes.2", "nodes-2", "r")
GROUPS = ("g", "h.h", "hxh", "alice", "team")
ADDRESSES = ("10.0.0.0/8", "10.1.2.3", "192.0.2.0/24", "2001:db8::/32", "2001:db8::7", "0.0.0.0/0")
CLIENTS = (
    *("10.0.0.7", "10.1.2.3", "10.1.2.4", "192.0.2.9", "192.0.3.9", "203.0.113.5"),
    *("2001:db8::7", "2001:db8:1::1", "2001:db9::1", "::1"),
)
LITERALS = ("team", "te.m", "tea", "team-x", "alice", "ci.robot", "x", "y", "0", "catalog", "build")
SEGMENTS = ("*", "*", "**", "**", "{user}", "{user}", *LITERALS)
PLAIN = (*LITERALS, *USERS[:6], *ROBOTS[:3], "texm", "cixrobot", "z", VERIFICATION_ACCOUNT)
HOSTILE = (
    *("", ".", "..", "Team", "ALICE", "a b", "team\n", "\nteam", "te\0m", "\u212aelvin", "tеam"),
    *("{user}", "${account}", "$account", "\\E", "\\Q", "^team", "team$", "te.*", "[a-z]+", "(x)"),
    *(
        "*",
        "**",
        "?",
        "[t]eam",
        "team|x",
        "a:b",
        "%2f",
        "%2e%2e",
        "team\\",
        "\u202eteam",
        "\U0001f4a3",
    ),
    *(
        "+",
        "{1}",
        "x" * 300,
        "-",
        "_",
        "/",
        "//x",
        "team//",
        "a,b",
        "&scope=",
        "\r\nx",
        "'",
        '"',
        "#",
    ),
)
VERBS = ("pull", "push", "delete")


@dataclass(frozen=True, slots=True)
class Inventory:
    """The values of registry_users, registry_robots, registry_groups and registry_access."""

    users: dict[str, dict[str, Any]]
    groups: dict[str, list[str]]
    access: list[dict[str, Any]]
    robots: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """A user (None: not signed in) at an address asks for actions on a repository.

    `verbs` are pull, push and delete, or just `list`, which is for the catalog.
    """

    user: str | None
    address: str
    verbs: tuple[str, ...]
    repository: str | None


def _some(rng: random.Random, choices: tuple[str, ...], least: int, most: int) -> list[str]:
    return rng.sample(choices, rng.randint(least, min(most, len(choices))))


def inventory(rng: random.Random) -> Inventory:
    """An inventory without mistakes. Useless rules are not mistakes."""
    users = _some(rng, USERS, 1, 6)
    groups = {name: _some(rng, tuple(users), 0, 4) for name in _some(rng, GROUPS, 0, 3)}
    machines: dict[str, dict[str, Any]] = {}
    if rng.random() < 0.65:
        for name in _some(rng, ROBOTS, 1, 3):
            entry: dict[str, Any] = {}
            if rng.random() < 0.6:
                entry["addresses"] = _some(rng, ADDRESSES, 1, 2)
            machines[name] = entry
    words = [*users, *(f"group:{name}" for name in groups), *(f"robot:{name}" for name in machines)]
    words += ["everyone", "everyone", "anonymous"]
    access = [_rule(rng, tuple(dict.fromkeys(words))) for _ in range(rng.randint(0, 8))]
    return Inventory({name: {} for name in users}, groups, access, machines)


def _rule(rng: random.Random, words: tuple[str, ...]) -> dict[str, Any]:
    who = _some(rng, words, 1, 3)
    may: Any = [] if rng.random() < 0.15 else _some(rng, VERBS, 1, 3)
    if rng.random() < 0.2:
        may = "all"
    if rng.random() < 0.1:
        if may != "all" and rng.random() < 0.5:
            may = [*may, "list"]
        return {"who": who, "may": may, "on": "all"}
    patterns = [pattern(rng) for _ in range(rng.randint(1, 3))]
    # A text means a list with one item.
    return {
        "who": who[0] if len(who) == 1 and rng.random() < 0.5 else who,
        "may": may,
        "on": list(dict.fromkeys(patterns)),
    }


def pattern(rng: random.Random) -> str:
    return "/".join(rng.choice(SEGMENTS) for _ in range(rng.choice((1, 2, 2, 2, 3, 3, 4))))


def question(rng: random.Random, inventory: Inventory) -> Question:
    """A question that usually has something to do with the inventory."""
    signed_in = [*inventory.users, *inventory.robots]
    user: str | None = rng.choice(signed_in)
    chance = rng.random()
    if chance < 0.15:
        user = None
    elif chance < 0.2:
        user = rng.choice((VERIFICATION_ACCOUNT, "nobody", *USERS, *ROBOTS))
    address = rng.choice(CLIENTS)
    if rng.random() < 0.06:
        return Question(user, address, ("list",), None)
    verbs = tuple(_some(rng, VERBS, 1, 3))
    return Question(user, address, verbs, repository(rng, inventory, user))


def repository(rng: random.Random, inventory: Inventory, user: str | None) -> str:
    """A name: often one that a pattern matches or nearly matches, sometimes a hostile one."""
    patterns = [on for rule in inventory.access if rule["on"] != "all" for on in rule["on"]]
    if not patterns or rng.random() < 0.2:
        segments = [rng.choice(PLAIN) for _ in range(rng.choice((1, 2, 2, 3, 4)))]
    else:
        segments = []
        for segment in rng.choice(patterns).split("/"):
            if segment == "**":
                segments += [rng.choice(PLAIN) for _ in range(rng.choice((1, 1, 2, 3)))]
            elif segment == "*":
                segments.append(rng.choice(PLAIN))
            elif segment == "{user}":
                segments.append(user or rng.choice(PLAIN))
            else:
                segments.append(segment)
    chance = rng.random()
    if chance < 0.1:
        segments.insert(rng.randint(0, len(segments)), rng.choice(PLAIN))
    elif chance < 0.2 and len(segments) > 1:
        segments.pop(rng.randrange(len(segments)))
    elif chance < 0.3:
        segments[rng.randrange(len(segments))] = rng.choice(PLAIN)
    elif chance < 0.45:
        segments[rng.randrange(len(segments))] = rng.choice(HOSTILE)
    elif chance < 0.5:
        at = rng.randrange(len(segments))
        segments[at] = rng.choice(HOSTILE) + segments[at] + rng.choice(HOSTILE)
    return "/".join(segments)
