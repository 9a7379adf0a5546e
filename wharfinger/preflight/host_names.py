"""The registry's names as the host resolves them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from wharfinger.deployment.facts import HostFacts
from wharfinger.deployment.problems import Report

from .names import is_address, is_loopback


def own_name(fqdn: str, hosts_entry: bool) -> str:
    """The registry's name if the inventory gives none: the host's full name.

    It is HOST.internal if the full name has no dot (docker would take it for a user of Docker Hub)
    and `hosts_entry` (registry_hosts_entry) lets the toolkit write it into the host's /etc/hosts.
    """
    name = fqdn.lower()
    if hosts_entry and ("." not in name or name.endswith((".localdomain", ".localhost"))):
        return f"{name.partition('.')[0]}.internal"
    return name


def check_name(good: Mapping[str, Any], host: HostFacts, report: Report) -> None:
    """Reports names that do not lead to this host, or lead there by loopback."""
    acme = good.get("certificates_tls_source") == "acme"
    resolved = host.resolved
    names = [("registry_hostname", "", str(good.get("registry_hostname", "")))]
    if acme:
        for number, name in enumerate(good.get("registry_extra_hostnames", ()), 1):
            names.append(("registry_extra_hostnames", f"entry {number}", name))
    for topic, place, name in names:
        if name not in resolved:
            continue
        # The host's own /etc/hosts does not show what an ACME server finds in DNS.
        if acme and not _leads_here(resolved[name], host):
            where = f"resolves to {', '.join(resolved[name])} on the host"
            report.warning(
                topic,
                f"{name} {where if resolved[name] else 'does not resolve on the host'}, and the "
                "ACME server must reach this host's port 80 by that name: behind NAT or with "
                "split DNS this is right (fetching the challenge path will show it); otherwise "
                "let public DNS lead it to this host",
                place,
            )
        elif not good.get("registry_hosts_entry"):
            _check_address(str(name), list(resolved[name]), host, report)


def _leads_here(addresses: Iterable[str], host: HostFacts) -> bool:
    own = {plain_address(address) for address in host.addresses or ()}
    return any(plain_address(address) in own and not is_loopback(address) for address in addresses)


def _check_address(name: str, addresses: list[str], host: HostFacts, report: Report) -> None:
    own = host.primary_address
    instead = (
        f"let DNS lead it to {own or 'this host'}, or write registry_hosts_entry: true for an "
        "entry in the host's own /etc/hosts"
    )
    if not addresses:
        report.warning("registry_hostname", f"{name} does not resolve on the host: {instead}")
    elif any(is_loopback(address) for address in addresses):
        report.warning(
            "registry_hostname",
            f"{name} resolves to {_first(addresses, is_loopback)} on the host, and docker there "
            f"may fall back to plain HTTP: {instead}",
        )
    elif not _leads_here(addresses, host):
        report.warning(
            "registry_hostname",
            f"{name} resolves to {', '.join(addresses)}, which is not an address of the host: "
            "behind NAT or a load balancer this is right; otherwise let DNS lead it to "
            f"{own or 'this host'}",
        )


def _first(addresses: Iterable[str], condition: Any) -> str:
    return next(address for address in addresses if condition(address))


def plain_address(address: str) -> str:
    text = address.partition("/")[0]
    return str(ip_address(text)) if is_address(text) else text
