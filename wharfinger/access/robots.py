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
# Whoever keeps an inventory should hear of it while there is time to do something.
SOON_DAYS = 30

_ENTRY = "write {}, or limits as in {addresses: [10.0.0.0/8], expires: 2027-06-30}"
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EXAMPLE = "a date as in expires: 2027-06-30"


@dataclass(frozen=True, slots=True)
class Robot:
    """addresses: the networks it may come from (none: anywhere); expires: its last day, in UTC."""

    addresses: tuple[Network, ...] = ()
    expires: date | None = None

    def comes_from(self, address: str) -> bool:
        """Whether the robot is welcome from this address."""
        source = ipaddress.ip_address(address)
        return not self.addresses or any(source in network for network in self.addresses)

    @property
    def end(self) -> str | None:
        """The instant from which on it is refused, `YYYY-MM-DDTHH:MM:SSZ`: its last day's end."""
        if self.expires is None:
            return None
        return f"{self.expires + timedelta(days=1)}T00:00:00Z"


def read_robot(entry: object, today: date | None) -> tuple[Robot, list[str]]:
    """One robot's entry in registry_robots, and what is wrong with it.

    today: in UTC; with None nothing is said of a date that is past.
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
            # It has no next day, at whose beginning it would end.
            wrong.append(f"expires is {last}: leave it out for a robot that stays for good")
        else:
            expires = last
    return Robot(tuple(networks), expires), wrong


def expires_soon(robot: Robot, name: str, today: date | None) -> str | None:
    """What is to be told of a robot that ends within the next weeks."""
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
    # Without a value of its own it may be a secret in the place of a key.
    return f"key {position} is unknown (not shown, it may be secret): {_ENTRY}"


def read_network(word: str) -> Network | str:
    """The network, or what is wrong with its text."""
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
    """The day, or what is wrong with it. YAML makes dates of what looks like one."""
    if isinstance(value, datetime):
        return f"expires has a time of day: write the date alone, expires: {value.date()}"
    if isinstance(value, date):
        # Plain, whatever a loader has made of it.
        return date(value.year, value.month, value.day)
    if not isinstance(value, str):
        return f"expires is {kind(value)}: write {_EXAMPLE}"
    try:
        if _DATE.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        return f"expires: there is no day {quoted(value)}: write {_EXAMPLE}"
    return f"expires: {quoted(value)} is not a date: write {_EXAMPLE}"
