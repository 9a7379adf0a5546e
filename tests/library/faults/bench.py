"""The host of the scenario `faults` under load, and the record of what was done to it."""

from __future__ import annotations

import json
import os
import shlex
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any

from testinfra.host import Host

from load.image import made
from load.plays import PROJECT
from load.record import Attempt, Operation
from load.site import NAME, new_load
from load.transfer import Transfer, monolithic
from support import hosts, renewals
from support.amount import PACE
from support.containers import serving

from .report import Row, error_counts, page
from .watch import Puller, Pusher, Seen, out

# Seconds that a client waits for an answer before it gives up.
PATIENCE = 10
# Recent events on the host, for the message when a fault did not do what it should.
RECENT = (
    "docker ps --all --no-trunc --format '{{.Names}} {{.Status}}';"
    " journalctl --since -2min --output short-precise --no-pager | grep -v sudo | tail -40"
)


class Bench:
    """One registry, its clients, and the rows of the table so far."""

    def __init__(self) -> None:
        self.machine: Host = hosts.host(NAME)
        self.rows: list[Row] = []
        # The errors, at the last fault, of operations that began after the previous fault was over:
        # an operation that an earlier fault hit may only end, and fail, now.
        self.harm: list[str] = []
        self._well = time.time()
        self._held = ExitStack()
        self.load = new_load(hosts.authority(NAME), PATIENCE, PACE)
        image = made((2048, 4096))
        session = self.load.session()
        Transfer(session, "load/watched", _never()).push(Attempt(), image, "kept", monolithic())
        self.pulls, self.pushes = Puller(session, image), Pusher(session)

    def __enter__(self) -> Bench:
        # A renewal during a fault would repair it before anyone saw it.
        self._held.enter_context(renewals.held(self.machine))
        self.load.start()
        self.pulls.start()
        self.pushes.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.load.stop()
        self.pulls.end()
        self.pushes.end()
        self._held.close()

    # -- the host ----------------------------------------------------------------------------------

    def run(self, command: str) -> str:
        """Runs a shell command on the host as root, which must succeed; returns its output."""
        done = hosts.run_with_input(NAME, ["sh", "-eus"], command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout.strip()

    def fails(self, command: str) -> str:
        """Runs a shell command that must fail; returns what it says."""
        done = hosts.run_with_input(NAME, ["sh", "-us"], command)
        assert done.returncode != 0, (command, done.stdout)
        return done.stdout + done.stderr

    def until(self, condition: str) -> None:
        """Waits until a shell condition holds on the host (three minutes at most)."""
        self.run(f"timeout 180 sh -c {shlex.quote(f'until {condition}; do sleep 0.1; done')}")

    def container(self, kind: str) -> str:
        """The name of the container of this kind that serves."""
        return serving(self.state())[kind]

    def inspected(self, kind: str) -> dict[str, Any]:
        """What docker inspect says about that container."""
        said = self.run(f"docker inspect {self.container(kind)}")
        containers: list[dict[str, Any]] = json.loads(said)
        return containers[0]

    def state(self) -> dict[str, Any]:
        """state.json."""
        return hosts.state(NAME)

    def script(self, text: str, *arguments: str) -> str:
        """Runs a Python program on the host as root; returns its output."""
        return hosts.script(NAME, text, *arguments)

    # -- faults ------------------------------------------------------------------------------------

    @contextmanager
    def fault(self, fault: str, *, returns: str, patience: float = 300) -> Iterator[float]:
        """The body causes the fault while clients go on. Then service must return within `patience`
        seconds, and everything that was acknowledged since the previous fault must be there."""
        self.load.phase(fault)
        moment = time.time()
        before = len(self.acknowledged())
        yield moment
        self.back(time.time(), patience)
        # Until the clients of the load have recovered, too.
        time.sleep(1)
        self.load.phase("well")
        pushed = self.acknowledged()[before:]
        watched = [round_ for watch in (self.pulls, self.pushes) for round_ in watch.since(moment)]
        failures: list[Operation | Seen] = [
            *self.load.failures(fault),
            *(round_ for round_ in watched if not round_.ok),
        ]
        self.harm = [failure.error for failure in failures if failure.start >= self._well]
        self._well = time.time()
        row = Row(
            fault=fault,
            returns=returns,
            pulls=round(out(self.pulls.seen, moment), 1),
            pushes=round(out(self.pushes.seen, moment), 1),
            operations=len(self.load.operations(fault)) + len(watched),
            failed=len(failures),
            pushed=len(pushed),
            lost=tuple(self.lost(pushed)),
            errors=error_counts([failure.error for failure in failures]),
        )
        self.rows.append(row)
        assert row.lost == ()

    def fails_for_somebody(self, fault: str, since: float) -> None:
        """Waits until an operation that began since then has failed."""
        deadline = time.monotonic() + 120
        while True:
            watched = [round_ for watch in (self.pulls, self.pushes) for round_ in watch.seen]
            failed = [round_.start for round_ in watched if not round_.ok]
            failed += [operation.start for operation in self.load.failures(fault)]
            if any(start >= since for start in failed):
                return
            assert time.monotonic() < deadline, f"{fault}: no client has noticed"
            time.sleep(0.2)

    def back(self, since: float, patience: float) -> None:
        """Waits until pulls and pushes succeed again, each several times in a row."""
        deadline = time.monotonic() + patience
        while not (self.pulls.is_well(since) and self.pushes.is_well(since)):
            # A client that is still in its first round has none to show.
            last = [watch.seen[-1:] for watch in (self.pulls, self.pushes)]
            assert time.monotonic() < deadline, f"no service after {patience:g} s: {last}"
            time.sleep(0.1)

    def out_now(self, seconds: float) -> None:
        """Checks that no pull and no push succeeds for this many seconds."""
        began = time.time()
        time.sleep(seconds)
        for watch in (self.pulls, self.pushes):
            succeeded = [round_ for round_ in watch.seen if round_.start >= began and round_.ok]
            assert not succeeded, (watch.name, began, succeeded, self.run(RECENT))

    # -- what was acknowledged ---------------------------------------------------------------------

    def acknowledged(self) -> list[str]:
        """Every manifest that the registry answered with 201 to any client, as NAME@DIGEST."""
        return self.load.pushed() + self.pushes.pushed

    def lost(self, references: Sequence[str]) -> list[str]:
        """The references that cannot be pulled with all blobs and equal digests, and why."""
        return self.load.lost(references)

    def report(self) -> None:
        """Writes the results: JSON into the run's directory, and a page to the file that
        FAULTS_REPORT names (relative to the project's folder), if it is set."""
        plain = [row.plain() for row in self.rows]
        path = hosts.ephemeral() / "faults.json"
        path.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
        if wanted := os.environ.get("FAULTS_REPORT"):
            day = time.strftime("%Y-%m-%d", time.gmtime())
            text = page(self.rows, day, os.cpu_count() or 1)
            (PROJECT / wanted).write_text(text, encoding="utf-8")


def _never() -> threading.Event:
    return threading.Event()
