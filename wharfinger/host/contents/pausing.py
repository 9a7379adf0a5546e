"""Pauses the writable registry, with its uploads under way, while a job works on the storage.

Meanwhile the registry must not store a manifest, mount or delete a blob, or put a complete upload
in its place. Receiving an upload's bytes does no harm: they lie in _uploads, where neither a
collection nor a retention looks. So the process is paused at a moment when, by its own metrics, it
does nothing else. To its clients that looks like a slow line.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable
from contextlib import suppress

from ..rollout.drain import Pause
from ..rollout.proxy import METRICS_PORT
from ..system.context import Host
from ..system.errors import HostError
from ..system.state import Generation

# Seconds after which the registry's metrics count a request that nginx has sent over a connection.
_COUNTED = 1.0
# Seconds for requests to end by themselves, so that an ordinary upload is not paused.
_QUICK = 5.0
# The registry's handlers that may be busy: the one that receives uploads, and the one for /v2/.
_HARMLESS = frozenset({"blob_upload_chunk", "base"})
_IN_FLIGHT = re.compile(
    r'^registry_http_in_flight_requests\{handler="(\w+)"\} (\S+)$', re.MULTILINE
)


class Pauser:
    """Pauses one generation, the container `name`. `keepalive`: seconds for which nginx's old
    workers may send it more requests, reads too. `uploads_at_rest`, called while the process is
    paused: whether the storage shows that no upload is just being put in its place."""

    def __init__(
        self, host: Host, name: str, keepalive: float, uploads_at_rest: Callable[[], bool]
    ) -> None:
        self.host = host
        self.name = name
        self.keepalive = keepalive
        self.uploads_at_rest = uploads_at_rest
        self._first_seen: dict[int, float] = {}
        self._began = host.clock.monotonic()
        self._can_pause = True

    def pause(self, old: Generation) -> Pause:
        """Pauses the generation if this is a good moment."""
        now = self.host.clock.monotonic()
        connections = self.host.traffic.each(old.address, old.port)
        self._first_seen = {
            connection: self._first_seen.get(connection, now) for connection in connections
        }
        busy = self._busy_handlers(old) if self._can_pause else None
        if busy is None:
            return Pause.IMPOSSIBLE
        if busy - _HARMLESS or any(now - moment < _COUNTED for moment in self._first_seen.values()):
            return Pause.NOT_YET
        elapsed = now - self._began
        if (connections and elapsed < _QUICK) or (
            elapsed < self.keepalive and self.host.traffic.alive(old.workers)
        ):
            return Pause.NOT_YET
        return self._try_pause(old, connections)

    def _busy_handlers(self, old: Generation) -> set[str] | None:
        """The names of the registry's handlers that are at work; None if it serves no metrics."""
        try:
            status, body = self.host.probe(old.address, METRICS_PORT, "/metrics", 2)
        except (OSError, http.client.HTTPException):
            return None
        counts = dict(_IN_FLIGHT.findall(body.decode("utf-8", "replace")))
        if status != 200 or not {"manifest", "blob_upload"} <= counts.keys():
            return None
        return {name for name, count in counts.items() if float(count)}

    def _try_pause(self, old: Generation, connections: frozenset[int]) -> Pause:
        try:
            self.host.engine.pause(self.name)
        except HostError:
            # Without the kernel's freezer, the registry is stopped, like one without metrics.
            self._can_pause = False
            return Pause.IMPOSSIBLE
        with suppress(HostError):
            # A request that came between the metrics and the pause may be doing anything.
            new = self.host.traffic.each(old.address, old.port) - connections
            if not new and self.uploads_at_rest():
                return Pause.PAUSED
        self.host.engine.unpause(self.name)
        return Pause.NOT_YET
