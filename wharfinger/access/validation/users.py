"""registry_users: names and their passwords.

No message repeats what stands under a user's name, not even a key: YAML may have read a secret as a
key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from wharfinger.bcrypt_hash import BCRYPT_HASH
from wharfinger.suggestions import nearest
from wharfinger.values import kind

from .inventory import USERS, Inventory, account_name, shown_name

LOWEST_COST, HIGHEST_COST = 10, 14
LONGEST_PASSWORD = 72

_MAKE_HASH = f"make one with `htpasswd -nBC {LOWEST_COST} NAME` and write what follows the colon"
_USER_KEYS = ("password", "password_hash")


def read_users(inventory: Inventory, users: object) -> None:
    """Reads names and their passwords."""
    if not isinstance(users, Mapping):
        inventory.error(
            USERS,
            "",
            f"is {kind(users)}: write a mapping of names, as in `someuser: {{}}` "
            "(its password is then generated)",
        )
        return
    for position, (name, entry) in enumerate(users.items(), 1):
        if isinstance(name, str):
            inventory.written_users.add(name)
        where = shown_name(name, entry) or f"entry {position}"
        wrong = account_name(inventory, name, entry, "user")
        if wrong:
            inventory.error(USERS, where, wrong)
        elif isinstance(name, str):
            inventory.users[str(name)] = None
        for message in _credentials(entry, name if isinstance(name, str) else "NAME"):
            inventory.error(USERS, where, message)


def _credentials(entry: object, name: str) -> list[str]:
    """What is wrong with the value of one user in registry_users."""
    if not isinstance(entry, Mapping):
        return [
            f"is {kind(entry)}: write {{password: …}}, {{password_hash: …}}, or {{}} for a "
            "password that is generated"
        ]
    problems = [
        _unknown_user_key(position, key, value)
        for position, (key, value) in enumerate(entry.items(), 1)
        if key not in _USER_KEYS
    ]
    if "password" in entry and "password_hash" in entry:
        problems.append("has both password and password_hash: remove one")
    if "password" in entry:
        problems.extend(_password(entry["password"]))
    if "password_hash" in entry:
        problems.extend(_password_hash(entry["password_hash"]))
    return problems


def _unknown_user_key(position: int, key: object, value: object) -> str:
    if isinstance(key, str) and re.match(r"password(_hash)?\s*[:=]", key):
        return "has password and its value as one key: write a space after the colon"
    meant = _user_key_meant(key) if isinstance(key, str) else None
    harmless = isinstance(key, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,39}", key)
    # A key without a value that is unlike any known key may be a secret.
    if harmless and (meant or value is not None):
        choice = f"write {meant}" if meant else "remove it, the keys are password, password_hash"
        return f"{key} is an unknown key: {choice}"
    return f"key {position} is unknown (not shown, it may be secret): write {{password: …}}"


def _user_key_meant(key: str) -> str | None:
    plain = key.lower().replace("-", "_")
    usual = {"pw": "password", "pass": "password", "hash": "password_hash"}
    return usual.get(plain) or nearest(plain, _USER_KEYS)


def _password(password: object) -> list[str]:
    if password is None or password == "":
        return ["password is empty: write one, or {} for a password that is generated"]
    if not isinstance(password, str):
        return [f"password is {kind(password)} to YAML: write it in quotation marks"]
    if BCRYPT_HASH.fullmatch(password):
        return ["password is a bcrypt hash: write it as password_hash"]
    problems = []
    size = len(password.encode("utf-8", "surrogatepass"))
    if size > LONGEST_PASSWORD:
        problems.append(
            f"password has {size} bytes, and bcrypt reads no more than {LONGEST_PASSWORD}: "
            "write a shorter one"
        )
    if any(character in password for character in "\0\r\n"):
        problems.append(
            "password has a line break or a NUL, which clients cut off: write it without"
        )
    return problems


def _password_hash(value: object) -> list[str]:
    if not isinstance(value, str):
        return [f"password_hash is {kind(value)}: write a bcrypt hash; {_MAKE_HASH}"]
    match = BCRYPT_HASH.fullmatch(value)
    if match is None:
        inner = BCRYPT_HASH.search(value)
        if inner is not None:
            return ["password_hash has more than the hash: write only what begins with $2"]
        return [f"password_hash is not a bcrypt hash: {_MAKE_HASH}"]
    cost = int(match[1])
    if not LOWEST_COST <= cost <= HIGHEST_COST:
        return [
            f"password_hash has the bcrypt cost {cost}, and {LOWEST_COST} to {HIGHEST_COST} is "
            f"accepted: {_MAKE_HASH}"
        ]
    return []
