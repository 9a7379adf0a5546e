"""Passwords: verified with bcrypt beside the event loop, remembered while they stay right.

A password that was right is remembered in memory, under a keyed hash whose key dies with the
process, over user, stored hashes and password: a changed hash forgets by itself, and a reload keeps
the rest. A wrong one always costs a bcrypt, and so does an unknown user.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor

from .acl import Address

# How long a right password is remembered, in seconds, and how many of them.
REMEMBERED_FOR = 300.0
MOST_REMEMBERED = 65536
# So many failures of one address or account within that many seconds make it suspect.
SUSPECT_AFTER = 3
SUSPECT_FOR = 300.0
MOST_COUNTED = 16384
# Verifications that may wait for a core: of the ordinary, and of the suspect.
MOST_WAITING = 2000
MOST_SUSPECT_WAITING = 50
# bcrypt takes no more; what is longer is nobody's password.
LONGEST = 72


class Busy(Exception):
    """Too many verifications wait already. `retry_after` in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many logins wait to be verified")
        self.retry_after = retry_after


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


class Decoys:
    """Hashes that unknown users are checked against, so that they cost what known ones cost.

    Each unknown name gets, and keeps, the costs of one of the known users: which names exist
    cannot be told from the time.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def hashes_for(self, user: str, costs: Sequence[Sequence[int]]) -> tuple[bytes, ...]:
        """Bcrypt hashes for a user who is not there; `costs` are those of the known users'."""
        digest = hashlib.blake2b(user.encode(errors="replace"), key=self._key).digest()
        drawn = costs[int.from_bytes(digest[:8], "big") % len(costs)] if costs else (10,)
        # Nobody looked for a password that has this hash: 22 characters of salt, 31 of digest.
        return tuple(b"$2b$%02d$" % cost + b"." * 53 for cost in drawn)


class _Failures:
    """How often something failed lately; forgets the oldest when it holds too many."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()

    def count(self, key: Hashable) -> int:
        count, until = self._counts.get(key, (0, 0.0))
        return count if self._clock() < until else 0

    def add(self, key: Hashable) -> None:
        self._counts[key] = (self.count(key) + 1, self._clock() + SUSPECT_FOR)
        self._counts.move_to_end(key)
        while len(self._counts) > MOST_COUNTED:
            self._counts.popitem(last=False)


class _Lane:
    """A few threads and a bounded queue before them. They stand back behind the event loop."""

    def __init__(self, name: str, threads: int, waiting: int, niceness: int) -> None:
        self._pool = ThreadPoolExecutor(threads, name, self._stand_back, (niceness,))
        self._most = threads + waiting
        self._inside = 0

    @staticmethod
    def _stand_back(niceness: int) -> None:
        # On Linux a thread has a niceness of its own. Where that is forbidden, it goes without.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)

    async def run(self, password: bytes, stored: tuple[bytes, ...]) -> bool:
        if self._inside >= self._most:
            raise Busy(5)
        self._inside += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, _check_any, password, stored)
        finally:
            self._inside -= 1

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class Passwords:
    """Verifies passwords; lives as long as the process.

    Addresses and accounts that failed lately wait in a queue of their own, with one thread: a
    flood of wrong passwords does not stall the right ones. Where an account was right before from
    an address, only that account's failures from there count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, float] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Future[bool]] = {}
        self._addresses = _Failures(clock)
        self._accounts = _Failures(clock)
        self._pairs = _Failures(clock)
        self._succeeded: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._ordinary = _Lane("bcrypt", os.cpu_count() or 1, MOST_WAITING, 5)
        self._suspect = _Lane("bcrypt-suspect", 1, MOST_SUSPECT_WAITING, 10)

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
            Busy: too many wait already.
        """
        ticket = self._ticket(user, password, stored)
        if known and self._is_remembered(ticket):
            return True
        under_way = self._under_way.get(ticket)
        if under_way is None:
            # The same login many times at once is one verification.
            under_way = asyncio.ensure_future(self._verify(user, password, stored, known, address))
            self._under_way[ticket] = under_way
            under_way.add_done_callback(lambda _: self._under_way.pop(ticket, None))
        if not await asyncio.shield(under_way):
            return False
        self._remember(ticket)
        return True

    async def _verify(
        self,
        user: str,
        password: bytes,
        stored: tuple[bytes, ...],
        known: bool,
        address: Address,
    ) -> bool:
        network = _neighbourhood(address)
        lane = self._suspect if self._is_suspect(network, user) else self._ordinary
        right = await lane.run(password, stored) and known
        if right:
            self._succeeded[network, user] = None
            self._succeeded.move_to_end((network, user))
            while len(self._succeeded) > MOST_COUNTED:
                self._succeeded.popitem(last=False)
        else:
            self._addresses.add(network)
            self._accounts.add(user)
            self._pairs.add((network, user))
        return right

    def _is_suspect(self, network: str, user: str) -> bool:
        if (network, user) in self._succeeded:
            return self._pairs.count((network, user)) >= SUSPECT_AFTER
        return max(self._addresses.count(network), self._accounts.count(user)) >= SUSPECT_AFTER

    def _ticket(self, user: str, password: bytes, stored: tuple[bytes, ...]) -> bytes:
        keyed = hashlib.blake2b(key=self._key, digest_size=32)
        for part in (user.encode(errors="surrogatepass"), password, *stored):
            keyed.update(len(part).to_bytes(8, "big"))
            keyed.update(part)
        return keyed.digest()

    def _is_remembered(self, ticket: bytes) -> bool:
        until = self._remembered.get(ticket)
        if until is None:
            return False
        if self._clock() >= until:
            del self._remembered[ticket]
            return False
        return True

    def _remember(self, ticket: bytes) -> None:
        self._remembered.setdefault(ticket, self._clock() + REMEMBERED_FOR)
        while len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)

    def close(self) -> None:
        self._ordinary.close()
        self._suspect.close()


def _neighbourhood(address: Address) -> str:
    """What is counted as one address: of IPv6 the /64, as each customer has that many."""
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
