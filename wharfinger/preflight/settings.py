"""The inventory's values without the host: names, ports, paths, sizes, the subnet."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from ipaddress import IPv4Network, ip_address
from pathlib import PurePosixPath
from typing import Any

from wharfinger import images, values
from wharfinger.access.robots import read_network
from wharfinger.backups import check_backups
from wharfinger.base_images import check_base_images
from wharfinger.deployment import host_files
from wharfinger.deployment.problems import Refuse, Report
from wharfinger.deployment.settings import SETTINGS, Duration, Number, Range, Size, used_only
from wharfinger.suggestions import nearest

from .acme import check_acme
from .contents import check_contents
from .controller import on_controller
from .names import hostname_problem, is_address
from .report import shown

PRIVATE = tuple(IPv4Network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))

# Directories of the system. Data must not lie directly in them: storage_path's owner and mode would
# become theirs.
_SYSTEM = frozenset(
    {
        "/",
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/home",
        "/lib",
        "/lib32",
        "/lib64",
        "/media",
        "/mnt",
        "/opt",
        "/proc",
        "/root",
        "/run",
        "/sbin",
        "/srv",
        "/sys",
        "/tmp",
        "/usr",
        "/usr/lib",
        "/usr/local",
        "/usr/share",
        "/var",
        "/var/backups",
        "/var/cache",
        "/var/lib",
        "/var/lib/docker",
        host_files.VAR,
        "/var/local",
        "/var/log",
        "/var/opt",
        "/var/spool",
        "/var/tmp",
        "/var/www",
    }
)
# Files below these do not last, cannot be reached by nginx, or belong to one program.
_CLOSED = (
    "/boot",
    "/dev",
    "/etc",
    "/proc",
    "/root",
    "/run",
    "/sys",
    "/tmp",
    "/var/lib/docker",
    "/var/run",
    "/var/tmp",
    f"{host_files.VAR}/generations",
)
_MOUNT_KEYS = ("src", "fstype", "opts")
_PATH = re.compile(r"/[A-Za-z0-9._/@+-]*")


def check_settings(
    good: Mapping[str, Any],
    controller: Mapping[str, Any],
    report: Report,
    *,
    given: Container[str] = (),
    hostname_is_guessed: bool = False,
) -> dict[str, Any]:
    """Reports invalid values; returns the valid ones, durations and sizes as numbers.

    good: variables of the right type (see `check_variables`); if the inventory has no
    registry_hostname, it is the host's own name (`hostname_is_guessed`). controller:
    `archive_error`, the error from opening images_archive. given: the names of the variables that
    the inventory sets, without defaults.
    """
    checked = dict(good)

    def refuse(topic: str, message: str, place: str = "") -> None:
        report.error(topic, message, place)
        checked.pop(topic, None)

    for name, setting in SETTINGS.items():
        if setting.range is not None and name in checked:
            value, problem = _ranged(name, checked[name], setting.range)
            checked[name] = value
            if problem:
                refuse(name, problem)
    if "registry_port" in checked and checked["registry_port"] == 80:
        refuse(
            "registry_port",
            "80 is taken by the redirect to https: write 443 or another port",
        )
    if "registry_hostname" in checked:
        problem = _registry_hostname_problem(checked["registry_hostname"], good)
        if problem:
            guessed = "is empty, and so the host's own name: " if hostname_is_guessed else ""
            refuse("registry_hostname", guessed + problem)
    if "registry_extra_hostnames" in checked:
        _check_extra_hostnames(checked, report)
    if "storage_path" in checked:
        problem = _storage_path_problem(checked["storage_path"])
        if problem:
            refuse("storage_path", problem)
    if checked.get("storage_mount"):
        _check_storage_mount(checked, refuse=refuse)
    if "container_engine_network" in checked:
        problem = subnet_problem(checked["container_engine_network"])
        if problem:
            refuse("container_engine_network", problem)
    problem = _metrics_listen_problem(checked)
    if problem:
        refuse("reverse_proxy_metrics_listen", problem)
    _check_trusted_networks(checked, report)
    _check_certificates(checked, given, refuse=refuse, report=report)
    _check_limits(checked, given, refuse)
    _check_images(checked, controller, report)
    check_contents(checked, refuse, report)
    check_backups(checked, refuse)
    check_base_images(checked, refuse)
    return checked


def _ranged(name: str, value: Any, wanted: Range) -> tuple[Any, str | None]:
    """The value as a number (seconds or bytes if it has a unit), and what is wrong with it."""
    match wanted:
        case Number(least, most):
            if not least <= value <= most:
                return value, f"{value} is out of range: write a number from {least} to {most}"
        case Duration(least, most):
            try:
                value = values.duration(value)
            except ValueError:
                return (
                    value,
                    f"{shown(str(value))} is not a duration: write seconds, or 90s, 10m, 1h",
                )
            if name == "registry_drain_timeout" and value < least:
                return value, (
                    f"{value} s is too short: at each change, requests that take "
                    f"longer are cut off, like a layer being pushed: write at least {least}s; "
                    "10m lets large layers through"
                )
            if not least <= value <= most:
                return value, (
                    f"{value} s is out of range: write a duration from {least}s to {most}s"
                )
        case Size(least):
            try:
                value = values.size(value)
            except ValueError:
                return value, f"{shown(str(value))} is not a size: write bytes, or 512m, 2g, 2GiB"
            if value < least:
                return value, (
                    f"{values.readable_size(value)} is too little: "
                    f"write at least {values.readable_size(least)}"
                )
    return value, None


def _registry_hostname_problem(name: str, good: Mapping[str, Any]) -> str | None:
    if is_address(name):
        return (
            f"{shown(name)} is an address, and clients do not tell the proxy which address they "
            "mean: write a name here and the address into registry_extra_hostnames"
        )
    problem = hostname_problem(name)
    if problem:
        return problem
    if name == "localhost" or name.endswith((".localhost", ".localdomain")):
        return (
            f"{shown(name)} always means the machine itself, and docker talks plain HTTP to it: "
            "write the name that other machines use, like registry.example.com"
        )
    if "." not in name and good.get("registry_port", 443) == 443:
        return (
            f"{shown(name)} has no dot, so docker would take it for a repository on Docker Hub: "
            f"write a name with a dot, like {name}.internal, or a registry_port other than 443"
        )
    return None


def address_and_port(text: str) -> tuple[str, int] | None:
    """(address, port) of `127.0.0.1:9180` or `[::1]:9180`; None for any other text."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})", text)
    if match is None or not 1 <= int(match[3]) <= 65535:
        return None
    address = match[1] or match[2]
    if not is_address(address) or (":" in address) is not bool(match[1]):
        return None
    return str(ip_address(address)), int(match[3])


def _metrics_listen_problem(checked: Mapping[str, Any]) -> str | None:
    text = checked.get("reverse_proxy_metrics_listen")
    if not text:
        return None
    wanted = address_and_port(text)
    if wanted is None:
        return (
            f"{shown(text)} is not an address with a port: write 127.0.0.1:9180, another address "
            'of the host (IPv6 as [fd00::1]:9180), or "" for no metrics'
        )
    address, port = wanted
    if ip_address(address).is_unspecified:
        return (
            f"{shown(text)} is every address of the host, and anyone who reaches one of them "
            f"could read the metrics: write the one to listen on, such as 127.0.0.1:{port}"
        )
    if port in (80, checked.get("registry_port", 443)):
        return (
            f"{shown(text)} has a port on which the registry itself is served: write another, "
            f"such as {text.rpartition(':')[0]}:9180"
        )
    return None


def _check_trusted_networks(checked: Mapping[str, Any], report: Report) -> None:
    for number, text in enumerate(checked.get("reverse_proxy_trusted_networks", ()), 1):
        network = read_network(text)
        variable, place = "reverse_proxy_trusted_networks", f"entry {number}"
        if isinstance(network, str):
            report.error(variable, network, place)
        elif network.prefixlen == 0:
            report.error(
                variable,
                f"{network} is everybody, and any client could say that it has another address: "
                "write the addresses of your load balancers, like 10.0.0.7 or 10.0.0.0/24",
                place,
            )


def _check_extra_hostnames(checked: Mapping[str, Any], report: Report) -> None:
    seen = [checked.get("registry_hostname")]
    for number, name in enumerate(checked["registry_extra_hostnames"], 1):
        variable, place = "registry_extra_hostnames", f"entry {number}"
        if is_address(name):
            address = ip_address(name)
            if address.is_unspecified or address.is_multicast:
                message = (
                    f"{shown(name)} is not the address of a host: write the host's own address"
                )
                report.error(variable, message, place)
                continue
        else:
            problem = hostname_problem(name)
            if problem:
                report.error(variable, problem, place)
                continue
        if name in seen:
            report.error(variable, f"{shown(name)} is there already: remove one of them", place)
        seen.append(name)


def _storage_path_problem(text: str) -> str | None:
    if not text.startswith("/"):
        return f"{shown(text)} is not an absolute path: write one like /srv/registry"
    if not _PATH.fullmatch(text):
        return (
            f"{shown(text)} has characters that nginx or docker would misread: "
            "write a path of letters, digits and . _ @ + - /"
        )
    path = PurePosixPath(text)
    if ".." in path.parts:
        return f"{shown(text)} has a .. in it: write the path that is meant"
    plain = "/" + str(path).lstrip("/")
    if plain in _SYSTEM:
        below = "/srv/registry" if plain == "/" else f"{plain}/registry"
        if any(below.startswith(f"{closed}/") for closed in _CLOSED):
            below = "/srv/registry"
        return f"{shown(text)} is a directory of the system: write one of its own, like {below}"
    for closed in _CLOSED:
        if plain.startswith(f"{closed}/"):
            return f"{shown(text)} lies in {closed}, which is not for data: write /srv/registry"
    if plain != text:
        return f"{shown(text)} has too many slashes or dots: write {shown(plain)}"
    return None


def _check_storage_mount(checked: dict[str, Any], *, refuse: Refuse) -> None:
    """Checks storage_mount. Its values are never shown: the options may hold a password."""
    mount = checked["storage_mount"]
    example = "like {src: /dev/sdb1, fstype: ext4, opts: noatime}"
    for key, value in mount.items():
        variable, place = "storage_mount", values.spelt(key)
        if key not in _MOUNT_KEYS:
            near = nearest(str(key), _MOUNT_KEYS, 0.7)
            instead = f"write {near}" if near else f"its keys are {', '.join(_MOUNT_KEYS)}"
            refuse(variable, f"is not a key of storage_mount: {instead}", place)
        elif not isinstance(value, str):
            message = f"is {values.kind(value)}: write what /etc/fstab has, {example}"
            refuse(variable, message, place)
        elif key == "opts" and re.search(r"(?i)\bpass(word|wd)?=", value):
            refuse(
                variable,
                "holds a password, which /etc/fstab shows to everyone on the host: "
                "write credentials=FILE, a file there that only root reads",
                place,
            )
        # /etc/fstab separates its fields by blanks.
        elif re.search(r"\s", value):
            refuse(variable, f"has a blank in it: write one word, {example}", place)
    for key in ("src", "fstype"):
        if mount.get(key, "") == "":
            refuse("storage_mount", f"is missing: write what /etc/fstab has, {example}", key)


def subnet_problem(text: str) -> str | None:
    """What is wrong with `text` as the subnet of the stack's own network, or None."""
    example = "like 172.31.255.240/28"
    try:
        subnet = IPv4Network(text)
    except ValueError:
        try:
            loose = IPv4Network(text, strict=False)
        except ValueError:
            return f"{shown(text)} is not an IPv4 subnet: write one {example}"
        return f"{shown(text)} is an address within a subnet: write {shown(str(loose))}"
    if not any(subnet.subnet_of(private) for private in PRIVATE):
        return (
            f"{shown(text)} is not private: write a subnet of 10.0.0.0/8, 172.16.0.0/12 "
            f"or 192.168.0.0/16, {example}"
        )
    if subnet.prefixlen > 28:
        return f"{shown(text)} has too few addresses: write a /28 or larger, {example}"
    return None


def _check_certificates(
    checked: Mapping[str, Any],
    given: Container[str],
    *,
    refuse: Refuse,
    report: Report,
) -> None:
    source = checked.get("certificates_tls_source")
    for name, sources in used_only("certificates_tls_source").items():
        if source and source not in sources and name in given and checked.get(name):
            report.warning(
                name,
                f"is not used, since certificates_tls_source is {source}: "
                f"write certificates_tls_source: {sources[0]}, or remove it",
            )
    if source == "acme":
        check_acme(checked, refuse)
    days, longest = checked.get("certificates_tls_days"), checked.get("certificates_ca_days")
    if source == "own_ca" and days and longest and days > longest:
        refuse(
            "certificates_tls_days",
            f"{days} days outlive the CA's {longest}: "
            f"write at most {longest}, or a larger certificates_ca_days",
        )
    ways = ("certificates_alert_command", "reverse_proxy_metrics_listen")
    if all(checked.get(name) == "" for name in ways):
        report.warning(
            ways[0],
            f"is empty, and so is {ways[1]}: nobody learns that the host cannot renew a "
            "certificate or that its disk is full: write a command for it, such as mail -s "
            '"$WHARFINGER_HOSTNAME" admin@example.com',
        )
    if re.search(r"[\0\r\n]", checked.get("certificates_alert_command", "")):
        refuse(
            "certificates_alert_command",
            "has a line break or a NUL in it: write one line of shell, "
            "like mail -s registry root, or the path of a script on the host",
        )


def _check_limits(checked: Mapping[str, Any], given: Container[str], refuse: Refuse) -> None:
    """Limits that nothing enforces are errors: who writes them counts on them."""
    for name in used_only("docker_auth_server"):
        if name not in checked or name not in given:
            continue
        if checked.get("registry_auth") == "htpasswd":
            refuse(
                name,
                "with registry_auth htpasswd nothing counts wrong passwords: "
                "write registry_auth: token, or remove it",
            )
        elif checked.get("docker_auth_server") == "cesanta":
            refuse(
                name,
                "docker_auth does not count wrong passwords: "
                "write docker_auth_server: embedded, or remove it",
            )
    account = checked.get("docker_auth_account_failures")
    known = checked.get("docker_auth_known_failures")
    if account and known and known >= account:
        refuse(
            "docker_auth_known_failures",
            f"{known} must be smaller than docker_auth_account_failures, {account}: "
            + (f"write at most {account - 1}" if account > 1 else "write at least 2 there"),
        )


def _check_images(
    checked: Mapping[str, Any], controller: Mapping[str, Any], report: Report
) -> None:
    pinned = checked.get("images_pinned") or {}
    for problem in images.problems(pinned):
        report.error("images_pinned", problem)
    pulled = ("images_registry", "images_token_server", "images_docker_auth")
    references = [checked.get(name) for name in pulled]
    for reference in pinned:
        # A key that is not text has been refused above.
        if isinstance(reference, str) and reference not in references:
            report.warning(
                "images_pinned",
                f"{shown(reference)} pins nothing: write the reference exactly as in "
                f"{', '.join(pulled[:-1])} or {pulled[-1]}",
            )
    source, archive = checked.get("images_source"), checked.get("images_archive")
    if source == "archive" and not archive:
        report.error(
            "images_archive",
            "is empty, but images_source is archive: write the bundle's path on the controller",
        )
    elif source == "archive" and not (path := on_controller(str(archive), controller)).is_file():
        report.error(
            "images_archive",
            f"{shown(str(path))} is not a file on the controller: write the bundle's path",
        )
    elif source == "archive" and controller.get("archive_error"):
        # images/build.py puts the variable's name in front.
        words = str(controller["archive_error"])
        report.error("images_archive", words.removeprefix("images_archive: "))
    elif archive and source not in (None, "archive"):
        report.warning(
            "images_archive",
            f"is not used, since images_source is {source}: "
            "write images_source: archive, or remove it",
        )
