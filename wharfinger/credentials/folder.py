"""The folder credentials/ beside the inventory: generated passwords and secrets, a file each."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import Any

from wharfinger import generated
from wharfinger.host.system.files import sync_directory

from .errors import CredentialsError
from .hashes import identity

# The controller remembers so many former secrets of a robot.
FORMER = 50
# A file beside the secrets: robot → the digests of its present and former secrets. No account has a
# name that begins with a dot.
ROTATIONS = ".rotations.json"


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
        """The user's generated password; None if this controller has none."""
        try:
            return (self.directory / name).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None

    def generate(self, name: str, replace: bool, size: int = generated.USER_BYTES) -> str:
        """Makes a password of `size` bytes, or takes the one that a concurrent run has made."""
        password = generated.make(size)
        self.written.append(name)
        if self.check_mode or self._write(name, password, replace):
            return password
        return self.read(name) or password

    def _write(self, name: str, text: str, replace: bool) -> bool:
        """Whether the file was written: without `replace`, an existing file stays."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self.directory / f".{name}.{secrets.token_hex(4)}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text + "\n")
            stream.flush()
            # The host keeps only the hash, so this file must survive a power loss.
            os.fsync(stream.fileno())
        target = self.directory / name
        try:
            if replace:
                temporary.replace(target)
            else:
                os.link(temporary, target)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(self.directory)
        return True

    def rotate(self, name: str, on_hosts: Collection[str]) -> None:
        """Makes a new secret for a robot; the digests of its former ones are remembered.

        on_hosts: the digests of the secrets that the hosts have.
        """
        present = self.read(name)
        before = [*([identity(name, present)] if present else []), *on_hosts, *self.former(name)]
        digest = generated.digest(self.generate(name, replace=True, size=generated.ROBOT_BYTES))
        if self.check_mode:
            return
        # Written after the secret: a run that is killed in between has given it to no host.
        rotations = self._rotations() | {
            name: {"secret": digest, "former": list(dict.fromkeys(before))[:FORMER]}
        }
        self._write(ROTATIONS, json.dumps(rotations, indent=1, sort_keys=True), replace=True)

    def former(self, name: str) -> list[str]:
        """The digests of the secrets that the robot's present secret here has replaced.

        A host that has one of these has missed a rotation. [] if the present secret was not made
        by a rotation here: then nothing says which secret is newer.
        """
        present, known = self.read(name), self._rotations().get(name)
        if present is None or known is None or known["secret"] != generated.digest(present):
            return []
        return list(known["former"])

    def _rotations(self) -> dict[str, dict[str, Any]]:
        try:
            text = (self.directory / ROTATIONS).read_text(encoding="utf-8")
            rotations: dict[str, dict[str, Any]] = json.loads(text)
            return rotations
        except FileNotFoundError:
            return {}
        except ValueError:
            raise CredentialsError(
                f"{self.directory / ROTATIONS} is damaged. It says which secrets of robots are "
                "older than those in credentials/: restore it from a backup; or remove it, and "
                "run playbooks/rotate_robots.yml without --limit the next time."
            ) from None
