"""Counters of wrong passwords, which decide whether another password may be checked with bcrypt.

Each counter has a window of one hour, which begins with its first wrong password. Each account has
a counter, and each network (an IPv4 address, an IPv6 /64). An account at a network that it has
logged in from has a counter of its own instead of these two, which guesses by others do not close.
Accounts that do not exist are counted in the same way. The counters are in memory only, and their
number is bounded.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from ..config.model import Limits

HOUR = 3600.0
#: Counters of each kind; the least recently used one is dropped first. A wrong password counts only
#: if bcrypt checks it, so pushing out somebody's counter costs this many bcrypt checks.
MOST = 65536


class RateLimited(Exception):
    """The password is not checked now. `retry_after` in seconds; `limit` was reached."""

    def __init__(self, message: str, retry_after: float, limit: str) -> None:
        super().__init__(message)
        self.retry_after = max(math.ceil(retry_after), 1)
        self.limit = limit


class Counters:
    """Counters by key, each with a window of an hour."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Keys are hashed with it: they are short then, and do not contain names.
        self._secret = secrets.token_bytes(32)
        self._windows: OrderedDict[bytes, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def __contains__(self, key: str) -> bool:
        return self._hash(key) in self._windows

    def wait(self, key: str, limit: int) -> float:
        """Seconds until the counter is below the limit; 0 if it is below it now."""
        begun, count = self._windows.get(self._hash(key), (0.0, 0))
        return max(begun + HOUR - self._clock(), 0.0) if count >= limit else 0.0

    def add(self, key: str, number: int) -> None:
        """Add to the counter. -1 takes one back; 0 only makes it the most recently used one."""
        hashed = self._hash(key)
        begun, count = self._windows.pop(hashed, (0.0, 0))
        now = self._clock()
        if not count or now >= begun + HOUR:
            begun, count = now, 0
        self._windows[hashed] = begun, max(count + number, 0)
        if len(self._windows) > MOST:
            self._windows.popitem(last=False)

    def _hash(self, key: str) -> bytes:
        data = key.encode(errors="surrogatepass")
        return hashlib.blake2b(data, key=self._secret, digest_size=16).digest()


class _Counter(NamedTuple):
    """A counter that one login counts in."""

    name: str
    counters: Counters
    key: str
    limit: int


class Guard:
    """Decides for each login whether its password may be checked."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._accounts = Counters(clock)
        self._networks = Counters(clock)
        self._known = Counters(clock)
        self._limits = Limits()

    def use(self, limits: Limits) -> None:
        """Use other limits. The counters stay."""
        self._limits = limits

    def ask(self, account: str, network: str) -> None:
        """Raises RateLimited if too many passwords were wrong."""
        for counter in self._counters(account, network):
            wait = counter.counters.wait(counter.key, counter.limit)
            if wait:
                of = "from your address" if counter.name == "address" else "for this account"
                raise RateLimited(
                    f"too many wrong passwords {of}: try again in {math.ceil(wait)} seconds",
                    wait,
                    counter.name,
                )

    def count(self, account: str, network: str) -> tuple[_Counter, ...]:
        """Count a password as wrong before it is checked. Pass the result to `forgive`."""
        counters = self._counters(account, network)
        for counter in counters:
            counter.counters.add(counter.key, 1)
        return counters

    def forgive(self, counted: tuple[_Counter, ...]) -> None:
        """The password was right: take the count back."""
        for counter in counted:
            counter.counters.add(counter.key, -1)

    def know(self, account: str, network: str) -> None:
        """Remember that the account has logged in from this network."""
        self._known.add(_pair(account, network), 0)

    def knows(self, account: str, network: str) -> bool:
        """Whether the account has logged in from this network."""
        return _pair(account, network) in self._known

    def _counters(self, account: str, network: str) -> tuple[_Counter, ...]:
        if self.knows(account, network):
            pair = _pair(account, network)
            return (_Counter("account", self._known, pair, self._limits.known_failures),)
        return (
            _Counter("account", self._accounts, account, self._limits.account_failures),
            _Counter("address", self._networks, network, self._limits.address_failures),
        )


def _pair(account: str, network: str) -> str:
    return f"{network} {account}"
