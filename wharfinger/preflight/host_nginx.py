"""The host's nginx, its other sites, and who else listens on the registry's ports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from wharfinger.deployment import host_files
from wharfinger.deployment.facts import HostFacts, Nginx
from wharfinger.deployment.problems import Report
from wharfinger.host.setup.main_settings import CONNECTIONS, FILES

from .host_names import plain_address
from .names import is_loopback
from .report import shown
from .settings import address_and_port

#: The file that the nginx of a distribution, and of nginx.org, reads.
NGINX_SETTINGS = f"{host_files.NGINX}/nginx.conf"
#: With two workers, enough although a client holds 2,000 connections with half-sent requests.
ENOUGH_CONNECTIONS = 4096


def check_ports(good: Mapping[str, Any], host: HostFacts, report: Report) -> None:
    """Reports another program on the registry's ports."""
    ours = host.nginx.running
    for port, subject, instead in (
        (80, "host, port 80", "stop it, or move it to another port (80 redirects to https)"),
        (
            good.get("registry_port"),
            "registry_port",
            "stop it, or write a registry_port that is free",
        ),
    ):
        taken: dict[tuple[Any, Any], str] = {}
        for listener in host.listeners:
            if listener.port == port and not (ours and listener.program == "nginx"):
                taken.setdefault((listener.program, listener.pid), listener.address)
        for (program, pid), address in taken.items():
            report.error(
                subject,
                f"{port} is in use by {_listener(program, pid)} on {address}: {instead}",
            )


def _listener(program: str | None, pid: int | None) -> str:
    if program == "docker-proxy":
        return f"a container's published port ({program}, process {pid})"
    if program == "nginx":
        return f"an nginx that is not the host's service (process {pid})"
    return f"{program} (process {pid})" if program else "another program"


def check_metrics(good: Mapping[str, Any], host: HostFacts, report: Report) -> None:
    """Reports an address for metrics that the host does not have, or that is taken."""
    name = "reverse_proxy_metrics_listen"
    wanted = address_and_port(good.get(name) or "")
    if wanted is None:
        return
    address, port = wanted
    own = [plain_address(text) for text in host.addresses or ()]
    if host.addresses is not None and not is_loopback(address) and address not in own:
        report.error(
            name,
            f"{address} is not an address of the host: write one that it has "
            f"({', '.join(text for text in own if not is_loopback(text))}), or 127.0.0.1:{port}",
        )
        return
    if ":" in address and host.ipv6 is False:
        report.error(
            name, f"{good[name]} is IPv6, which the host does not have: write 127.0.0.1:{port}"
        )
        return
    # An IPv4 socket leaves IPv6 addresses free; an IPv6 socket may take IPv4 addresses, too.
    everywhere = {"::"} if ":" in address else {"::", "0.0.0.0"}
    nginx = host.nginx
    instead = f"stop it, or write another port, such as {good[name].rpartition(':')[0]}:{port + 1}"
    for listener in host.listeners:
        ours = nginx.running and listener.program == "nginx"
        if listener.port == port and not ours and listener.address in {address, *everywhere}:
            report.error(
                name,
                f"{port} is in use by {_listener(listener.program, listener.pid)} on "
                f"{listener.address}: {instead}",
            )
            return
    for site in nginx.servers:
        taken = [where for where, number, _tls in map(_listen, site.listen) if number == port]
        if not site.ours and (None in taken or address in taken):
            report.error(
                name,
                f"{shown(site.file)} listens on port {port} already: write another port, "
                f"such as {good[name].rpartition(':')[0]}:{port + 1}",
            )
            return


def check_nginx(good: Mapping[str, Any], host: HostFacts, report: Report) -> None:
    """Reports an nginx that would not accept Wharfinger's site."""
    nginx = host.nginx
    if nginx.masked:
        tell = report.warning if nginx.running else report.error
        tell(
            "host, nginx",
            f"nginx {'would not start again' if nginx.running else 'cannot start'}, because "
            "it is masked in systemd: run `systemctl unmask nginx.service`",
        )
    if not nginx.present:
        return
    settings = nginx.settings
    if settings and settings != NGINX_SETTINGS:
        report.error(
            "host, nginx",
            f"{nginx.program} reads {settings}, and Wharfinger's site would not be part of it: "
            f"use an nginx that reads {NGINX_SETTINGS}, or remove this one; "
            "Wharfinger then installs the distribution's",
        )
    elif nginx.error:
        report.error(
            "host, nginx",
            f"its present configuration is broken ({_nginx_words(nginx.error)}): correct it until "
            "`nginx -t` succeeds",
        )
    elif not nginx.njs:
        report.warning(
            "host, nginx",
            "it does not load njs, so the access log has no users: install libnginx-mod-http-js "
            "at a quiet time (this reloads nginx), and run site.yml again",
        )
    _check_connections(nginx, report)
    names = {good.get("registry_hostname"), *good.get("registry_extra_hostnames", ())} - {None}
    ports = {80, good.get("registry_port")} - {None}
    # `ssl` in one server is enough for all servers with the same address and port.
    secure = {
        port
        for site in nginx.servers
        for address, port, tls in map(_listen, site.listen)
        if tls and address is None
    }
    clients: set[str | None] = {
        address
        for address in host.resolved.get(good.get("registry_hostname", ""), ())
        if not is_loopback(address)
    } or {host.primary_address}
    for site in nginx.servers:
        if site.ours:
            continue
        file = shown(site.file)
        same = sorted(names & {name.lower().removeprefix(".") for name in site.names})
        for address, port, tls in map(_listen, site.listen):
            if port not in ports:
                continue
            subject, instead = (
                ("host, nginx", "move that server to another port")
                if port == 80
                else ("registry_port", "move that server, or write another registry_port")
            )
            if same:
                report.error(
                    subject,
                    f"{file} already serves {' and '.join(same)} on port {port}, and nginx would "
                    f"ignore a second server of that name: {instead}",
                )
            elif address in clients:
                report.error(
                    subject,
                    f"{file} listens on {address}:{port}, so nginx would answer all requests to "
                    f"that address there: write `listen {port}` without the address in it",
                )
            elif address is None and (tls if port == 80 else port not in secure):
                report.error(
                    subject,
                    f"{file} speaks {'TLS' if tls else 'plain HTTP'} on port {port}, where "
                    f"Wharfinger speaks {'plain HTTP' if tls else 'TLS'}: {instead}",
                )


def _check_connections(nginx: Nginx, report: Report) -> None:
    number = nginx.connections
    if number is None or number >= ENOUGH_CONNECTIONS or nginx.connections_packaged:
        return
    report.warning(
        "host, nginx",
        f"{NGINX_SETTINGS} has worker_connections {number}, so one client that begins a few "
        "thousand requests and ends none keeps everybody out. Somebody else has installed or "
        f"changed it, so it is left alone: write `worker_connections {CONNECTIONS};` into its "
        f"events block and `worker_rlimit_nofile {FILES};` before that",
    )


def _nginx_words(error: str) -> str:
    """nginx's error, without its timestamp and without the line that the test has failed."""
    match = re.search(r"\[emerg\](?: \d+#\d+:)? (.+)", error)
    return match[1] if match else " ".join(error.split())


def _listen(text: str) -> tuple[str | None, int | None, bool]:
    """(address or None for all, port or None for a socket, TLS?) of a `listen` directive."""
    where, *options = text.split()
    tls = "ssl" in options or "quic" in options
    if where.startswith("unix:"):
        return None, None, tls
    if where.isdigit():
        return None, int(where), tls
    address, colon, port = where.rpartition(":")
    if where.endswith("]") or not colon:
        address, port = where, "80"
    address = address.strip("[]")
    number = int(port) if port.isdigit() else None
    return (None if address in ("*", "0.0.0.0", "::") else address), number, tls
