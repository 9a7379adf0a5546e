"""Host names (RFC 1123), addresses, and the distance between two words."""

from __future__ import annotations

import re
from ipaddress import ip_address

from .report import shown

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PORT_AT_END = re.compile(r"([^:/\[\]]+):([0-9]{1,5})")


def is_address(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(address: str) -> bool:
    """Whether `address` only leads to the machine itself (127.0.0.0/8, ::1)."""
    return is_address(address) and ip_address(address).is_loopback


def hostname_problem(text: str) -> str | None:
    """What is wrong with `text` as a host name (RFC 1123, in lower case), or None.

    The answer is the second half of a message: what is wrong and what to write instead.
    """
    if text == "":
        return "is empty: write the name that clients use, like registry.example.com"
    if "://" in text:
        rest = text.split("://", 1)[1]
        return f"{shown(text)} is a URL: write the host's name alone, {shown(rest.split('/')[0])}"
    port = _PORT_AT_END.fullmatch(text)
    if port:
        return (
            f"{shown(text)} has a port in it: write {shown(port[1])} here "
            f"and registry_port: {port[2]}"
        )
    if text != text.lower():
        return f"{shown(text)} has capital letters: write {shown(text.lower())}"
    if text.endswith("."):
        return f"{shown(text)} ends with a dot: write {shown(text.rstrip('.'))}"
    if not text.isascii():
        try:
            return (
                f"{shown(text)} is not ASCII: "
                f"write its encoded form, {shown(text.encode('idna').decode())}"
            )
        except UnicodeError:
            return f"{shown(text)} is not a host name: write one like registry.example.com"
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in text.split(".")):
        return (
            f"{shown(text)} is not a host name: write labels of letters, digits and inner hyphens "
            "(at most 63 characters each) with dots between, like registry.example.com"
        )
    if text.rpartition(".")[2].isdigit():
        return (
            f"{shown(text)} ends with a number and is not an address: write a name like "
            "registry.example.com"
        )
    return None


def typing_errors(word: str, other: str) -> int:
    """The number of typing errors between two words: a character too many, missing, wrong or
    swapped with the next."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(word, 1):
        earlier, before, row = before, row, [i]
        for j, b in enumerate(other, 1):
            best = min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and word[i - 2] == b:
                best = min(best, earlier[j - 2] + 1)
            row.append(best)
    return row[-1]
