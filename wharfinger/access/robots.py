"""Robots: accounts of machines, with a generated secret, allowed addresses and a last day."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from wharfinger.suggestions import nearest
from wharfinger.values import kind
from wharfinger.wording import quoted, texts

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

KEYS = ("addresses", "expires")
# So early a warning leaves time to do something about it.
SOON_DAYS = 30

_ENTRY = "write {}, or limits as in {addresses: [10.0.0.0/8], expires: 2027-06-30}"
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EXAMPLE = "a date as in expires: 2027-06-30"


@dataclass(frozen=True, slots=True)
class Robot:
    """addresses: the networks it may come from; empty: any. expires: its last day, in UTC."""

    addresses: tuple[Network, ...] = ()
    expires: date | None = None

    def comes_from(self, address: str) -> bool:
        """Whether the robot may sign in from this address."""
        source = ipaddress.ip_address(address)
        return not self.addresses or any(source in network for network in self.addresses)

    @property
    def end(self) -> str | None:
        """The end of its last day, `YYYY-MM-DDTHH:MM:SSZ`: from then on it is refused."""
        if self.expires is None:
            return None
        return f"{self.expires + timedelta(days=1)}T00:00:00Z"


def read_robot(entry: object, today: date | None) -> tuple[Robot, list[str]]:
    """One robot's entry in registry_robots, and what is wrong with it.

    today: in UTC; with None, a date in the past is not reported.
    """
    if not isinstance(entry, Mapping):
        return Robot(), [f"is {kind(entry)}: {_ENTRY}"]
    wrong = [
        _unknown_key(position, key)
        for position, key in enumerate(entry, 1)
        if key not in KEYS or not isinstance(key, str)
    ]
    networks: dict[Network, None] = {}
    if "addresses" in entry:
        words, mistakes = texts("addresses", entry["addresses"], "[10.0.0.0/8]")
        wrong += mistakes
        for word in words:
            parsed = read_network(word)
            if isinstance(parsed, str):
                wrong.append(f"addresses: {parsed}")
            else:
                networks[parsed] = None
    expires = None
    if "expires" in entry:
        last = _date(entry["expires"])
        if isinstance(last, str):
            wrong.append(last)
        elif today is not None and last < today:
            wrong.append(
                f"expires is {last}, which is in the past: write a later date, or remove the robot"
            )
        elif last == date.max:
            # There is no next day, at whose beginning the robot would end.
            wrong.append(f"expires is {last}: leave it out for a robot that stays for good")
        else:
            expires = last
    return Robot(tuple(networks), expires), wrong


def expires_soon(robot: Robot, name: str, today: date | None) -> str | None:
    """The warning about a robot that expires within SOON_DAYS; None for any other robot."""
    if robot.expires is None or today is None:
        return None
    days = (robot.expires - today).days
    if not 0 <= days <= SOON_DAYS:
        return None
    when = "today" if days == 0 else "tomorrow" if days == 1 else f"in {days} days"
    return (
        f"expires {when} ({robot.expires}, UTC): write a later date, and give it a new secret with "
        f"playbooks/rotate_robots.yml -e robot={name}"
    )


def _unknown_key(position: int, key: object) -> str:
    if not isinstance(key, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,39}", key):
        return f"key {position} is unknown (not shown, it may be secret): {_ENTRY}"
    plain = key.lower().replace("-", "_")
    if plain.startswith(("password", "secret", "token")):
        return f"a robot's secret is generated and kept in credentials/: remove {key}"
    usual = {
        **dict.fromkeys(("address", "ip", "ips", "cidr", "cidrs", "networks", "from"), "addresses"),
        **dict.fromkeys(("expiry", "expire", "until", "valid_until"), "expires"),
    }
    meant = usual.get(plain) or nearest(plain, KEYS)
    if meant:
        return f"{key} is an unknown key: write {meant}"
    # It may be a secret that stands where a key should be.
    return f"key {position} is unknown (not shown, it may be secret): {_ENTRY}"


def read_network(word: str) -> Network | str:
    """The network, or what is wrong with the word."""
    shown = quoted(word)
    nothing = (
        f"{shown} is neither an address nor a network: "
        "write one like 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32"
    )
    base, slash, prefix = word.partition("/")
    if "%" in word or (slash and not prefix):
        return nothing
    try:
        network = ipaddress.ip_network(word, strict=False)
    except ValueError:
        return nothing
    if slash and not prefix.isdecimal():
        return f"{shown} has a mask: write {network}"
    if ipaddress.ip_address(base) != network.network_address:
        return (
            f"{shown} has bits set after its prefix: write {network} for the network, "
            f"or {base} for one address"
        )
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        inner = network.network_address.ipv4_mapped
        if inner is not None:
            plain = ipaddress.ip_network(f"{inner}/{network.prefixlen - 96}")
            return f"{shown} is an IPv4 network written as IPv6: write {plain}"
    return network


def _date(value: object) -> date | str:
    """The date, or what is wrong with it. YAML makes a date of text that looks like one."""
    if isinstance(value, datetime):
        return f"expires has a time of day: write the date alone, expires: {value.date()}"
    if isinstance(value, date):
        # A plain date, whatever subclass a loader has made.
        return date(value.year, value.month, value.day)
    if not isinstance(value, str):
        return f"expires is {kind(value)}: write {_EXAMPLE}"
    try:
        if _DATE.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        return f"expires: there is no day {quoted(value)}: write {_EXAMPLE}"
    return f"expires: {quoted(value)} is not a date: write {_EXAMPLE}"
