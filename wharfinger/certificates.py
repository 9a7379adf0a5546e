"""Which keys and certificates a host needs made. Pure: no Ansible, no I/O."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

_DAY = 86400.0


def due(
    found: Mapping[str, Mapping[str, Any] | None],
    *,
    now: float,
    names: Iterable[str],
    renew_days: int,
    tls_days: int,
    signing_days: int,
) -> dict[str, bool]:
    """`ca`, `tls` and `signing`: whether each must be made (anew).

    found: what observe says of each certificate: `not_after` (seconds since 1970), `names`,
    `key_matches`, and for `tls` whether it is `trusted` by the present authority; None where there
    is none. names: what the server's certificate must cover, host names or addresses.
    Certificates are renewed `renew_days` before their end, a third of their life where that is
    shorter. An own authority is never made anew because of its age: clients trust it.
    """
    tls = found.get("tls")
    authority_due = not _usable(found.get("ca"), now)
    return {
        "ca": authority_due,
        "tls": authority_due
        or not _usable(tls, now + _DAY * min(renew_days, tls_days / 3))
        or tls is None
        or not tls.get("trusted")
        or _normal(tls["names"]) != _normal(names),
        "signing": not _usable(
            found.get("signing"), now + _DAY * min(renew_days, signing_days / 3)
        ),
    }


def _usable(certificate: Mapping[str, Any] | None, until: float) -> bool:
    """Whether there is one, with its key, that is valid until then (seconds since 1970)."""
    return bool(
        certificate and certificate["key_matches"] and float(certificate["not_after"]) > until
    )


def _normal(names: Iterable[str]) -> set[str]:
    """Names as they compare: openssl prints IPv6 addresses in a form of its own."""
    return {_address(name) or name.lower() for name in names}


def _address(name: str) -> str | None:
    try:
        return str(ipaddress.ip_address(name.removeprefix("IP Address:")))
    except ValueError:
        return None
