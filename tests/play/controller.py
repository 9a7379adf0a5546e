"""The controller: its inventories, and runs of the real ansible-playbook."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible.constants import DEFAULT_VAULT_ID_MATCH
from ansible.parsing.vault import VaultLib, VaultSecret

from support.inventory_files import dump, private

PROJECT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

_FATAL = re.compile(r"^fatal: \[(\S+)\]: FAILED! => *\n((?:[ \t]+.*\n|\n)*)", re.M)
_COUNT = re.compile(r"(\d+) mistakes? found; nothing was changed\.")


@dataclass(frozen=True)
class Run:
    """What an operator sees of one run."""

    code: int
    output: str

    @property
    def said(self) -> dict[str, str]:
        """Host → the message with which its task failed."""
        return {
            host: str(yaml.safe_load(textwrap.dedent(block))["msg"])
            for host, block in _FATAL.findall(self.output)
        }

    @property
    def mistakes(self) -> dict[str, list[str]]:
        """Host → preflight's sentences, in order. Their number must be the one that it states."""
        mistakes = {}
        for host, message in self.said.items():
            head, *lines = message.split("\n  - ")
            count = _COUNT.fullmatch(head)
            assert count and int(count[1]) == len(lines), (host, message)
            mistakes[host] = lines
        return mistakes

    @property
    def tasks(self) -> list[str]:
        """The tasks that began, each with its role in front."""
        return re.findall(r"^TASK \[(.*)\] \**$", self.output, re.M)

    @property
    def changed(self) -> int:
        """How many tasks changed something (or would), over all hosts."""
        return sum(map(int, re.findall(r"\bchanged=(\d+)", self.output)))


@dataclass
class Secrets:
    """Values that nobody must see: planted in inventories, or found on the host afterwards."""

    values: dict[str, str] = field(default_factory=dict)

    def plant(self, name: str) -> str:
        """A new secret, in no word list and without characters that YAML or JSON would escape."""
        return self.values.setdefault(name, f"planted{os.urandom(12).hex()}")

    def in_text(self, text: str) -> list[str]:
        """The names of the secrets in the text. Not their values: pytest shows the answer."""
        return [name for name, value in self.values.items() if value in text]


class Controller:
    """Inventories in a directory that others may enter, and the output of every run."""

    def __init__(self, directory: Path, host_variables: Mapping[str, Any], secrets: Secrets):
        self.directory = directory
        self.host_variables = dict(host_variables)
        self.secrets = secrets
        self.runs: dict[str, Run] = {}
        self.command_lines: set[bytes] = set()
        self.vault_password = directory / "vault_password"
        private(self.vault_password, secrets.plant("the vault's own password") + "\n")

    def vaulted(self, text: str) -> str:
        """The text as ansible-vault encrypts it."""
        return encrypted(text, self.vault_password.read_bytes().strip())

    def inventory(
        self, name: str, settings: Mapping[str, Any], hosts: Mapping[str, Mapping[str, Any]]
    ) -> Path:
        """An inventory in which every host is the one test host under another name."""
        folder = self.directory / name
        variables = folder / "group_vars" / "registry"
        shutil.rmtree(folder, ignore_errors=True)
        variables.mkdir(parents=True)
        aliases = {alias: {**self.host_variables, **more} for alias, more in hosts.items()}
        private(folder / "hosts.yml", dump({"registry": {"hosts": aliases}}))
        private(variables / "settings.yml", dump(dict(settings)))
        vault = self.vaulted(dump({"vault_password": self.secrets.plant("in the vault")}))
        private(variables / "vault.yml", vault)
        return folder

    def play(self, name: str, inventory: Path, *options: str, playbook: str = "site.yml") -> Run:
        """Runs a playbook as verbosely as operators do, with --diff, and keeps its output.

        `playbook` may name several, separated by spaces. They run one after the other.
        """
        playbooks = [PROJECT / file for file in playbook.split()]
        command = [BIN / "ansible-playbook", "-i", inventory, *playbooks, "-vvv", "--diff"]
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")
        }
        environment |= {
            "ANSIBLE_VAULT_PASSWORD_FILE": str(self.vault_password),
            "PATH": f"{BIN}:{environment['PATH']}",
        }
        with self._watching_processes():
            done = subprocess.run(
                [*map(str, command), *options],
                cwd=PROJECT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
        self.runs[name] = Run(done.returncode, done.stdout)
        return self.runs[name]

    @contextmanager
    def _watching_processes(self) -> Iterator[None]:
        """Meanwhile collects the arguments of all processes, which include the host's processes."""
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(over,))
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def _watch(self, over: threading.Event) -> None:
        seen: dict[str, float] = {}
        while not over.is_set():
            now = time.monotonic()
            for entry in os.scandir("/proc"):
                # A young process may still become another program, so it is read again.
                if not entry.name.isdecimal() or now - seen.setdefault(entry.name, now) > 1:
                    continue
                try:
                    self.command_lines.add(Path(entry.path, "cmdline").read_bytes())
                except OSError:
                    continue
            over.wait(0.02)


class Vaulted(str):
    """A single encrypted value in an otherwise plain file."""


yaml.SafeDumper.add_representer(
    Vaulted, lambda dumper, text: dumper.represent_scalar("!vault", str(text), style="|")
)


def encrypted(text: str, password: bytes) -> str:
    """The text as ansible-vault encrypts it with this password."""
    vault = VaultLib([(DEFAULT_VAULT_ID_MATCH, VaultSecret(password))])
    return str(vault.encrypt(text).decode())


def readable_by_all(*folders: Path, since: float) -> Iterator[tuple[Path, str]]:
    """The text of files that any user of this machine could read and that changed since then (epoch
    seconds).

    Of large files (images) only the first 16 MiB.
    """
    for folder in folders:
        for root, below, files in os.walk(folder):
            below[:] = [name for name in below if _mode(Path(root, name)) & stat.S_IXOTH]
            for path in (Path(root, name) for name in files):
                try:
                    status = path.lstat()
                    if (
                        stat.S_ISREG(status.st_mode)
                        and status.st_mode & stat.S_IROTH
                        and status.st_ctime >= since
                    ):
                        with path.open("rb") as file:
                            yield path, file.read(2**24).decode(errors="replace")
                except FileNotFoundError:
                    continue  # another program's file, removed meanwhile


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except OSError:
        return 0
