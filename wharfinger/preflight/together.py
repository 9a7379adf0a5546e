"""What the hosts of one inventory must not share, since one folder keeps the files of all."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from wharfinger.deployment.problems import Report
from wharfinger.inventory.hosts import entries, resolved_value
from wharfinger.wording import listed

from .report import shown


@dataclass(frozen=True)
class Registry:
    """One host of the group `registry`, as its variables describe it.

    hostname: "" if it is not known. folder: the inventory's, in which credentials/ lies.
    source and root: certificates_tls_source and certificates_tls_ca. machine: the address and port
    by which Ansible reaches it, in words; via: how it gets there (two networks may have the same
    addresses). accounts: name → `user` or `robot`, of those whose
    password or secret is generated.
    """

    hostname: str
    port: str
    folder: str
    source: str
    root: str
    machine: str
    via: str
    accounts: Mapping[str, str]

    @property
    def authority(self) -> tuple[str, str]:
        """Equal for two hosts whose authority's file is the same."""
        return (self.source if self.source == "own_ca" else "", self.root)


def described(name: str, raw: Mapping[str, Any], variables: Mapping[str, Any]) -> Registry:
    """The registry that the host's variables describe, without values that cannot be resolved."""

    def text(variable: str, default: str = "") -> str:
        return str(resolved_value(variables, variable, default))

    facts = resolved_value(variables, "preflight_facts", {})
    connection = text("ansible_connection", "ssh")
    # Other connections, such as docker, do not find their host by an address.
    by_ssh = connection in ("ssh", "smart", "paramiko_ssh")
    # Ansible still accepts the older names, too.
    address = text("ansible_host", text("ansible_ssh_host", name)) if by_ssh else name
    port = text("ansible_port", text("ansible_ssh_port", "22"))
    ways = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
    return Registry(
        # Preflight knows the name of a host whose registry_hostname is empty.
        hostname=str(facts.get("hostname") or text("registry_hostname")),
        port=text("registry_port", "443"),
        folder=text("inventory_dir"),
        source=text("certificates_tls_source", "own_ca"),
        root=text("certificates_tls_ca"),
        machine="this one" if connection == "local" else f"{address}, port {port}",
        via=" ".join([connection, *map(text, ways)]),
        accounts=_generated_accounts(raw, variables),
    )


def _generated_accounts(raw: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, str]:
    """Name → `user` or `robot`, for accounts whose password or secret is generated."""
    return {
        str(name): kind
        for variable, kind in (("registry_users", "user"), ("registry_robots", "robot"))
        for name, entry in entries(raw, variables, variable).items()
        if kind == "robot" or not entry
    }


def check_together(hosts: Mapping[str, Registry], report: Report, *, deploys: bool) -> None:
    """Reports why the hosts cannot be in one inventory.

    hosts: every host of the group, even if the run is limited to some of them. deploys: whether the
    playbook makes certificates, or changes more on the host than its users.
    """
    if deploys:
        for names in _alike(hosts, lambda host: (host.machine, host.via)):
            report.error(
                "ansible_host",
                f"{listed(names)} are the same machine ({hosts[names[0]].machine}), and a machine "
                "can have only one registry: remove one of them, or correct its ansible_host",
            )
        for names in _alike(hosts, lambda host: host.hostname and (host.hostname, host.folder)):
            _check_hostname(names, hosts, report)
    for first, second in combinations(hosts, 2):
        if hosts[first].folder == hosts[second].folder:
            _check_accounts(first, second, hosts, report)


def _alike(
    hosts: Mapping[str, Registry], by: Callable[[Registry], Hashable]
) -> Iterator[list[str]]:
    """The names of two or more hosts for which `by` gives the same; empty values do not count."""
    groups: dict[Hashable, list[str]] = {}
    for name, host in hosts.items():
        groups.setdefault(by(host), []).append(name)
    yield from (names for what, names in groups.items() if what and len(names) > 1)


def _check_hostname(names: list[str], hosts: Mapping[str, Registry], report: Report) -> None:
    hostname = hosts[names[0]].hostname
    files = " and ".join(f"host_vars/{name}.yml" for name in names[:2])
    instead = f"write a registry_hostname for each ({files}), and remove it from group_vars"
    same = f"{listed(names)} have the same one, {shown(hostname)}"
    authorities = [hosts[name].authority for name in names]
    if len(set(authorities)) > 1 or authorities[0][0]:
        report.error(
            "registry_hostname",
            f"{same}, but not the same authority, and credentials/{hostname}-ca.crt can hold only "
            f"one: {instead}",
        )
    elif len({hosts[name].port for name in names}) < len(names):
        report.warning(
            "registry_hostname",
            f"{same}, so a client reaches only the one that DNS leads to: {instead}, unless that "
            "is meant",
        )


def _check_accounts(first: str, second: str, hosts: Mapping[str, Registry], report: Report) -> None:
    kinds, others = hosts[first].accounts, hosts[second].accounts
    for name in sorted(kinds.keys() & others.keys()):
        if kinds[name] != others[name]:
            report.error(
                "registry_robots",
                f"{shown(name)} is a {kinds[name]} of {first} and a {others[name]} of {second}, "
                f"and credentials/{name} can have the secret of only one: rename one of them",
            )
