"""Clients that work while a test does something to a registry: readers, which must never fail, and
a writer that asks to write again and again and notes the answers."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from load.clients import STABLE, Client, Puller, Reader
from load.image import made
from load.record import Attempt, Operation, Record
from load.session import Session, expect
from load.transfer import Transfer, monolithic

from .content import Content
from .manifests import ACCEPTED

WRITER = "load/writer"


class Roamer(Client):
    """Reads any manifest of the many small repositories, and one of its blobs."""

    def __init__(self, name: str, record: Record, session: Session, content: Content) -> None:
        super().__init__(name, record, session)
        # The first ten are reserved for tests that change something.
        self._tags = [tag for tag in content.tags if "small/010" <= tag[0] < "small/a"]

    def round(self, number: int) -> None:
        repository, tag, wanted = random.choice(self._tags)
        # Few tokens: each costs the server a bcrypt.
        ten = repository[: len("small/01")]
        group = " ".join(f"repository:{ten}{digit}/app:pull" for digit in range(10))
        with self.record.operation(self.name, "manifest of any") as attempt:
            headers = self.session.authorization(attempt, group) | {"Accept": ACCEPTED}
            path = f"/v2/{repository}"
            answer = self.session.request(
                attempt, "GET", f"{path}/manifests/{tag}", headers=headers
            )
            expect(answer, 200, "a manifest")
            if answer.headers["docker-content-digest"] != wanted:
                raise AssertionError(f"{repository}:{tag} is another")
            blob = answer.json()["config"]["digest"]
            answer = self.session.request(attempt, "GET", f"{path}/blobs/{blob}", headers=headers)
            expect(answer, 200, "a blob")


@dataclass(frozen=True)
class Answer:
    """The answer to a client that wants to write. `at`: seconds of a monotonic clock."""

    at: float
    status: int
    content_type: str
    code: str
    message: str


class Writer(threading.Thread):
    """Begins an upload, again and again."""

    def __init__(self, session: Session) -> None:
        super().__init__(name="writer", daemon=True)
        self.session = session
        self.answers: list[Answer] = []
        self.problems: list[str] = []
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            try:
                self.answers.append(self.ask())
            except (httpx.HTTPError, ValueError, KeyError) as problem:
                self.problems.append(f"{type(problem).__name__}: {problem}")
            self._over.wait(0.2)

    def ask(self) -> Answer:
        """Asks once; returns the answer."""
        attempt = Attempt()
        headers = self.session.authorization(attempt, f"repository:{WRITER}:pull,push")
        answer = self.session.request(
            attempt,
            "POST",
            f"/v2/{WRITER}/blobs/uploads/",
            headers={**headers, "Content-Length": "0"},
            body=lambda: [b""],
        )
        code = message = ""
        if answer.status_code != 202:
            [error] = json.loads(answer.content)["errors"]
            code, message = error["code"], error["message"]
        kind = answer.headers.get("content-type", "")
        return Answer(time.monotonic(), answer.status_code, kind, code, message)

    def end(self) -> None:
        self._over.set()
        self.join(60)

    @property
    def statuses(self) -> list[int]:
        """The statuses of the answers; a status that repeats in a row is listed once."""
        statuses: list[int] = []
        for answer in self.answers:
            if not statuses or statuses[-1] != answer.status:
                statuses.append(answer.status)
        return statuses

    @property
    def refused(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status != 202]

    @property
    def window(self) -> float:
        """Seconds from the first refusal to the last one."""
        return self.refused[-1].at - self.refused[0].at if self.refused else 0.0


@dataclass
class Beside:
    """What the clients have met."""

    record: Record = field(default_factory=Record)
    writer: Writer | None = None

    @property
    def reads(self) -> list[Operation]:
        return self.record.so_far()

    @property
    def failed(self) -> list[str]:
        """The reads that failed."""
        return [f"{read.kind}: {read.error}" for read in self.reads if not read.ok]


@contextmanager
def beside(
    session: Session, content: Content, *, writing: bool = False, pace: float = 1.0
) -> Iterator[Beside]:
    """Readers read while the body runs; `pace` multiplies their usual pause between two rounds.
    With `writing`, a client also tries to write."""
    clients_beside = Beside()
    image = made((64 * 1024, 512 * 1024))
    attempt = Attempt()
    seed = Transfer(session.another(), STABLE, threading.Event())
    seed.push(attempt, image, "present", monolithic())
    clients: list[Client] = [
        Reader("reader", clients_beside.record, session.another()),
        Puller("puller", clients_beside.record, session.another(), image),
        Roamer("roamer", clients_beside.record, session.another(), content),
    ]
    clients_beside.record.begin("beside")
    if writing:
        clients_beside.writer = Writer(session.another())
        clients_beside.writer.start()
    for client in clients:
        client.pace = pace
        client.start()
    try:
        yield clients_beside
    finally:
        if clients_beside.writer is not None:
            clients_beside.writer.end()
        for client in clients:
            client.stop()
        for client in clients:
            client.join(60)
        clients_beside.record.end()
