"""Passwords: verified with bcrypt beside the event loop, remembered whether right or wrong.

What was verified is remembered in memory, under a keyed hash whose key dies with the process, over
user, stored hashes and password: a changed hash forgets by itself, and a reload keeps the rest. A
right one is served from memory, and the same wrong one again (a job with an old secret) costs
nothing and counts once; but not for whoever may not guess any more. An unknown user costs, and is
told, what a known one is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import heapq
import itertools
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .acl import Address, Network
from .failures import Budgets, Guard, Later, neighbourhood

# How long a password is remembered, in seconds: a right one after its last use, a wrong one after
# it was verified; and how many of each.
REMEMBERED_FOR = 3600.0
MOST_REMEMBERED = 65536
# Verifications that may wait for a core: in all, of others than the known, and of those who have
# failed lately.
MOST_WAITING = 2500
MOST_STRANGERS_WAITING = 2000
MOST_SUSPECT_WAITING = 500
# The threads stand back behind the event loop.
NICENESS = 10
# bcrypt takes no more; what is longer is nobody's password.
LONGEST = 72


def check(password: bytes, stored: bytes) -> bool:
    """Whether the password belongs to the bcrypt hash; costs what the hash says, always."""
    import bcrypt

    try:
        right = bcrypt.checkpw(password[:LONGEST], stored)
    except ValueError:
        return False
    return right and len(password) <= LONGEST


def _check_any(password: bytes, stored: tuple[bytes, ...]) -> bool:
    return any(check(password, one) for one in stored)


@dataclass(frozen=True, slots=True)
class Shape:
    """What can be seen of a user from outside: the hashes' costs, and where logins are allowed."""

    costs: tuple[int, ...] = (10,)
    addresses: tuple[Network, ...] = ()


class Decoys:
    """What unknown users are taken for, so that they cost, and are counted, as known ones are.

    Each unknown name gets, and keeps, the shape of one of the known users: which names exist
    cannot be told from the time, nor from a change of it at a reload.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def shape_of(self, user: str, known: Sequence[Shape]) -> Shape:
        """The shape of a user who is not there; `known`: those of the known users, in order."""
        data = user.encode(errors="surrogatepass")
        digest = hashlib.blake2b(data, key=self._key).digest()
        # By the place in their order: when users come or go, hardly a name changes its shape.
        return known[int.from_bytes(digest[:8], "big") * len(known) >> 64] if known else Shape()

    @staticmethod
    def hashes(shape: Shape) -> tuple[bytes, ...]:
        """Bcrypt hashes that no password belongs to."""
        # Nobody looked for a password that has this hash: 22 characters of salt, 31 of digest.
        return tuple(b"$2b$%02d$" % cost + b"." * 53 for cost in shape.costs)


class _Memory:
    """Tickets and until when they count; the one that was not used for longest goes first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def has(self, ticket: bytes) -> bool:
        until = self._until.get(ticket)
        if until is None:
            return False
        if self._clock() >= until:
            del self._until[ticket]
            return False
        return True

    def add(self, ticket: bytes) -> None:
        self._until[ticket] = self._clock() + REMEMBERED_FOR
        self._until.move_to_end(ticket)
        while len(self._until) > MOST_REMEMBERED:
            self._until.popitem(last=False)


class _Cores:
    """A few threads. Who waits for one goes by rank, then by time; the queue is bounded."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "bcrypt", self._stand_back)
        # One more is at hand, so that no thread waits for the event loop.
        self._free = threads + 1
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    @staticmethod
    def _stand_back() -> None:
        # On Linux a thread has a niceness of its own. Where that is forbidden, it goes without.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)

    @contextlib.asynccontextmanager
    async def turn(self, rank: int) -> AsyncIterator[None]:
        """Raises Later where too many wait."""
        if self._free:
            self._free -= 1
        else:
            most = MOST_WAITING if rank < 0 else MOST_STRANGERS_WAITING
            if len(self._waiting) >= (MOST_SUSPECT_WAITING if rank > 0 else most):
                raise Later("too many logins wait to be verified", 5, "queue")
            waiting = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (rank, next(self._numbers), waiting))
            await waiting
        try:
            yield
        finally:
            if self._waiting:
                heapq.heappop(self._waiting)[2].set_result(None)
            else:
                self._free += 1

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def check(self, password: bytes, stored: tuple[bytes, ...]) -> bool:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, _check_any, password, stored)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class Passwords:
    """Verifies passwords; lives as long as the process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.guard = Guard(clock)
        self._key = secrets.token_bytes(32)
        self._right = _Memory(clock)
        self._wrong = _Memory(clock)
        self._under_way: dict[bytes, asyncio.Future[bool]] = {}
        self._cores = _Cores(os.cpu_count() or 1)
        #: How many were verified with bcrypt, right or wrong, known or unknown users' alike.
        self.verified = 0

    @property
    def waiting(self) -> int:
        """How many wait for a core."""
        return self._cores.waiting

    @property
    def remembered(self) -> dict[str, int]:
        """How many are in memory, those among them whose time is over."""
        return {"right": len(self._right), "wrong": len(self._wrong)}

    async def verify(
        self,
        user: str,
        password: bytes,
        stored: tuple[bytes, ...],
        *,
        known: bool,
        address: Address,
    ) -> bool:
        """Whether `password` belongs to one of the user's hashes.

        An unknown user (`stored` are decoys) is never right.

        Raises:
            Later: too many were wrong lately, or too many wait already.
        """
        ticket = self._ticket(user, password, stored)
        network = neighbourhood(address)
        remembered = known and self._right.has(ticket)
        if not (remembered and self.guard.trusts(user, network)):
            under_way = self._under_way.get(ticket)
            if under_way is None:
                again = self._wrong.has(ticket)
                budgets = self.guard.admit(user, network, again=again)
                # Only behind this: what somebody has mistyped, or had for a password last year, may
                # not be guessed without end either.
                if again:
                    return False
                self.guard.begin(budgets)
                # The same login many times at once is one verification.
                under_way = asyncio.ensure_future(
                    self._verify(user, password, stored, known, network, budgets)
                )
                self._under_way[ticket] = under_way
                under_way.add_done_callback(lambda _: self._under_way.pop(ticket, None))
            if not await asyncio.shield(under_way):
                self._wrong.add(ticket)
                return False
        self._right.add(ticket)
        self.guard.known.add(user, network)
        return True

    async def _verify(
        self,
        user: str,
        password: bytes,
        stored: tuple[bytes, ...],
        known: bool,
        network: str,
        budgets: Budgets,
    ) -> bool:
        failed = False
        try:
            async with self._cores.turn(self.guard.rank(user, network)):
                self.guard.still(budgets)
                self.verified += 1
                failed = True
                failed = not (await self._cores.check(password, stored) and known)
        finally:
            self.guard.end(budgets, failed=failed)
        return not failed

    def _ticket(self, user: str, password: bytes, stored: tuple[bytes, ...]) -> bytes:
        keyed = hashlib.blake2b(key=self._key, digest_size=32)
        for part in (user.encode(errors="surrogatepass"), password, *stored):
            keyed.update(len(part).to_bytes(8, "big"))
            keyed.update(part)
        return keyed.digest()

    def close(self) -> None:
        self._cores.close()
