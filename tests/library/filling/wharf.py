"""The command `wharf` as a person runs it on their own machine."""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.registry import Account

WHARF = Path(sys.executable).with_name("wharf")


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    output: str
    error: str
    seconds: float = 0.0

    @property
    def json(self) -> Any:
        """What --json printed."""
        assert self.code == 0, (self.error, self.output)
        return json.loads(self.output)

    @property
    def words(self) -> str:
        """Standard output and error, without line breaks."""
        return " ".join(f"{self.output} {self.error}".split())


class Person:
    """A person signed in to registries (HOST[:PORT] to account). `names` resolve to these
    addresses; one file has all of their authorities. Nothing of this machine's own settings is
    used."""

    def __init__(
        self,
        folder: Path,
        accounts: Mapping[str, Account],
        names: Mapping[str, str],
        authorities: list[Path],
    ) -> None:
        self.folder = folder
        auths = {
            registry: {
                "auth": base64.b64encode(f"{account.name}:{account.password}".encode()).decode()
            }
            for registry, account in accounts.items()
        }
        (folder / "config.json").write_text(json.dumps({"auths": auths}))
        (folder / "config.json").chmod(0o600)
        # Only this one command has to resolve the names of test hosts.
        lines = [f"{address} {name}\n" for name, address in names.items()]
        (folder / "hosts").write_text(Path("/etc/hosts").read_text() + "".join(lines))
        text = "".join(path.read_text() for path in authorities)
        (folder / "authorities.crt").write_text(text)

    def __call__(self, command: str, *arguments: str, text: str | None = None) -> Said:
        """Runs `wharf COMMAND ARGUMENT…`; `text` is its standard input."""
        wharf = [str(WHARF), command, *arguments]
        if "--inventory" not in arguments:
            wharf[2:2] = ["--cacert", str(self.folder / "authorities.crt")]
        mounted = f"mount --bind {self.folder}/hosts /etc/hosts && exec {shlex.join(wharf)}"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WHARF_")},
            "DOCKER_CONFIG": str(self.folder),
            "HOME": str(self.folder),
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", mounted],
            input=text,
            capture_output=True,
            text=True,
            env=environment,
        )
        return Said(done.returncode, done.stdout, done.stderr)
