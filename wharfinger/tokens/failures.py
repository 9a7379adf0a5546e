"""Wrong passwords: how many of them may cost a bcrypt, and who has to wait.

An account has `account_failures` an hour, from all addresses together, and an address has
`address_failures`, for all accounts together. Of the account's, `known_failures` are kept for
addresses that it was right from: while strangers guess, its owner still gets in. Accounts that do
not exist are counted alike. Everything is in memory, of a bounded size, and starts anew with the
process.
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import math
import secrets
from array import array
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from .acl import Address
from .configuration import Limits

HOUR = 3600.0
# Cells in each of a table's two rows; a table has 4 MiB.
WIDTH = 131072
# Addresses that accounts were right from: of one account (a robot may be on hundreds of nodes), and
# of all together.
MOST_KNOWN = 1024
MOST_KNOWN_IN_ALL = 65536
# Refused tries an hour at one account from an address it was right from. Beyond them a remembered
# password is not looked for any more: a neighbour could otherwise try a thousand a second.
TRIES = 1000


class Later(Exception):
    """The password is not looked at now. `retry_after` in seconds; `limit` is what was reached."""

    def __init__(self, message: str, retry_after: float, limit: str) -> None:
        super().__init__(message)
        self.retry_after = max(math.ceil(retry_after), 1)
        self.limit = limit


@dataclass(frozen=True, slots=True)
class Allowance:
    """`limit` failures in any hour: half of them at once, the rest little by little.

    After a quarter of them, each failure makes the pause before the next one twice as long.
    """

    limit: int
    at_once: int = field(init=False)
    a_second: float = field(init=False)

    def __post_init__(self) -> None:
        at_once = (self.limit + 1) // 2
        object.__setattr__(self, "at_once", at_once)
        # A limit of one leaves nothing for later; 0.9 keeps the sum below two.
        object.__setattr__(self, "a_second", max(self.limit - at_once, 0.9) / HOUR)

    def pause(self, count: float) -> float:
        """Seconds between the failure that made it so many and the next."""
        beyond = math.ceil(count) - self.at_once // 2
        # No pause is longer than 4,000 seconds, and a float ends at 2**1024.
        return min(2.0 ** min(beyond - 1, 12), 1 / self.a_second) if beyond > 0 else 0.0


class Failures:
    """Counts failures by key in two rows of cells, which keys share: no count is ever too low.

    A flood of keys makes some counts too high, and nothing larger. Which keys share a cell cannot
    be known outside: the hash is keyed.
    """

    def __init__(
        self, clock: Callable[[], float], width: int = WIDTH, *, patient: bool = False
    ) -> None:
        self._clock = clock
        # Whether many at once may wait for their verification while few have failed.
        self._patient = patient
        self._width = width
        self._key = secrets.token_bytes(32)
        self._counts = array("d", bytes(16 * width))
        self._last = array("d", bytes(16 * width))
        # What waits or is being verified may fail too. The queue before the threads bounds it.
        self._under_way: Counter[str] = Counter()

    def count(self, key: str, allowance: Allowance) -> float:
        """How many there are now, those forgiven since not counted."""
        now = self._clock()
        return min(self._count(cell, now, allowance) for cell in self._cells(key))

    def wait(self, key: str, allowance: Allowance, own: int = 0) -> float:
        """Seconds until another failure may be risked; 0: now.

        What is under way counts as if it had just failed, `own` of it left out.
        """
        if not allowance.limit:
            return HOUR
        now = self._clock()
        others = self._under_way.get(key, 0) - own
        waits = []
        for cell in self._cells(key):
            count = self._count(cell, now, allowance)
            wait = self._last[cell] + allowance.pause(self._counts[cell]) - now
            if others and not (self._patient and not allowance.pause(count + 1)):
                count = min(count + others, allowance.limit)
                wait = max(wait, allowance.pause(count))
            waits.append(max(wait, (count + 1 - allowance.at_once) / allowance.a_second))
        return max(min(waits), 0.0)

    def begin(self, key: str) -> None:
        """A verification is to come, which may become a failure."""
        self._under_way[key] += 1

    def end(self, key: str, allowance: Allowance, *, failed: bool) -> None:
        """It has ended."""
        self._under_way[key] -= 1
        if not self._under_way[key]:
            del self._under_way[key]
        if failed:
            self.add(key, allowance)

    def add(self, key: str, allowance: Allowance) -> None:
        """One failure more."""
        now = self._clock()
        first, second = self._cells(key)
        counts = self._count(first, now, allowance), self._count(second, now, allowance)
        count = min(counts) + 1
        for cell, before in zip((first, second), counts, strict=True):
            # A cell that has more already has it from others.
            if before < count:
                self._counts[cell] = count
                self._last[cell] = now

    def _count(self, cell: int, now: float, allowance: Allowance) -> float:
        # More than the limit there are where it was higher before, or where refusals are counted:
        # nobody shall be shut out for longer for that.
        count = min(self._counts[cell], allowance.limit)
        return max(count - (now - self._last[cell]) * allowance.a_second, 0.0)

    def _cells(self, key: str) -> tuple[int, int]:
        data = key.encode(errors="surrogatepass")
        number = int.from_bytes(hashlib.blake2b(data, key=self._key, digest_size=8).digest(), "big")
        high, low = divmod(number, 1 << 32)
        return low % self._width, high % self._width + self._width


class KnownAddresses:
    """Which addresses accounts were right from. Each account has a bounded number of them."""

    def __init__(self) -> None:
        self._by_account: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()
        self._size = 0

    def add(self, account: str, network: str) -> None:
        networks = self._by_account.setdefault(account, OrderedDict())
        self._by_account.move_to_end(account)
        self._size += network not in networks
        networks[network] = None
        networks.move_to_end(network)
        if len(networks) > MOST_KNOWN:
            networks.popitem(last=False)
            self._size -= 1
        while self._size > MOST_KNOWN_IN_ALL:
            self._size -= len(self._by_account.popitem(last=False)[1])

    def has(self, account: str, network: str) -> bool:
        return network in self._by_account.get(account, ())


@dataclass(frozen=True, slots=True)
class _Budget:
    """One allowance that an attempt is counted against."""

    limit: str
    failures: Failures
    key: str
    allowance: Allowance

    def wait(self, own: int = 0) -> float:
        return self.failures.wait(self.key, self.allowance, own)


Budgets = tuple[_Budget, ...]


class Guard:
    """Says of each attempt, before it costs a bcrypt, whether it may."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.known = KnownAddresses()
        self._accounts = Failures(clock)
        # The first logins of all behind one address are no guesses.
        self._addresses = Failures(clock, patient=True)
        # Of accounts that exist, and of what they have as known addresses.
        self._owners = Failures(clock, WIDTH // 8)
        self._pairs = Failures(clock, WIDTH // 8)
        self._tries = Failures(clock, WIDTH // 8)
        self._try = Allowance(TRIES)
        self.use(Limits())

    def use(self, limits: Limits) -> None:
        """Other limits; what was counted stays."""
        self._account = Allowance(limits.account_failures - limits.known_failures)
        self._address = Allowance(limits.address_failures)
        self._owner = Allowance(limits.known_failures)
        # One bad neighbour behind the same address leaves half of it to the others.
        self._pair = Allowance((limits.known_failures + 1) // 2)

    def rank(self, account: str, network: str) -> int:
        """Who goes first where several wait for a core: who has failed least.

        One less for an address that the account was right from: strangers, each from an address
        of its own, may be many who have not failed yet.
        """
        if self.known.has(account, network):
            return round(self._pairs.count(_pair(account, network), self._pair)) - 1
        return round(
            max(
                self._accounts.count(account, self._account),
                self._addresses.count(network, self._address),
            )
        )

    def trusts(self, account: str, network: str) -> bool:
        """Whether a password that is remembered as right may be answered without a verification.

        It costs nothing, but it answers: whoever is refused could go on guessing for as long as
        the password is remembered.
        """
        if self.known.has(account, network):
            return self._tries.count(_pair(account, network), self._try) < TRIES
        return not any(budget.wait() for budget in self._of_strangers(account, network))

    def _of_strangers(self, account: str, network: str) -> tuple[_Budget, _Budget]:
        return (
            _Budget("account", self._accounts, account, self._account),
            _Budget("address", self._addresses, network, self._address),
        )

    def admit(self, account: str, network: str, *, again: bool = False) -> Budgets:
        """What an attempt would be counted against. `again`: it is known to be wrong.

        Raises:
            Later: it would be too many.
        """
        budgets = self._of_strangers(account, network)
        waits = [budget.wait() for budget in budgets]
        if max(waits) == 0:
            return budgets
        if self.known.has(account, network):
            own = (
                _Budget("account", self._owners, account, self._owner),
                _Budget("account", self._pairs, _pair(account, network), self._pair),
            )
            owns = [budget.wait() for budget in own]
            if max(owns) == 0:
                return own
            if max(owns) < max(waits):
                budgets, waits = own, owns
            if not again:
                self._tries.add(_pair(account, network), self._try)
        self._refuse_over(budgets, waits)
        return budgets

    @staticmethod
    def _refuse_over(budgets: Budgets, waits: list[float]) -> None:
        wait = max(waits)
        if not wait:
            return
        limit = budgets[waits.index(wait)].limit
        of = "for this account" if limit == "account" else "from your address"
        raise Later(
            f"too many wrong passwords {of}: try again in {max(math.ceil(wait), 1)} seconds",
            wait,
            limit,
        )

    def still(self, budgets: Budgets) -> None:
        """What was admitted has waited, and others may have failed meanwhile.

        Raises:
            Later: now it would be too many.
        """
        self._refuse_over(budgets, [budget.wait(own=1) for budget in budgets])

    @staticmethod
    def begin(budgets: Budgets) -> None:
        for budget in budgets:
            budget.failures.begin(budget.key)

    @staticmethod
    def end(budgets: Budgets, *, failed: bool) -> None:
        for budget in budgets:
            budget.failures.end(budget.key, budget.allowance, failed=failed)


def _pair(account: str, network: str) -> str:
    return f"{network} {account}"


@functools.lru_cache(maxsize=4096)
def neighbourhood(address: Address) -> str:
    """What is counted as one address: of IPv6 the /64, as each customer has that many."""
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
