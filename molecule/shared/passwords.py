#!/usr/bin/env python3
"""Writes new passwords for the users of a test run: `passwords.py FILE`.

The file is JSON: each user's `password`, and its bcrypt `hash` for those who are given by hash.
"""

from __future__ import annotations

import json
import os
import secrets
import sys

import bcrypt

USERS = ["admin", "readonly", "stranger", "newcomer"]


def main(path: str) -> None:
    """Makes the file, readable by its owner only."""
    users = {}
    for name in USERS:
        password = secrets.token_urlsafe(18)
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(10))
        users[name] = {"password": password, "hash": hashed.decode()}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(users, file, indent=2)


if __name__ == "__main__":
    main(sys.argv[1])
