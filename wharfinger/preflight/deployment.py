"""What several roles need to know, worked out once."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wharfinger import base_images, mirrors
from wharfinger.deployment.facts import Deployment, Generations, HostFacts, Served
from wharfinger.host.setup import zipapp
from wharfinger.registry import proxy


def resolves_here(resolved: Sequence[str], own: Sequence[str]) -> bool:
    """Whether a name's addresses lead to the host, and not by loopback, where docker speaks plain
    HTTP. Our own entry in /etc/hosts no longer leads there once the host's address has changed."""
    addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in resolved]
    return any(str(address) in own for address in addresses) and not any(
        address.is_loopback for address in addresses
    )


def served_auth(generations: Mapping[str, Generations]) -> str:
    """token or htpasswd, judged by the containers that serve; "" if no registry serves."""
    serving = {kind for kind, slots in generations.items() if slots.serving}
    if "registry" not in serving:
        return ""
    return "token" if "token_server" in serving else "htpasswd"


def deployment(settings: Mapping[str, Any], host: HostFacts, base: str) -> Deployment:
    """What follows from the inventory's settings and the host's state.

    settings: of the right types. host: as `observe` reports it. base: the inventory's folder.
    """
    hostname = settings["registry_hostname"]
    names = list(dict.fromkeys([hostname, *settings["registry_extra_hostnames"]]))
    port = settings["registry_port"]
    suffix = "" if port == 443 else f":{port}"
    credentials = str(Path(base) / "credentials")
    public = (
        settings["certificates_tls_source"] in ("provided", "acme")
        and not settings["certificates_tls_ca"]
    )
    installed = host.state.installed.get("packages", [])
    # Recorded before the package is installed, so that the record survives a run that is killed.
    nginx_is_ours = "nginx" in installed or not host.nginx.present
    sites = host.nginx.servers
    if nginx_is_ours:
        # The welcome page will be removed.
        sites = tuple(site for site in sites if not site.file.endswith("/sites-enabled/default"))
    return Deployment(
        hostname=hostname,
        names=names,
        address=hostname + suffix,
        addresses_for_clients=[name + suffix for name in names],
        url=f"https://{hostname}{suffix}",
        resolves_here=resolves_here(host.resolved.get(hostname, []), host.addresses or ()),
        host_program_is_current=host.host_program == zipapp.digest(),
        nginx_is_ours=nginx_is_ours,
        owned_ports=proxy.owned_ports(sites, [80, port]),
        credentials=credentials,
        ca="" if public else f"{credentials}/{hostname}-ca.crt",
        ca_key=f"{credentials}/{hostname}-ca.key",
        deployed=Served(
            hostname=proxy.served_name(host.nginx.servers),
            auth=served_auth(host.state.generations),
        ),
        backup_password_file=f"{credentials}/{hostname}-backup_password"
        if settings["backup_repository"] and not settings["backup_password"]
        else "",
        storage_path=settings["storage_path"],
        drain_timeout=settings["registry_drain_timeout"],
        backup_schedule=settings["backup_schedule"] if settings["backup_repository"] else "",
        backup_drill_schedule=(
            settings["backup_drill_schedule"] if settings["backup_repository"] else ""
        ),
        mirrors=[
            {"to": mirror.to, "platforms": list(mirror.platforms)}
            for mirror in mirrors.examine(settings["registry_mirrors"])[0]
        ],
        mirrors_schedule=(
            settings["registry_mirrors_schedule"] if settings["registry_mirrors"] else ""
        ),
        base_images=base_images.repositories(settings["registry_base_images"]),
        base_images_schedule=(
            settings["base_images_schedule"] if settings["registry_base_images"] else ""
        ),
    )
