"""Passwords: generated ones are compared by their digest, chosen ones are checked with bcrypt.

A generated secret has at least 192 random bits, so nobody can guess it: it is compared first, and
no counter refuses it. For a chosen password, the counters are asked first, then the memory, then
bcrypt in a thread. The memory has keyed hashes over account, stored hashes and password; the key
ends with the process. A password whose stored hash has changed is therefore no longer found, and a
reload keeps the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from ..addresses import Address, neighbourhood
from .limits import Guard, RateLimited

# How many seconds a password is remembered: a right one after its last use, a wrong one after its
# check. And how many of each kind.
REMEMBERED_FOR = 3600.0
MOST_REMEMBERED = 65536
# Logins that may wait for bcrypt.
MOST_WAITING = 2000
# Of the threads, so that the event loop goes first.
NICENESS = 10
# bcrypt takes no more bytes. A longer password is wrong.
LONGEST = 72
#: Passwords of unknown accounts are checked against this hash, so that they take the same time. No
#: password has it: 22 characters of salt, 31 of digest.
DUMMY = b"$2b$10$" + b"." * 53


def is_generated(password: bytes, digests: Iterable[bytes]) -> bool:
    """Whether the password is a generated secret with one of these SHA-256 digests."""
    digest = hashlib.sha256(password).digest()
    return any([hmac.compare_digest(digest, stored) for stored in digests])


def check(password: bytes, stored: bytes) -> bool:
    """Whether the password belongs to the bcrypt hash. It always costs what the hash says."""
    import bcrypt

    try:
        right = bcrypt.checkpw(password[:LONGEST], stored)
    except ValueError:
        return False
    return right and len(password) <= LONGEST


def _check_any(password: bytes, stored: tuple[bytes, ...]) -> bool:
    return any(check(password, a_hash) for a_hash in stored)


class _Memory:
    """Tickets and when they expire; the least recently added one is dropped first."""

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


class Passwords:
    """Verifies chosen passwords; lives as long as the process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.guard = Guard(clock)
        self._key = secrets.token_bytes(32)
        self._right = _Memory(clock)
        self._wrong = _Memory(clock)
        cores = os.cpu_count() or 1
        self._turns = asyncio.Semaphore(cores)
        self._pool = ThreadPoolExecutor(cores, "bcrypt", _stand_back)
        #: How many passwords were checked with bcrypt, right or wrong, and how many wait for it.
        self.verified = 0
        self.waiting = 0

    @property
    def remembered(self) -> dict[str, int]:
        """How many passwords are in memory, expired ones included."""
        return {"right": len(self._right), "wrong": len(self._wrong)}

    async def verify(
        self, account: str, password: bytes, stored: tuple[bytes, ...], address: Address
    ) -> bool:
        """Whether `password` belongs to one of the bcrypt hashes `stored`.

        Without any, the password is wrong, after the same time.

        Raises:
            RateLimited: too many passwords were wrong lately, or too many wait already.
        """
        network = neighbourhood(address)
        ticket = self._ticket(account, password, stored)
        self.guard.ask(account, network)
        right = self._known(ticket)
        if right is None:
            async with self._turn():
                # While this login waited, others may have failed, or checked the same password.
                self.guard.ask(account, network)
                right = self._known(ticket)
                if right is None:
                    counted = self.guard.count(account, network)
                    right = await self._check(password, stored)
                    if right:
                        self.guard.forgive(counted)
                    else:
                        self._wrong.add(ticket)
        if right:
            self._right.add(ticket)
            self.guard.know(account, network)
        return right

    def _known(self, ticket: bytes) -> bool | None:
        """Whether the password is remembered as right or wrong; None if it is not remembered."""
        if self._right.has(ticket):
            return True
        return False if self._wrong.has(ticket) else None

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self.waiting >= MOST_WAITING:
            raise RateLimited("too many logins wait to be verified", 5, "queue")
        self.waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self._turns.release()

    async def _check(self, password: bytes, stored: tuple[bytes, ...]) -> bool:
        self.verified += 1
        loop = asyncio.get_running_loop()
        right = await loop.run_in_executor(self._pool, _check_any, password, stored or (DUMMY,))
        return right and bool(stored)

    def _ticket(self, account: str, password: bytes, stored: tuple[bytes, ...]) -> bytes:
        keyed = hashlib.blake2b(key=self._key, digest_size=32)
        for part in (account.encode(errors="surrogatepass"), password, *stored):
            keyed.update(len(part).to_bytes(8, "big"))
            keyed.update(part)
        return keyed.digest()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _stand_back() -> None:
    # On Linux, each thread has its own niceness. If setting it is forbidden, go on without.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
