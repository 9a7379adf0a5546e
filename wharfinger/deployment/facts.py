"""What is known of a host and of the deployment on it, before anything is changed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Served:
    """What a host serves now; "" where it does not."""

    hostname: str
    auth: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the roles need to know and nobody should work out twice.

    names: all of the certificate's, hostname first. address: HOST[:PORT], as docker wants it;
    addresses_for_clients: the same for each name. nginx_is_ours: the toolkit installed it.
    owned_ports: those on which no other site listens; there ours answers unknown names too.
    credentials: the directory of generated passwords. ca: the authority's file for clients, ""
    where they need none; ca_key: where certificates_ca_offline keeps the authority's key.
    storage_path and drain_timeout: as the inventory has them, for playbooks without the roles whose
    variables they are.
    """

    hostname: str
    names: list[str]
    address: str
    addresses_for_clients: list[str]
    url: str
    resolves_here: bool
    host_program_is_current: bool
    nginx_is_ours: bool
    owned_ports: list[int]
    credentials: str
    ca: str
    ca_key: str
    deployed: Served
    storage_path: str
    drain_timeout: str
