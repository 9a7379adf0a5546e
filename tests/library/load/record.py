"""What happened to every operation. A phase is what the caller says is happening."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


class Stopped(Exception):
    """The load ends in the middle of an operation, which then does not count."""


@dataclass(frozen=True)
class Operation:
    """`start` in seconds since 1970; `phase` is the one in which it ended; `latencies` of its small
    requests, in seconds; `pushed`: the manifests that were answered with 201, as NAME@DIGEST."""

    client: str
    kind: str
    phase: str
    start: float
    seconds: float
    error: str = ""
    requests: int = 0
    retries: int = 0
    latencies: tuple[float, ...] = ()
    pushed: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.error


class Attempt:
    """A running operation; `ok` once it has succeeded. Several threads may push its layers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = 0
        self.retries = 0
        self.ok = False
        self.latencies: list[float] = []
        self.pushed: list[str] = []

    def requested(self, seconds: float | None = None) -> None:
        with self._lock:
            self.requests += 1
            if seconds is not None:
                self.latencies.append(seconds)

    def retried(self) -> None:
        with self._lock:
            self.requests += 1
            self.retries += 1


@dataclass
class Record:
    """Operations in the order in which they ended, and when each phase began."""

    operations: list[Operation] = field(default_factory=list)
    phases: list[tuple[str, float]] = field(default_factory=list)
    ended: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def begin(self, phase: str) -> None:
        with self._lock:
            self.phases.append((phase, time.time()))
            self.ended = None

    def end(self) -> None:
        self.ended = time.time()

    def add(
        self,
        client: str,
        kind: str,
        start: float,
        seconds: float,
        error: str = "",
        attempt: Attempt | None = None,
    ) -> None:
        """Adds an operation that has just ended."""
        done = attempt or Attempt()
        with self._lock:
            phase = self.phases[-1][0] if self.phases else "start"
            self.operations.append(
                Operation(
                    client,
                    kind,
                    phase,
                    start,
                    seconds,
                    error,
                    done.requests,
                    done.retries,
                    tuple(done.latencies),
                    tuple(done.pushed),
                )
            )

    def so_far(self) -> list[Operation]:
        with self._lock:
            return list(self.operations)

    @contextmanager
    def operation(self, client: str, kind: str) -> Iterator[Attempt]:
        """Any error inside is recorded as a failed operation, and the client goes on."""
        attempt, start, began = Attempt(), time.time(), time.monotonic()
        error = ""
        try:
            yield attempt
            attempt.ok = True
        except Stopped:
            return
        except Exception as problem:
            error = f"{type(problem).__name__}: {problem}"
        self.add(client, kind, start, time.monotonic() - began, error, attempt)
