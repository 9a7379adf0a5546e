"""The clients: each a thread that does one thing over and over until it is stopped."""

from __future__ import annotations

import itertools
import json
import shlex
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .image import Image, digest, made
from .record import Record
from .session import Account, Session, Target, expect, expiry
from .transfer import Transfer, Upload, chunked, monolithic

# The repository that all readers read.
STABLE = "load/stable"
_KIB = 1024

REMOTE = Path(__file__).with_name("remote.py")


class Client:
    """A thread with a session of its own. `pause`: seconds between two rounds, times `pace`."""

    pause = 0.02
    pace = 1.0
    repository = STABLE

    def __init__(self, name: str, record: Record, session: Session) -> None:
        self.name = name
        self.record = record
        self.session = session
        self.stopping = threading.Event()
        self.transfer = Transfer(session, self.repository, self.stopping)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        for number in itertools.count():
            if self.stopping.is_set():
                break
            self.round(number)
            self.stopping.wait(self.pause * self.pace)
        self.session.close()

    def round(self, number: int) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        self.stopping.set()

    def join(self, timeout: float | None = None) -> None:
        self._thread.join(timeout)


class Reader(Client):
    """Reads manifests, whose small answers show the latency, and at times the list of tags."""

    def round(self, number: int) -> None:
        if number % 20 == 0:
            with self.record.operation(self.name, "list tags") as attempt:
                assert "present" in self.transfer.tags(attempt)
        with self.record.operation(self.name, "manifest") as attempt:
            self.transfer.manifest(attempt, "present", small=True)


class Puller(Client):
    """Pulls the whole image by tag and by digest."""

    pause = 0.2

    def __init__(self, name: str, record: Record, session: Session, image: Image) -> None:
        super().__init__(name, record, session)
        self.wanted = digest(image.manifest)

    def round(self, number: int) -> None:
        with self.record.operation(self.name, "pull by tag") as attempt:
            self.transfer.pull(attempt, "present", self.wanted)
        with self.record.operation(self.name, "pull by digest") as attempt:
            self.transfer.pull(attempt, self.wanted, self.wanted)


class Pusher(Client):
    """Pushes new images and pulls each again by its digest."""

    def __init__(
        self,
        name: str,
        record: Record,
        session: Session,
        *,
        upload: Upload,
        sizes: Sequence[int],
        kind: str = "push",
        pause: float = 0.3,
    ) -> None:
        self.repository = f"load/{name}"
        super().__init__(name, record, session)
        self.upload = upload
        self.sizes = sizes
        self.kind = kind
        self.pause = pause

    def round(self, number: int) -> None:
        image = made(self.sizes)
        with self.record.operation(self.name, self.kind) as attempt:
            # Only a few tags: each push moves one.
            self.transfer.push(attempt, image, f"t{number % 8}", self.upload)
        if attempt.ok:
            wanted = digest(image.manifest)
            with self.record.operation(self.name, "pull what was pushed") as attempt:
                self.transfer.pull(attempt, wanted, wanted)


class SignIn(Client):
    """Does what `docker login` does, on new connections."""

    pause = 0.5

    def round(self, number: int) -> None:
        session = self.session
        fresh = session.another()
        try:
            with self.record.operation(self.name, "login") as attempt:
                headers = {"Authorization": f"Bearer {fresh.token(attempt)}"}
                answer = fresh.request(attempt, "GET", "/v2/", headers=headers)
                expect(answer, 200, "the registry with a token")
        finally:
            fresh.close()


class Holder(Client):
    """Uses one token, issued at its start, until it expires; the last use is at that very moment.

    The registry accepts a token for one more minute, so the last use is not too late. It is made
    however long a busy machine has kept this thread waiting.
    """

    pause = 0.25

    def __init__(self, name: str, record: Record, session: Session) -> None:
        super().__init__(name, record, session)
        self.until: float | None = None
        self._headers: dict[str, str] = {}
        # Issued before the caller's change begins, not when the thread gets to run.
        with record.operation(name, "token") as attempt:
            token = session.token(attempt, f"repository:{STABLE}:pull")
            self.until = expiry(token)
            self._headers = {"Authorization": f"Bearer {token}"}

    def round(self, number: int) -> None:
        if self.until is None:  # there was no token
            self.stop()
            return
        if time.time() > self.until - 0.5:
            self.stop()
        with self.record.operation(self.name, "held token") as attempt:
            answer = self.session.request(
                attempt, "GET", f"/v2/{STABLE}/tags/list", headers=self._headers
            )
            expect(answer, 200, "the registry with a token that has not expired")


class Remote:
    """A real client on another machine (remote.py), reached by a command like `ssh HOST sudo`."""

    pace = 1.0

    def __init__(
        self,
        name: str,
        record: Record,
        *,
        tool: str,
        command: Sequence[str],
        target: Target,
        account: Account,
    ) -> None:
        self.name = name
        self.record = record
        self.tool = tool
        registry = target.name if target.port == 443 else f"{target.name}:{target.port}"
        self._settings: dict[str, str | float] = {
            "tool": tool,
            "registry": registry,
            "repository": f"load/{name}",
            "user": account.name,
            "password": account.password,
        }
        self._command = [
            *command,
            shlex.join(["python3", "-c", REMOTE.read_text(encoding="utf-8")]),
        ]
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._listen, name=name, daemon=True)

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        # On standard input: everybody on both machines can read arguments.
        settings = self._settings | {"pause": 0.5 * self.pace}
        self._process.stdin.write(json.dumps(settings) + "\n")
        self._process.stdin.flush()
        self._thread.start()

    def _listen(self) -> None:
        process = self._process
        assert process is not None and process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            done: dict[str, Any] = json.loads(line)
            self.record.add(
                self.name,
                f"{self.tool} {done['kind']}",
                done["start"],
                done["seconds"],
                done["error"],
            )
        said = process.stderr.read()
        if process.wait() != 0:
            self.record.add(self.name, self.tool, time.time(), 0, f"it ended: {said[-2000:]}")

    def stop(self) -> None:
        """Closes its input, which tells it to finish the current operation and end."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def join(self, timeout: float | None = None) -> None:
        self._thread.join(timeout)
        if self._thread.is_alive() and self._process is not None:
            self._process.kill()


def usual(record: Record, sessions: Any, image: Image) -> list[Client]:
    """The clients of every load: readers, pullers, pushers of small and of slow large layers."""
    small = (32 * _KIB, 96 * _KIB, 160 * _KIB)
    return [
        Reader("reader 1", record, sessions()),
        Reader("reader 2", record, sessions()),
        Puller("puller", record, sessions(), image),
        Pusher("pusher", record, sessions(), upload=monolithic(), sizes=small),
        Pusher("chunker", record, sessions(), upload=chunked(3), sizes=small),
        Pusher(
            "slow-chunker",
            record,
            sessions(),
            upload=chunked(4, 16),
            sizes=(8 * _KIB * _KIB,),
            kind="push of a large layer in slow parts",
        ),
        Pusher(
            "slow-pusher",
            record,
            sessions(),
            upload=monolithic(8),
            sizes=(4 * _KIB * _KIB, 64 * _KIB),
            kind="push of a large slow layer",
        ),
        SignIn("login", record, sessions()),
    ]
