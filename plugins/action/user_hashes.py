"""Finds, makes or keeps each user's bcrypt hash. The host is the memory; passwords stay here."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bcrypt
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

COST = 10


class ActionModule(ActionBase):
    """hashes (name → bcrypt hash), record (users.json's text), and what is worth telling.

    Arguments: `users` (registry_users), `credentials` (the directory for generated passwords),
    `regenerate` (a user's name, or empty), `state`: with `renewed` it only makes the new password
    of `regenerate` (once for all hosts), which a later call without it then takes over.
    Run it with no_log.
    """

    _VALID_ARGS = frozenset({"users", "credentials", "regenerate", "state"})

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Never changes the host by itself, apart from its own account's secret being prepared."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        users = self._task.args["users"]
        regenerate = self._task.args["regenerate"]
        if regenerate and (regenerate not in users or users[regenerate]):
            raise AnsibleActionFail(
                f"regenerate={regenerate}: only a generated password can be made anew, and "
                f"registry_users has no user {regenerate} without password and password_hash. "
                f"Write -e regenerate=NAME with one of: {self._generated(users)}."
            )
        credentials = Credentials(Path(self._task.args["credentials"]), self._task.check_mode)
        if self._task.args.get("state") == "renewed":
            credentials.generate(regenerate, replace=True)
            result["changed"] = True
            return result
        prepared = self._execute_module(
            module_name="wharfinger_host", module_args={"command": "prepare"}, task_vars=task_vars
        )
        if prepared.get("failed"):
            return prepared
        # As host_vars of the task, a lazy container: plain Python from here on.
        plain = {str(name): dict(user or {}) for name, user in users.items()}
        known = prepared.get("users", {})
        with ThreadPoolExecutor() as pool:  # bcrypt lets go of the interpreter's lock
            entries = dict(
                zip(
                    plain,
                    pool.map(
                        lambda name: entry(
                            name, plain[name], known.get(name), credentials, name == regenerate
                        ),
                        plain,
                    ),
                    strict=True,
                )
            )
        hashes = {name: found["hash"] for name, found in entries.items()}
        if prepared.get("verification_hash"):
            hashes["wharfinger-verification"] = prepared["verification_hash"]
        result.update(
            changed=credentials.changed or prepared.get("changed", False),
            hashes=hashes,
            record=json.dumps(entries, indent=1, sort_keys=True) + "\n",
            generated=sorted(credentials.written),
            kept=sorted(credentials.kept),
            stale=sorted(credentials.stale),
            removed=removed(known, plain, credentials),
        )
        return result

    @staticmethod
    def _generated(users: dict[str, Any]) -> str:
        return ", ".join(sorted(name for name, user in users.items() if not user)) or "none"


class Credentials:
    """The directory beside the inventory with one generated password a file, 0700 and 0600."""

    def __init__(self, directory: Path, check_mode: bool) -> None:
        self.directory = directory
        self.check_mode = check_mode
        self.written: list[str] = []
        self.kept: list[str] = []
        self.stale: list[str] = []

    @property
    def changed(self) -> bool:
        """Whether a password was, or in check mode would be, generated."""
        return bool(self.written)

    def read(self, name: str) -> str | None:
        """The user's generated password, or None where this controller has none."""
        try:
            return (self.directory / name).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None

    def generate(self, name: str, replace: bool) -> str:
        """Makes a password, or takes the one that a run beside this one has just made."""
        password = secrets.token_urlsafe(24)
        self.written.append(name)
        if self.check_mode:
            return password
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self.directory / f".{name}.{secrets.token_hex(4)}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(password + "\n")
        target = self.directory / name
        if replace:
            temporary.replace(target)
            return password
        try:
            os.link(temporary, target)
        except FileExistsError:
            return self.read(name) or password
        finally:
            temporary.unlink()
        return password


def entry(
    name: str,
    user: dict[str, str],
    known: dict[str, str] | None,
    credentials: Credentials,
    regenerate: bool,
) -> dict[str, str]:
    """One user's line of the record: `hash`, and `generated` for a password made here.

    `generated` is the SHA-256 of a random 192-bit password, which tells a stale file in
    credentials/ apart without a bcrypt round; of a chosen password no fast digest is kept.
    """
    if "password_hash" in user:
        return {"hash": user["password_hash"]}
    if "password" in user:
        password = user["password"].encode()
        if known and bcrypt.checkpw(password, known["hash"].encode()):
            return {"hash": known["hash"]}
        return {"hash": bcrypt.hashpw(password, bcrypt.gensalt(COST)).decode()}
    present = credentials.read(name)
    if known and not regenerate:
        if present is None:
            credentials.kept.append(name)
        elif known.get("generated") != digest(present):
            credentials.stale.append(name)
        return known
    if present is None:
        present = credentials.generate(name, replace=False)
    return {
        "hash": bcrypt.hashpw(present.encode(), bcrypt.gensalt(COST)).decode(),
        "generated": digest(present),
    }


def removed(
    known: dict[str, dict[str, str]], users: dict[str, dict[str, str]], credentials: Credentials
) -> list[str]:
    """Users that the host knew and the inventory does not, whose password still lies here.

    It is not deleted: another group of the same inventory may have a user of this name. Added
    again, the user would get it back.
    """
    return sorted(
        name
        for name, entry in known.items()
        if name not in users
        and (present := credentials.read(name)) is not None
        and entry.get("generated") == digest(present)
    )


def digest(password: str) -> str:
    """The SHA-256 of a generated password, in hexadecimal."""
    return hashlib.sha256(password.encode()).hexdigest()
