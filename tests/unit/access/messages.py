"""What the tests of messages about the inventory share."""

from __future__ import annotations

from typing import Any

from wharfinger.access import examine

HASH = "$2b$10$" + "a" * 53
USERS: dict[Any, Any] = {"admin": {}, "readonly": {}, "someuser": {}}
GROUPS: dict[Any, Any] = {"developers": ["someuser"], "empty": []}
OPEN = [{"who": "everyone", "may": "all", "on": "all"}]
SECRET = "Planted-Secret"

CREDENTIALS = "write {password: …}, {password_hash: …}, or {} for a password that is generated"
MAKE_HASH = "make one with `htpasswd -nBC 10 NAME` and write what follows the colon"
NAME = (
    "name is lower-case letters, digits, dots, hyphens and underscores, "
    "beginning with a letter or digit"
)


def errors(users: object = USERS, groups: object = GROUPS, access: object = OPEN) -> list[str]:
    return [str(error) for error in examine(users, groups, access)[1].errors]


def rule(**fields: Any) -> dict[str, Any]:
    return {"who": "someuser", "may": ["pull"], "on": "team/*", **fields}
