"""A registry that can write is paused while the storage is worked on, with its uploads under way.

What must not happen meanwhile is that a manifest is stored, a blob is mounted or deleted, or an
upload is put in its place. Receiving an upload's bytes does no harm: they lie in _uploads, which
neither a collection nor a retention looks at. So the process is paused in a moment in which it does
nothing else, which it says itself (its metrics). Its clients wait meanwhile as for a slow line.
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

# Seconds after which whatever nginx sent over a connection is among the requests that the registry
# counts.
_COUNTED = 1.0
# Seconds for requests that end by themselves: an ordinary upload is not paused.
_QUICK = 5.0
# Of the registry's handlers, the one that receives uploads, and the one that says only that it is
# there.
_HARMLESS = frozenset({"blob_upload_chunk", "base"})
_IN_FLIGHT = re.compile(
    r'^registry_http_in_flight_requests\{handler="(\w+)"\} (\S+)$', re.MULTILINE
)


class Holding:
    """Pauses one generation, the container `name`. `kept`: seconds for which old workers of nginx
    may send it more, reads too; `resting`: whether the storage shows no upload that is just being
    put in its place; asked while the process is paused."""

    def __init__(self, host: Host, name: str, kept: float, resting: Callable[[], bool]) -> None:
        self.host = host
        self.name = name
        self.kept = kept
        self.resting = resting
        self._seen: dict[int, float] = {}
        self._began = host.clock.monotonic()
        self._able = True

    def hold(self, old: Generation) -> Pause:
        """Pauses it where this moment is right for it."""
        now = self.host.clock.monotonic()
        present = self.host.traffic.each(old.address, old.port)
        self._seen = {one: self._seen.get(one, now) for one in present}
        answered = self._answered(old) if self._able else None
        if answered is None:
            return Pause.IMPOSSIBLE
        if answered - _HARMLESS or any(now - one < _COUNTED for one in self._seen.values()):
            return Pause.NOT_YET
        since = now - self._began
        if (present and since < _QUICK) or (
            since < self.kept and self.host.traffic.alive(old.workers)
        ):
            return Pause.NOT_YET
        return self._paused(old, present)

    def _answered(self, old: Generation) -> set[str] | None:
        """The handlers of the registry that are at work, by name; None where it does not say, as
        its metrics are not served."""
        try:
            status, body = self.host.probe(old.address, METRICS_PORT, "/metrics", 2)
        except (OSError, http.client.HTTPException):
            return None
        found = dict(_IN_FLIGHT.findall(body.decode("utf-8", "replace")))
        if status != 200 or not {"manifest", "blob_upload"} <= found.keys():
            return None
        return {name for name, number in found.items() if float(number)}

    def _paused(self, old: Generation, present: frozenset[int]) -> Pause:
        try:
            self.host.engine.pause(self.name)
        except HostError:
            # A system without the kernel's freezer: the registry is ended, as one without metrics.
            self._able = False
            return Pause.IMPOSSIBLE
        with suppress(HostError):
            # A request that came between the question and the pause may be doing anything.
            came = self.host.traffic.each(old.address, old.port) - present
            if not came and self.resting():
                return Pause.PAUSED
        self.host.engine.unpause(self.name)
        return Pause.NOT_YET
