"""Which keys and certificates must be renewed (pure)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from ...deployment.certificate import Certificate

DAY = 86400.0
# An authority is replaced a year before its end, so that there is time to make clients trust the
# new one.
AUTHORITY_DAYS = 365


def usable(certificate: Certificate | None, until: float) -> bool:
    """Whether there is a certificate with its key that is valid at `until` (seconds since 1970) and
    was not made by a clock that was ahead."""
    return bool(
        certificate
        and certificate.key_matches
        and not ahead(certificate, until)
        and certificate.not_after > until
    )


def ahead(certificate: Certificate, now: float) -> bool:
    """Whether it was made by a clock that was more than a day ahead."""
    return certificate.not_before > now + DAY


def renew_from(certificate: Certificate, renew_days: float) -> float:
    """When it should be renewed (seconds since 1970): `renew_days` before its end, or a third of
    its life before it if that is shorter."""
    life = certificate.not_after - certificate.not_before
    return certificate.not_after - min(renew_days * DAY, life / 3)


def aged(certificate: Certificate | None, now: float, renew_days: float) -> bool:
    """Whether it should be renewed for its age, or is missing."""
    return certificate is None or now >= renew_from(certificate, renew_days)


def days_left(authority: Certificate, now: float, days: int) -> int:
    """How long a certificate of this authority may be valid: `days`, but not beyond the authority's
    own end, and at least 1."""
    return max(1, min(days, int((authority.not_after - now) / DAY)))


def server_due(
    certificate: Certificate | None, *, now: float, names: Iterable[str], renew_days: float
) -> bool:
    """Whether a new server's certificate must be made."""
    return (
        certificate is None
        or not usable(certificate, now)
        or aged(certificate, now, renew_days)
        or not certificate.trusted
        or normal(certificate.names) != normal(names)
    )


def covered(names: Iterable[str], permitted: Iterable[str] | None) -> list[str]:
    """Those of `names` for which an authority with these `permitted` names may vouch (None:
    all)."""
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
    """Normalised names, to be compared: openssl has its own form of IPv6 addresses."""
    return {_address(name) or name.lower() for name in names}


def _address(name: str) -> str | None:
    try:
        return str(ipaddress.ip_address(name.removeprefix("IP Address:")))
    except ValueError:
        return None
