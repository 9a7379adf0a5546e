"""Reads certificate files, by the openssl command line."""

from __future__ import annotations

import calendar
import re
from dataclasses import replace
from pathlib import Path

from ...deployment.certificate import Certificate
from ..system import signing_keys
from ..system.files import exists
from ..system.runner import Runner

_WANTED = (
    *("-subject", "-issuer", "-nameopt", "RFC2253", "-dates", "-fingerprint", "-sha256"),
    *("-ext", "subjectAltName,basicConstraints,nameConstraints", "-pubkey"),
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def facts(runner: Runner, certificate: Path, key: Path | None = None) -> Certificate | None:
    """The first certificate in the file; None if there is no readable one (or no openssl)."""
    if not exists(certificate):
        return None
    said = runner.run(
        ["openssl", "x509", "-in", str(certificate), "-noout", *_WANTED],
        timeout=10,
    )
    if "notAfter=" not in said.output:
        return None
    matches: bool | None = None
    if key is not None and exists(key):
        public = runner.run(["openssl", "pkey", "-in", str(key), "-pubout"], timeout=10)
        matches = public.ok and public.output.strip() in said.output
    return replace(parse(said.output), key_matches=matches)


def issued_by(runner: Runner, certificate: Path, authority: Path) -> bool:
    """Whether `authority` (PEM) has issued the first certificate in `certificate`, directly or
    through the other ones in that file. Dates are not checked."""
    if not exists(certificate) or not exists(authority):
        return False
    said = runner.run(
        [
            *("openssl", "verify", "-no_check_time", "-CAfile", str(authority)),
            *("-untrusted", str(certificate), str(certificate)),
        ],
        timeout=10,
    )
    return said.ok


def parse(text: str) -> Certificate:
    """The facts in what `openssl x509` printed."""
    sections = _sections(text)
    constraints = sections.get("Name Constraints", "")
    permitted, _, _ = constraints.partition("Excluded:")
    public = signing_keys.read(text)
    length = re.search(r"pathlen:([0-9]+)", sections.get("Basic Constraints", ""))
    return Certificate(
        subject=_line(text, r"^subject= ?(.*)$"),
        issuer=_line(text, r"^issuer= ?(.*)$"),
        not_before=_time(_line(text, r"^notBefore=(.*)$")),
        not_after=_time(_line(text, r"^notAfter=(.*)$")),
        fingerprint=_line(text, r"(?i)^sha256 fingerprint=(.*)$").replace(":", "").lower(),
        names=_names(sections.get("Subject Alternative Name", "")),
        algorithm=public.algorithm if public else "",
        path_length=int(length.group(1)) if length else None,
        # A permitted address always has the mask of a single address.
        permitted=tuple(name.partition("/")[0] for name in _names(permitted))
        if permitted
        else None,
    )


def _sections(text: str) -> dict[str, str]:
    """Extension's name → the lines below it."""
    sections: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        start = re.match(r"X509v3 ([A-Za-z ]+?) ?:", line.strip())
        if start:
            name = start.group(1)
            sections[name] = ""
        elif line.startswith("    ") and name:
            sections[name] += f"{line}\n"
        else:
            name = ""
    return sections


def _names(text: str) -> tuple[str, ...]:
    items = (item.strip() for line in text.splitlines() for item in line.split(","))
    return tuple(
        item.split(":", 1)[1].strip()
        for item in items
        if item.startswith(("DNS:", "IP Address:", "IP:"))
    )


def _line(text: str, pattern: str) -> str:
    line = re.search(pattern, text, re.MULTILINE)
    return line.group(1).strip() if line else ""


def _time(text: str) -> int:
    """`Nov 24 02:18:55 2027 GMT` → seconds since 1970."""
    month, day, clock, year = text.split()[:4]
    hour, minute, second = (int(part) for part in clock.split(":"))
    return calendar.timegm(
        (int(year), _MONTHS.index(month) + 1, int(day), hour, minute, second, 0, 0, 0)
    )
