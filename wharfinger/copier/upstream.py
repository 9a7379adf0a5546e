"""An upstream registry, asked politely: requests are counted, limits respected, silence is bounded.

A 429, or a 503 with Retry-After, holds all requests back for as long as it says. An upstream that
wants a longer pause, that says so too often, or that does not answer is left alone for the rest of
the run.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import AsyncIterator

import httpx

from wharfinger.client.errors import ClientError, Damaged, NoAnswer
from wharfinger.client.failures import host_of
from wharfinger.client.transport import Settings, Transport, retry_after

# Seconds: the longest pause that the run waits for, and what is assumed where none is named.
LONGEST_PAUSE = 60.0
_USUAL_PAUSE = 5.0
# So many refusals, and the upstream is left alone.
_MOST_REFUSALS = 5
# What an upstream may ask for at most: a mistake there must not end its mirrors for years.
_LONGEST_ABSENCE = 86400.0
# A blob that arrives more slowly than this, over so many seconds, counts as broken off.
_BYTES_PER_SECOND = 1024
_WINDOW = 60.0
# Seconds for a connection, and for the next bytes of an answer.
_CONNECTING = 10.0
PATIENCE = 30.0
# So many times that, for a whole answer that is no blob, pauses that upstream wants included.
_WHOLE_ANSWER = 10


class LeftAlone(ClientError):
    """The upstream is not asked any more in this run. `until`: seconds since 1970 before which it
    does not want to be asked; 0 if it said nothing about that."""

    def __init__(self, text: str, until: float = 0.0) -> None:
        super().__init__(text)
        self.until = until


class Manners:
    """How one upstream is treated in one run. patience: seconds for the next bytes of an answer."""

    def __init__(self, upstream: str, patience: float = PATIENCE) -> None:
        self.upstream, self.patience = upstream, patience
        # By host: the upstream's own, its token server's, and those that it redirects to.
        self.requests: Counter[str] = Counter()
        self.ended: LeftAlone | None = None
        self._refusals = 0
        self._resume = 0.0

    async def before(self, request: httpx.Request) -> None:
        """Waits until the next request is welcome. Raises LeftAlone."""
        while (pause := self._resume - time.monotonic()) > 0:
            await asyncio.sleep(pause)
        if self.ended is not None:
            raise self.ended
        self.requests[host_of(str(request.url))] += 1

    async def after(self, answer: httpx.Response) -> None:
        """Takes note of a refusal. Raises LeftAlone."""
        if answer.status_code != 429 and not (
            answer.status_code == 503 and "retry-after" in answer.headers
        ):
            return
        # Requests that were under way together are refused together.
        self._refusals += time.monotonic() >= self._resume
        pause = retry_after(answer, _USUAL_PAUSE * self._refusals)
        if pause > LONGEST_PAUSE or self._refusals >= _MOST_REFUSALS:
            raise self.leave(self._why(answer, pause))
        self._resume = max(self._resume, time.monotonic() + pause)

    def leave(self, why: LeftAlone) -> LeftAlone:
        """Asks nothing more of this upstream. The first reason counts, and is returned."""
        self.ended = self.ended or why
        return self.ended

    def _why(self, answer: httpx.Response, pause: float) -> LeftAlone:
        if pause > LONGEST_PAUSE:
            return not_before(self.upstream, time.time() + min(pause, _LONGEST_ABSENCE))
        return LeftAlone(
            f"{host_of(str(answer.request.url))} has refused {self._refusals} requests in this run "
            f"({answer.status_code}), so it is asked no more in it"
        )


def not_before(upstream: str, until: float) -> LeftAlone:
    """Why an upstream is left alone that wants no requests until then, in seconds since 1970."""
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(until))
    return LeftAlone(f"{upstream} wants no requests before {when}", until)


class Upstream(Transport):
    """One upstream's API. A context manager, as Transport is."""

    def __init__(self, registry: str, settings: Settings, manners: Manners) -> None:
        self.manners = manners
        super().__init__(registry, settings)
        self._client.timeout = httpx.Timeout(manners.patience, connect=_CONNECTING, pool=None)
        self._client.event_hooks = {"request": [manners.before], "response": [manners.after]}

    async def stream(self, path: str, *, scope: str) -> AsyncIterator[bytes]:
        """A blob's bytes; `path` ends with its digest. Raises Damaged before the last bytes are
        handed on if they do not match it, and NoAnswer if they arrive too slowly."""
        digest = path.rpartition("/")[2]
        hashed = hashlib.new(digest.partition(":")[0])
        size, began, held = 0, time.monotonic(), b""
        async for chunk in super().stream(path, scope=scope):
            hashed.update(chunk)
            size += len(chunk)
            if held:
                yield held
            held = chunk
            if time.monotonic() - began > _WINDOW:
                if size < _BYTES_PER_SECOND * _WINDOW:
                    raise self._left(f"{self.registry} sends less than 1 kB per second")
                size, began = 0, time.monotonic()
        if f"{digest.partition(':')[0]}:{hashed.hexdigest()}" != digest:
            raise Damaged(
                f"{self.registry} sends other bytes than those of {digest}: they were refused"
            )
        if held:
            yield held

    async def _follow_redirects(self, request: httpx.Request) -> httpx.Response:
        # Patience is for the next bytes: an answer that drips would never exceed it.
        longest = _WHOLE_ANSWER * self.manners.patience
        try:
            async with asyncio.timeout(longest):
                return await super()._follow_redirects(request)
        except TimeoutError as error:
            place = host_of(str(request.url))
            raise self._left(f"{place} has not ended its answer within {longest:g} s") from error

    def _no_answer(self, error: Exception, request: httpx.Request) -> ClientError:
        if isinstance(error, httpx.TimeoutException):
            connecting = isinstance(error, httpx.ConnectTimeout)
            why = (
                f"{host_of(str(request.url))} has not answered within "
                f"{_CONNECTING if connecting else self.manners.patience:g} s"
            )
        else:
            why = str(super()._no_answer(error, request))
        return self._left(why)

    def _cut_off(self, error: httpx.HTTPError, request: httpx.Request) -> ClientError:
        # A connection that broke off is tried again; silence would be waited for with each blob.
        if isinstance(error, httpx.TimeoutException):
            return self._no_answer(error, request)
        return super()._cut_off(error, request)

    def _left(self, why: str) -> NoAnswer:
        self.manners.leave(LeftAlone(why))
        return NoAnswer(why)
