"""The load: starts and stops clients, names phases, and reports what happened."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from . import report as reports
from .clients import STABLE, Client, Holder, Pusher, Reader, Remote, usual
from .image import made
from .record import Attempt, Operation, Record
from .session import Account, Session, Target
from .transfer import Transfer, monolithic

# Seconds that a client may take to finish what it is doing.
_PATIENCE = 90


class Load:
    """Clients of the registry `target`, signed in as `account`, who trust only `ca_file`."""

    def __init__(
        self,
        target: Target,
        account: Account,
        ca_file: Path | str,
        timeout: float = 60,
        pace: float = 1.0,
    ) -> None:
        """`timeout`: seconds that a client waits for the next byte. `pace`: the factor of its usual
        pause between two rounds."""
        self.target = target
        self.account = account
        self.ca_file = str(ca_file)
        self.timeout = timeout
        self.pace = pace
        self.record = Record()
        self._clients: list[Client | Remote] = []

    def __enter__(self) -> Load:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def session(self, ca_file: Path | str | None = None) -> Session:
        """A session for another client; `ca_file`: the only authority that it trusts."""
        return Session(self.target, self.account, str(ca_file or self.ca_file), self.timeout)

    def start(self) -> None:
        """Pushes what the clients read, and starts the usual clients. Raises if that push fails.
        May be called again after `stop`."""
        image = made((64 * 1024, 512 * 1024))
        session = self.session()
        self.record.begin("start")
        with self.record.operation("seed", "push") as attempt:
            seed = Transfer(session, STABLE, threading.Event())
            seed.push(attempt, image, "present", monolithic())
        session.close()
        if not attempt.ok:
            raise RuntimeError(f"the registry cannot be used: {self.failures()[-1].error}")
        for client in usual(self.record, self.session, image):
            self._add(client)

    def _add(self, client: Client | Remote) -> None:
        self._clients.append(client)
        client.pace = self.pace
        client.start()

    def add_trusting(self, name: str, ca_file: Path | str) -> None:
        """Adds two more clients, a reader and a pusher, which trust only this authority."""
        self._add(Reader(f"{name} reader", self.record, self.session(ca_file)))
        self._add(
            Pusher(
                f"{name}-pusher".replace(" ", "-").lower(),
                self.record,
                self.session(ca_file),
                upload=monolithic(),
                sizes=(32 * 1024, 64 * 1024),
            )
        )

    def add_real(self, tool: str, command: Sequence[str]) -> None:
        """Adds a real `docker` or `containerd` on another machine that trusts the registry."""
        self._add(
            Remote(
                tool,
                self.record,
                tool=tool,
                command=command,
                target=self.target,
                account=self.account,
            )
        )

    def hold_token(self, name: str) -> Holder:
        """Takes a token now and uses it until it expires; `join` of the answer waits for that."""
        holder = Holder(f"token before {name}", self.record, self.session())
        self._add(holder)
        return holder

    def phase(self, name: str) -> None:
        """From now on, operations that end belong to this phase."""
        self.record.begin(name)

    def stop(self, *names: str) -> None:
        """Ends the clients whose names begin with one of these (without names: all clients)."""
        chosen = [
            client for client in self._clients if not names or client.name.lower().startswith(names)
        ]
        for client in chosen:
            client.stop()
        deadline = time.monotonic() + _PATIENCE
        for client in chosen:
            client.join(max(0.1, deadline - time.monotonic()))
            self._clients.remove(client)
        if not self._clients:
            self.record.end()

    def operations(self, phase: str | None = None) -> list[Operation]:
        """The operations that have ended so far, in one phase or in all."""
        return [operation for operation in self.record.so_far() if phase in (None, operation.phase)]

    def failures(self, phase: str | None = None) -> list[Operation]:
        """The operations that failed."""
        return [operation for operation in self.operations(phase) if not operation.ok]

    def pushed(self) -> list[str]:
        """Every manifest that was answered with 201, as NAME@DIGEST."""
        return [reference for operation in self.operations() for reference in operation.pushed]

    def lost(self, references: Sequence[str]) -> list[str]:
        """The references that cannot be pulled with all blobs and equal digests, and why."""
        lost: list[str] = []
        digests: dict[str, list[str]] = {}
        for reference in references:
            name, _, digest = reference.partition("@")
            digests.setdefault(name, []).append(digest)
        for name, wanted in sorted(digests.items()):
            transfer = Transfer(self.session(), name, threading.Event())

            def pull(digest: str, transfer: Transfer = transfer, name: str = name) -> None:
                try:
                    transfer.pull(Attempt(), digest, digest)
                except Exception as problem:
                    lost.append(f"{name}@{digest}: {problem}")

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(pull, wanted))
            transfer.session.close()
        return lost

    def report(self, steady: str | None = None) -> dict[str, Any]:
        """See report.py; `steady` is the phase that latencies are compared with."""
        return reports.report(self.record, steady)

    def write(self, path: Path, steady: str | None = None) -> None:
        """The report as JSON."""
        path.write_text(json.dumps(self.report(steady), indent=1) + "\n", encoding="utf-8")
