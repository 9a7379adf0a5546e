"""Can this host carry the stack? Every question is put to `observe`'s answer, never to the host."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, ip_address, ip_network
from typing import Any

from wharfinger.deployment import host_files
from wharfinger.deployment.facts import HostFacts, Nginx, Storage
from wharfinger.deployment.fixed import REGISTRY_ID, TOKEN_SERVER_ID
from wharfinger.deployment.problems import Report
from wharfinger.host.observation.engine_state import STATES
from wharfinger.host.setup.main_settings import CONNECTIONS, FILES
from wharfinger.host.system.durations import in_words
from wharfinger.values import readable_size

from .names import is_address, is_loopback
from .report import shown
from .settings import PRIVATE, address_and_port

#: Distributions that the tests cover: (id, version) of os-release.
DISTRIBUTIONS = frozenset({("debian", "12"), ("debian", "13"), ("ubuntu", "24.04")})
ARCHITECTURES = ("amd64", "arm64")
PYTHON = (3, 11)
ENGINE = (20, 10)
#: Who owns the registry's data, and who reads the token server's files.
NETWORK = "wharfinger"
#: What the nginx of a distribution, and of nginx.org, reads.
NGINX_SETTINGS = f"{host_files.NGINX}/nginx.conf"


#: With two workers, more than somebody's 2,000 half-sent heads take.
ENOUGH_CONNECTIONS = 4096


def own_name(fqdn: str, hosts_entry: bool) -> str:
    """The registry's name where the inventory gives none: the host's full name.

    Where that has no dot (docker would take it for a user of Docker Hub) and `hosts_entry`
    (registry_hosts_entry) lets the toolkit write it into the host's /etc/hosts: HOST.internal.
    """
    name = fqdn.lower()
    if hosts_entry and ("." not in name or name.endswith((".localdomain", ".localhost"))):
        return f"{name.partition('.')[0]}.internal"
    return name


def check_host(
    good: Mapping[str, Any],
    host: HostFacts,
    controller: Mapping[str, Any],
    report: Report,
) -> None:
    """Report what stands against this host.

    good: checked variables (durations and sizes as numbers); what is missing in them was reported
    already, and is not looked at. host: parts that are missing (a host too old to be observed) are
    not looked at. controller: `clock`, epoch seconds before and after.
    """
    _check_system(host, report)
    _check_state(host, report)
    _check_clock(good, host, controller, report)
    _check_ports(good, host, report)
    _check_nginx(good, host, report)
    _check_metrics(good, host, report)
    _check_engine(host, report)
    _check_network(good, host, report)
    _check_users(host, report)
    _check_storage(good, host, report)
    _check_space(good, host, report)
    _check_name(good, host, report)


def _check_system(host: HostFacts, report: Report) -> None:
    system = host.distribution
    if system and (system.id, system.version) not in DISTRIBUTIONS:
        report.error(
            "host, distribution",
            f"{system.name or system.id} is not supported: use Debian 12 or 13, or Ubuntu 24.04",
        )
    architecture = host.architecture
    if architecture and architecture not in ARCHITECTURES:
        report.error(
            "host, architecture",
            f"{architecture} is not supported: use {' or '.join(ARCHITECTURES)}",
        )
    python = host.python
    if python and _version(python) < PYTHON:
        report.error(
            "host, Python",
            f"{python} is too old: use Python 3.11 or newer, as Debian 12 and Ubuntu 24.04 have it",
        )
    if host.uid != 0:
        report.error(
            "host, user",
            f"the tasks run as user id {host.uid} and need root: "
            "write ansible_become: true and connect as a user who may sudo",
        )


def _check_state(host: HostFacts, report: Report) -> None:
    # Its own words say what to do; what the host remembers is unknown to all else here.
    if host.state.error:
        report.error("host, state", host.state.error)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"[0-9]+", text)[:2])


def _check_clock(
    good: Mapping[str, Any],
    host: HostFacts,
    controller: Mapping[str, Any],
    report: Report,
) -> None:
    clock = host.clock
    if clock is None:
        return
    before, after = controller["clock"]
    ahead, behind = clock - after, before - clock
    off = max(ahead, behind)
    if off > good.get("preflight_clock_tolerance", 60):
        report.error(
            "host, clock",
            f"it is {in_words(off)} {'ahead of' if ahead > behind else 'behind'} the controller's, "
            "and tokens and certificates would not be valid: set whichever is wrong "
            "(systemd-timesyncd or chrony keeps it right)",
        )


def _check_ports(good: Mapping[str, Any], host: HostFacts, report: Report) -> None:
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
                subject, f"{port} is in use by {_who(program, pid)} on {address}: {instead}"
            )


def _who(program: str | None, pid: int | None) -> str:
    if program == "docker-proxy":
        return f"a container's published port ({program}, process {pid})"
    if program == "nginx":
        return f"an nginx that is not the host's service (process {pid})"
    return f"{program} (process {pid})" if program else "another program"


def _check_metrics(good: Mapping[str, Any], host: HostFacts, report: Report) -> None:
    name = "reverse_proxy_metrics_listen"
    wanted = address_and_port(good.get(name) or "")
    if wanted is None:
        return
    address, port = wanted
    own = [_plain(text) for text in host.addresses or ()]
    if host.addresses is not None and not is_loopback(address) and address not in own:
        report.error(
            name,
            f"{address} is no address of the host: write one that it has "
            f"({', '.join(text for text in own if not is_loopback(text))}), or 127.0.0.1:{port}",
        )
        return
    if ":" in address and host.ipv6 is False:
        report.error(
            name, f"{good[name]} is IPv6, which the host does not have: write 127.0.0.1:{port}"
        )
        return
    # An IPv4 socket leaves IPv6 addresses free, the other way round it depends.
    everywhere = {"::"} if ":" in address else {"::", "0.0.0.0"}
    nginx = host.nginx
    instead = f"stop it, or write another port, such as {good[name].rpartition(':')[0]}:{port + 1}"
    for listener in host.listeners:
        ours = nginx.running and listener.program == "nginx"
        if listener.port == port and not ours and listener.address in {address, *everywhere}:
            report.error(
                name,
                f"{port} is in use by {_who(listener.program, listener.pid)} on "
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


def _check_nginx(good: Mapping[str, Any], host: HostFacts, report: Report) -> None:
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
            f"its present configuration is broken ({_nginx_words(nginx.error)}): "
            "mend it until `nginx -t` is content",
        )
    elif not nginx.njs:
        report.warning(
            "host, nginx",
            "it loads no njs, so the access log has no users: install libnginx-mod-http-js in a "
            "quiet moment (nginx reloads at once), and run site.yml again",
        )
    _check_connections(nginx, report)
    names = {good.get("registry_hostname"), *good.get("registry_extra_hostnames", ())} - {None}
    ports = {80, good.get("registry_port")} - {None}
    # One server's `ssl` is enough for all that share its address and port.
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
                    f"take no second server of that name: {instead}",
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
    """What nginx objects to, without its time stamps and the sentence that the test has failed."""
    found = re.search(r"\[emerg\](?: \d+#\d+:)? (.+)", error)
    return found[1] if found else " ".join(error.split())


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


def _check_engine(host: HostFacts, report: Report) -> None:
    engine = host.engine
    state = STATES.get(engine.state)
    if state and state.message:
        report.error("host, engine", state.message.format(detail=engine.detail))
    elif engine.version and _version(engine.version) < ENGINE:
        report.error(
            "host, engine",
            f"Docker {engine.version} is too old: install 20.10 or newer",
        )
    elif engine.warning:
        report.warning(
            "host, engine", f"Docker runs, but it would not start again: {engine.warning}"
        )
    for name in host.foreign_containers:
        report.error(
            "host, engine",
            f"the container {name} is not Wharfinger's, but has a name of its containers: "
            f"rename it (docker rename {name} …) or remove it",
        )


def _check_network(good: Mapping[str, Any], host: HostFacts, report: Report) -> None:
    # Where docker is stopped, its networks cannot be seen but their routes may still be there.
    present = host.network or host.state.network
    if present and present.ours is False:
        report.error(
            "host, engine",
            f"the docker network {NETWORK} is not Wharfinger's: "
            f"remove it (docker network rm {NETWORK}), or rename it",
        )
        present = None
    text = good.get("container_engine_network")
    if text is None:
        return
    if present and present.subnet == text:
        return
    if present and (host.serves or host.containers):
        report.error(
            "container_engine_network",
            f"{text} is not the subnet that the host's containers are in, {present.subnet}: "
            f"write {present.subnet}, or run playbooks/remove.yml first (data and keys stay)",
        )
        return
    # An own network without containers is made anew: what it takes is free.
    own = IPv4Network(present.subnet) if present and present.subnet else None
    subnet = IPv4Network(text)
    used = [
        (what, where) for what, where in _in_use(host) if own is None or not where.subnet_of(own)
    ]
    overlapping = [(what, where) for what, where in used if where.overlaps(subnet)]
    if overlapping:
        free = _free_subnet([where for _, where in used])
        what, where = overlapping[0]
        report.error(
            "container_engine_network",
            f"{text} overlaps {what} ({where}): write a subnet that is free"
            + (f", like {free}" if free else ""),
        )


def _in_use(host: HostFacts) -> Iterator[tuple[str, IPv4Network]]:
    """Docker's networks first, since they explain best; then routes and addresses."""
    for network in host.networks:
        for text in network.subnets:
            yield from _ipv4(f"the docker network {network.name}", text)
    for route in host.routes:
        yield from _ipv4(f"a route of the host through {route.device}", route.destination)
    for address in host.addresses or ():
        yield from _ipv4("an address of the host", address)


def _ipv4(what: str, text: str) -> Iterator[tuple[str, IPv4Network]]:
    if text == "default":
        return
    network = ip_network(text, strict=False)
    # Shorter ones are default routes in disguise, as VPNs set them (0.0.0.0/1).
    if isinstance(network, IPv4Network) and network.prefixlen >= 8:
        yield what, network


def _free_subnet(used: Sequence[IPv4Network]) -> IPv4Network | None:
    """The last /28 of the first private /16 in which nothing is, or None."""
    for private in PRIVATE[1], PRIVATE[0], PRIVATE[2]:
        for block in reversed(list(private.subnets(new_prefix=16))):
            if not any(block.overlaps(subnet) for subnet in used):
                return IPv4Network((int(block.broadcast_address) - 15, 28))
    return None


def _check_users(host: HostFacts, report: Report) -> None:
    roles = {str(REGISTRY_ID): "the registry", str(TOKEN_SERVER_ID): "the token server"}
    for uid, name in host.uids.items():
        if name:
            report.error(
                "host, users",
                f"user id {uid} belongs to {name}, and {roles[uid]} runs as it: "
                f"give {name} another id (usermod --uid)",
            )


def _check_storage(good: Mapping[str, Any], host: HostFacts, report: Report) -> None:
    storage, path = host.storage, good.get("storage_path")
    if not storage or not path:
        return
    mount = good.get("storage_mount")
    if mount and storage.is_mount:
        is_source = storage.is_source
        if is_source is None:
            is_source = not _other_source(mount, storage.source)
        if not is_source:
            report.error(
                "storage_mount",
                f"{path} is mounted from {storage.source}, which is another source: "
                "write that, or unmount it first",
                "src",
            )
    elif mount and storage.data:
        report.error(
            "storage_mount",
            f"{path} holds registry data on the disk below the mount point, which the mount would "
            f"hide: mount the new disk elsewhere, copy {path}/docker to it, "
            f"and rename {path}/docker away",
        )
    elif mount and storage.source_there is False:
        report.error(
            "storage_mount",
            "there is no such device or directory on the host: attach it, or write one that "
            "`lsblk -f` shows there",
            "src",
        )
    package = "cifs-utils" if mount and mount.get("fstype") == "cifs" else "nfs-common"
    brought = package in good.get("container_engine_packages", ())
    lacking = storage.helper_there is False and not storage.is_mount
    if mount and lacking and not brought:
        report.error(
            "storage_mount",
            f"the host has no program that mounts {mount['fstype']}: write "
            f"container_engine_packages: [{package}], or install {package} there",
            "fstype",
        )
    if storage.uid not in (None, 0, REGISTRY_ID):
        report.error(
            "storage_path",
            f"{path} belongs to user id {storage.uid}, from whom the registry would take it: "
            f"write a directory of its own, like {path}/registry",
        )
    if host.missing_data:
        # Of another path the inventory is wrong; of the same one the disk is.
        moved = host.state.storage_path != path
        report.error("storage_path" if moved else "host, data", host.missing_data)
    if storage.foreign_owner:
        report.error(
            "storage_path",
            f"{storage.foreign_owner} does not belong to the registry (user id {REGISTRY_ID}): "
            f"run `chown -R {REGISTRY_ID}:{REGISTRY_ID} {path}/docker` once, "
            "while nothing else uses it",
        )


def _other_source(mount: Mapping[str, Any], present: str | None) -> bool:
    """Whether the mounted source is surely another one. Names that only the host can resolve
    (UUID=, LABEL=, links in /dev, bind mounts) are taken to be right."""
    wanted = str(mount["src"])
    indirect = wanted.startswith(("/dev/disk/", "/dev/mapper/")) or re.match("[A-Z]+=", wanted)
    if not present or indirect or "bind" in str(mount.get("opts") or "").split(","):
        return False
    return wanted.rstrip("/") != present.rstrip("/")


def _check_space(good: Mapping[str, Any], host: HostFacts, report: Report) -> None:
    # On a full disk that a registry already serves from, users and rules must still be
    # changeable: a warning then.
    tell = report.warning if host.serves else report.error
    storage, engine = host.storage or Storage(), host.engine
    mounted_later = good.get("storage_mount") and not storage.is_mount
    for variable, place, free in (
        (
            "storage_free_minimum",
            f"storage_path {good.get('storage_path')}",
            None if mounted_later else storage.free_bytes,
        ),
        (
            "container_engine_free_minimum",
            f"Docker's directory {engine.root or '/var/lib/docker'}",
            engine.free_bytes,
        ),
    ):
        least = good.get(variable)
        if least is not None and free is not None and free < least:
            tell(
                variable,
                f"{readable_size(free)} are free in {place}, less than {readable_size(least)}: "
                f"make room, or write a smaller {variable}",
            )


def _check_name(good: Mapping[str, Any], host: HostFacts, report: Report) -> None:
    acme = good.get("certificates_tls_source") == "acme"
    resolved = host.resolved
    names = [("registry_hostname", "", str(good.get("registry_hostname", "")))]
    if acme:
        for number, name in enumerate(good.get("registry_extra_hostnames", ()), 1):
            names.append(("registry_extra_hostnames", f"entry {number}", name))
    for topic, place, name in names:
        if name not in resolved:
            continue
        # An entry of the host's own tells nothing of what an ACME server finds.
        if acme and not _leads_here(resolved[name], host):
            where = f"resolves to {', '.join(resolved[name])} on the host"
            report.warning(
                topic,
                f"{name} {where if resolved[name] else 'does not resolve on the host'}, and the "
                "ACME server must reach this host's port 80 by that name: right behind NAT or with "
                "split DNS (the fetch of the challenge path will tell), otherwise let public DNS "
                "lead it to this host",
                place,
            )
        elif not good.get("registry_hosts_entry"):
            _check_address(str(name), list(resolved[name]), host, report)


def _leads_here(addresses: Iterable[str], host: HostFacts) -> bool:
    own = {_plain(address) for address in host.addresses or ()}
    return any(_plain(address) in own and not is_loopback(address) for address in addresses)


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
            f"{name} resolves to {', '.join(addresses)}, which is no address of the host: "
            "right behind NAT or a load balancer, otherwise let DNS lead it to "
            f"{own or 'this host'}",
        )


def _first(addresses: Iterable[str], condition: Any) -> str:
    return next(address for address in addresses if condition(address))


def _plain(address: str) -> str:
    text = address.partition("/")[0]
    return str(ip_address(text)) if is_address(text) else text
