#!/usr/bin/env python3
"""The users of a test run, with passwords made for it: `users.py FILE` writes the file, and
`users.py FILE change` edits it, as an operator would edit registry_users.

The file is JSON: `registry_users` and `registry_robots` are the inventory's variables, and
`passwords` are what the users type.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import bcrypt


def new() -> dict[str, Any]:
    """Users with a password, a hash or a generated password; one has no rights, one leaves."""
    passwords = {name: secrets.token_urlsafe(18) for name in ("admin", "readonly", "stranger")}
    passwords["leaver"] = secrets.token_urlsafe(18)
    return {
        "registry_users": {
            "admin": {"password": passwords["admin"]},
            "readonly": {"password_hash": hashed(passwords["readonly"])},
            "someuser": {},
            "stranger": {"password_hash": hashed(passwords["stranger"])},
            "leaver": {"password_hash": hashed(passwords["leaver"])},
        },
        # A robot with rights, a robot that no rule names, and a robot whose machines are elsewhere.
        "registry_robots": {
            "ci": {
                "addresses": ["10.0.0.0/8", "2001:db8::/32"],
                "expires": (date.today() + timedelta(days=100)).isoformat(),
            },
            "nodes": {},
            "outside": {"addresses": ["192.0.2.0/24", "198.51.100.7"]},
        },
        "passwords": passwords,
    }


def change(users: dict[str, Any]) -> None:
    """Adds a user and a robot, changes a user's password, and removes a user."""
    passwords = users["passwords"]
    users["former"] = {"readonly": passwords["readonly"], "leaver": passwords.pop("leaver")}
    passwords["newcomer"] = secrets.token_urlsafe(18)
    passwords["readonly"] = secrets.token_urlsafe(18)
    users["registry_users"]["newcomer"] = {"password": passwords["newcomer"]}
    users["registry_users"]["readonly"] = {"password_hash": hashed(passwords["readonly"])}
    del users["registry_users"]["leaver"]
    users["registry_robots"]["builder"] = {}


def hashed(password: str) -> str:
    """The password's bcrypt hash."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(10)).decode()


def main(path: str, edit: str = "") -> None:
    """Replaces the file in one step; only its owner may read it."""
    users = json.loads(Path(path).read_text()) if edit else new()
    if edit:
        change(users)
    partial = Path(f"{path}.new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(users, file, indent=2)
    partial.rename(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
