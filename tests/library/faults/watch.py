"""Clients that pull, and clients that push, again and again, each time as a new client: new
connections, a new token. They record from when to when there was no service."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from load.image import Image, digest, made
from load.record import Attempt
from load.session import Session
from load.transfer import Transfer, monolithic
from support.amount import PACE

# Seconds between two rounds.
PAUSE = 0.1 * PACE
# This many rounds in a row must succeed before service counts as restored.
_IN_A_ROW = 3


@dataclass(frozen=True)
class Seen:
    """One round; times in seconds since 1970."""

    start: float
    end: float
    error: str

    @property
    def ok(self) -> bool:
        return not self.error


def out(seen: Sequence[Seen], fault: float) -> float:
    """Seconds from the fault until rounds succeeded for good; 0 if none failed (pure)."""
    after = [round_ for round_ in seen if round_.end >= fault]
    failed = [number for number, round_ in enumerate(after) if not round_.ok]
    if not failed:
        return 0.0
    good = after[failed[-1] + 1 :]
    return (good[0].end if good else after[-1].end) - fault


class Watch(threading.Thread):
    """Base of both. `session`: each round uses a new copy of it."""

    def __init__(self, name: str, session: Session) -> None:
        super().__init__(name=name, daemon=True)
        self.session = session
        self.seen: list[Seen] = []
        self.pushed: list[str] = []
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            start, error = time.time(), ""
            session, attempt = self.session.another(), Attempt()
            try:
                self.round(Transfer(session, "load/watched", self._over), attempt)
            except Exception as problem:
                error = f"{type(problem).__name__}: {problem}"
            finally:
                session.close()
            self.pushed += attempt.pushed
            self.seen.append(Seen(start, time.time(), error))
            self._over.wait(PAUSE)

    def round(self, transfer: Transfer, attempt: Attempt) -> None:
        raise NotImplementedError

    def end(self) -> None:
        self._over.set()
        self.join(60)

    def since(self, moment: float) -> list[Seen]:
        """The rounds that have ended since then."""
        return [round_ for round_ in self.seen if round_.end >= moment]

    def is_well(self, since: float) -> bool:
        """Whether the last rounds all began after that moment and succeeded."""
        last = [round_ for round_ in self.seen if round_.start >= since][-_IN_A_ROW:]
        return len(last) == _IN_A_ROW and all(round_.ok for round_ in last)


class Puller(Watch):
    """Pulls one image that exists."""

    def __init__(self, session: Session, image: Image) -> None:
        super().__init__("watching pulls", session)
        self.wanted = digest(image.manifest)

    def round(self, transfer: Transfer, attempt: Attempt) -> None:
        transfer.pull(attempt, "kept", self.wanted)


class Pusher(Watch):
    """Pushes one image after another."""

    def __init__(self, session: Session) -> None:
        super().__init__("watching pushes", session)

    def round(self, transfer: Transfer, attempt: Attempt) -> None:
        transfer.push(attempt, made((1024,)), "last", monolithic())
