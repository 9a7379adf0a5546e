"""A push over a slow line: its last layer takes as long as the test needs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

from .registry import MANIFEST, Account, Answer, Registry, digest, manifest

RATE = 100_000
_PIECES = 10  # a second


class SlowPush:
    """Pushes an image: its configuration at once, its one layer at 100 kB/s until `hurry` is set,
    its manifest last. `method`: PATCH, as docker and skopeo send a layer, or PUT, as containerd
    does."""

    def __init__(
        self, registry: Registry, account: Account, repository: str, method: str, seconds: int = 120
    ) -> None:
        self.registry = registry
        self.account = account
        self.repository = repository
        self.method = method
        self.layer = os.urandom(RATE * seconds)
        self.hurry = threading.Event()
        self.answers: list[tuple[str, Answer]] = []
        self._sending = threading.Event()
        self._thread = threading.Thread(target=self._push)

    def begin(self) -> None:
        """Returns once the first bytes of the layer are on their way."""
        self._thread.start()
        assert self._sending.wait(60), self.answers

    def end(self) -> list[int]:
        """Sends the rest at once; returns the statuses of all answers."""
        self.hurry.set()
        self._thread.join(120)
        assert not self._thread.is_alive()
        return [answer.status for _, answer in self.answers]

    def pulls(self) -> bool:
        """Whether the image can be pulled as it was pushed."""
        image = self.registry.pull(self.account, self.repository, "slow")
        layer = self.registry.blob(self.account, self.repository, digest(self.layer))
        return (image.status, layer.status, layer.body) == (200, 200, self.layer)

    def _ask(
        self, method: str, path: str, body: bytes | Iterator[bytes] | None = None, kind: str = ""
    ) -> Answer:
        scope = f"repository:{self.repository}:pull,push"
        headers = self.registry.authorization(self.account, scope)
        headers |= {"Content-Type": kind} if kind else {}
        answer = self.registry.request(method, path, headers=headers, body=body)
        self.answers.append((method, answer))
        return answer

    def _push(self) -> None:
        config = b'{"slow": true}'
        self.answers.append(("config", self.registry.upload(self.account, self.repository, config)))
        begun = self._ask("POST", f"/v2/{self.repository}/blobs/uploads/")
        location, last = begun.headers["location"], None
        if self.method == "PATCH":
            answer = self._ask("PATCH", location, self._pieces(), "application/octet-stream")
            location = answer.headers.get("location", location)
        else:
            last = self._pieces()
        mark = "&" if "?" in location else "?"
        path = f"{location}{mark}digest={digest(self.layer)}"
        self._ask("PUT", path, last, "application/octet-stream" if last else "")
        # A request that is refused for seconds is sent again, as clients do.
        for _ in range(60):
            path = f"/v2/{self.repository}/manifests/slow"
            if self._ask("PUT", path, manifest(config, self.layer), MANIFEST).status != 503:
                return
            self.answers.pop()
            time.sleep(1)

    def _pieces(self) -> Iterator[bytes]:
        size = RATE // _PIECES
        for at in range(0, len(self.layer), size):
            yield self.layer[at : at + size]
            self._sending.set()
            self.hurry.wait(1 / _PIECES)
