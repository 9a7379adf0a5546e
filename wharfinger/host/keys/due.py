"""Which keys and certificates are to be made anew (pure)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from ...deployment.certificate import Certificate

DAY = 86400.0
# An authority is followed by another while there is a year left, so that clients have time to trust
# the new one.
AUTHORITY_DAYS = 365


def usable(certificate: Certificate | None, until: float) -> bool:
    """Whether there is one, with its key, that is valid until then (seconds since 1970), and not
    made by a clock that was ahead of it."""
    return bool(
        certificate
        and certificate.key_matches
        and not ahead(certificate, until)
        and certificate.not_after > until
    )


def ahead(certificate: Certificate, now: float) -> bool:
    """Whether a clock that was ahead has made it; a day is what clocks may differ."""
    return certificate.not_before > now + DAY


def renew_from(certificate: Certificate, renew_days: float) -> float:
    """When it is to be renewed: `renew_days` before its end, or a third of its life where that is
    shorter (seconds since 1970)."""
    life = certificate.not_after - certificate.not_before
    return certificate.not_after - min(renew_days * DAY, life / 3)


def aged(certificate: Certificate | None, now: float, renew_days: float) -> bool:
    """Whether it is to be renewed because of its age, or is missing."""
    return certificate is None or now >= renew_from(certificate, renew_days)


def days_left(authority: Certificate, now: float, days: int) -> int:
    """For how many of `days` it can vouch: no longer than it is valid itself, and at least 1."""
    return max(1, min(days, int((authority.not_after - now) / DAY)))


def server_due(
    certificate: Certificate | None, *, now: float, names: Iterable[str], renew_days: float
) -> bool:
    """Whether the server's certificate must be made anew. found: `not_before`, `not_after`,
    `names`, `key_matches`, and `trusted`, whether the authority in use has issued it."""
    return (
        certificate is None
        or not usable(certificate, now)
        or aged(certificate, now, renew_days)
        or not certificate.trusted
        or normal(certificate.names) != normal(names)
    )


def covered(names: Iterable[str], permitted: Iterable[str] | None) -> list[str]:
    """Those of `names` for which an authority with these permitted names may vouch (None: all)."""
    names = list(names)
    if permitted is None:
        return names
    allowed = normal(permitted)
    return [
        name
        for name in names
        if any(
            own == domain or own.endswith(f".{domain}")
            for own in normal([name])
            for domain in allowed
        )
    ]


def normal(names: Iterable[str]) -> set[str]:
    """Names as they compare: openssl prints IPv6 addresses in a form of its own."""
    return {_address(name) or name.lower() for name in names}


def _address(name: str) -> str | None:
    try:
        return str(ipaddress.ip_address(name.removeprefix("IP Address:")))
    except ValueError:
        return None
