"""docker_auth 1.14's decisions, written for tests: small, slow, and independent of the package.

It reads a configuration's `users` and `acl` and says what a token would contain. Its meaning is
defined by tests/library/golden/decisions.json, which test_docker_auth.py runs through it in full.
"""

from __future__ import annotations

import ipaddress
import itertools
from functools import cache
from typing import Any

import re2


def access(
    config: dict[str, Any], user: str, scope: str, service: str = "reg", ip: str = "127.0.0.1"
) -> dict[str, Any]:
    """What a token for `user` ("" is anonymous) says about one scope."""
    rest, _, actions = scope.rpartition(":")
    kind, _, name = rest.partition(":")
    question = {
        "account": user,
        "type": kind.partition("(")[0],
        "name": name,
        "service": service,
        "ip": ip,
    }
    labels = (config["users"][user] or {}).get("labels") or {}
    requested = actions.split(",")
    granted: list[str] = []
    for entry in config["acl"]:
        if all(holds(key, wanted, question, labels) for key, wanted in entry["match"].items()):
            everything = entry["actions"] == ["*"]
            granted = [action for action in requested if everything or action in entry["actions"]]
            break
    return {"type": question["type"], "name": name, "actions": sorted(granted)}


def holds(key: str, wanted: Any, question: dict[str, str], labels: dict[str, list[str]]) -> bool:
    """Whether one key of an entry's `match` holds."""
    if key == "ip":
        return ipaddress.ip_address(question["ip"]) in ipaddress.ip_network(wanted, strict=False)
    if key == "labels":
        return all(
            any(fits(pattern, value) for value in labels.get(label, []))
            for label, pattern in wanted.items()
        )
    for name in ("account", "type", "name", "service"):
        wanted = wanted.replace("${" + name + "}", re2.escape(question[name]))
    used = [label for label in labels if "${labels:" + label + "}" in wanted]
    for values in itertools.product(*(labels[label] for label in used)):
        filled = wanted
        for label, value in zip(used, values, strict=True):
            filled = filled.replace("${labels:" + label + "}", value)
        if fits(filled, question[key]):
            return True
    return False


def fits(pattern: str, value: str) -> bool:
    """Whether a glob, or a regular expression between slashes, matches."""
    if len(pattern) > 2 and pattern[0] == pattern[-1] == "/":
        return expression(pattern[1:-1]).search(value) is not None
    return expression(f"^(?s:{from_glob(pattern)})$").search(value) is not None


@cache
def expression(text: str) -> Any:
    return re2.compile(text)


def from_glob(glob: str) -> str:
    """Go's path.Match pattern as a regular expression."""
    pattern, rest = "", glob
    while rest:
        character, rest = rest[0], rest[1:]
        if character == "*":
            pattern += "[^/]*"
        elif character == "?":
            pattern += "[^/]"
        elif character == "[":
            inside, _, rest = rest.partition("]")
            pattern += f"[{inside}]"
        elif character == "\\":
            pattern, rest = pattern + re2.escape(rest[0]), rest[1:]
        else:
            pattern += re2.escape(character)
    return pattern
