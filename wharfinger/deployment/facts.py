"""The facts about a host and the deployment on it, before anything is changed.

`HostFacts` is what the host program's `observe` answers; as JSON it travels as plain mappings and
lists. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .certificate import Certificate
from .reported import Facts


@dataclass(frozen=True)
class Distribution(Facts):
    """The values of os-release."""

    id: str = ""
    version: str = ""
    codename: str = ""
    name: str = ""


@dataclass(frozen=True)
class Listener(Facts):
    """A listening TCP socket; program and pid if they are known."""

    address: str = ""
    port: int = 0
    program: str | None = None
    pid: int | None = None


@dataclass(frozen=True)
class Route(Facts):
    destination: str = ""
    device: str = ""


@dataclass(frozen=True)
class Network(Facts):
    """A docker network with its subnets."""

    name: str = ""
    subnets: tuple[str, ...] = ()


@dataclass(frozen=True)
class StackNetwork(Facts):
    """The docker network with the stack's name. ours: whether the toolkit made it; None if unknown.
    closed: only the host can reach it."""

    name: str = ""
    subnet: str | None = None
    internal: bool | None = None
    ours: bool | None = None
    closed: bool | None = None


@dataclass(frozen=True)
class Engine(Facts):
    """Docker. state: one of wharfinger.host.observation.engine_state.STATES. warning: why it would
    not start again. root: its directory; free_bytes: the space there."""

    state: str = ""
    detail: str | None = None
    present: bool = False
    running: bool = False
    warning: str | None = None
    version: str | None = None
    root: str | None = None
    images_store: str | None = None
    free_bytes: int | None = None


@dataclass(frozen=True)
class Site(Facts):
    """A server block of nginx. listen: each directive's arguments. ours: in the toolkit's file."""

    file: str = ""
    listen: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    ours: bool = False


@dataclass(frozen=True)
class Nginx(Facts):
    """The host's nginx. settings: the file that it reads. error: the error of `nginx -t`.
    connections: worker_connections; the toolkit may change it if connections_packaged."""

    present: bool = False
    running: bool = False
    masked: bool = False
    program: str | None = None
    version: str | None = None
    settings: str | None = None
    user: str = "www-data"
    group_id: int | None = None
    servers: tuple[Site, ...] = ()
    error: str | None = None
    njs: bool = True
    connections: int | None = None
    connections_packaged: bool = False
    ours: bool = False


@dataclass(frozen=True)
class Storage(Facts):
    """storage_path on the host; where it is not there yet, file system and sizes are those of
    the directory in which it would be made. is_source: what is mounted there is what
    storage_mount names; None where nobody can tell. foreign_owner: a path that is not the
    registry's."""

    path: str = ""
    exists: bool = False
    is_mount: bool = False
    source: str | None = None
    is_source: bool | None = None
    source_there: bool | None = None
    helper_there: bool | None = None
    fstype: str | None = None
    parent_mount: str | None = None
    free_bytes: int | None = None
    total_bytes: int | None = None
    read_only: bool = False
    uid: int | None = None
    gid: int | None = None
    mode: str | None = None
    data: bool = False
    data_uid: int | None = None
    foreign_owner: str | None = None


@dataclass(frozen=True)
class Robot(Facts):
    """generated: the identifier of its present secret. until: the end of the previous secret."""

    generated: str = ""
    former: str | None = None
    until: str | None = None


@dataclass(frozen=True)
class Generations(Facts):
    """The generations of the registry or the token server. serving: None if none serves."""

    serving: Mapping[str, Any] | None = None
    previous: int | None = None


@dataclass(frozen=True)
class Memory(Facts):
    """What the host remembers of earlier deployments. error: why its record cannot be read."""

    error: str | None = None
    images: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    network: StackNetwork | None = None
    generations: Mapping[str, Generations] = field(default_factory=dict)
    installed: Mapping[str, Any] = field(default_factory=dict)
    storage_path: str | None = None
    rotating: bool = False
    pending: tuple[str, ...] = ()


@dataclass(frozen=True)
class Container(Facts):
    """A container of ours, as docker lists it. kind and generation: None if its labels lack them.
    health: "healthy", "unhealthy", "starting" or "none" (it has no check). image: its id."""

    name: str = ""
    kind: str | None = None
    generation: int | None = None
    spec: str | None = None
    running: bool = False
    health: str = "none"
    image: str | None = None


@dataclass(frozen=True)
class Certificates(Facts):
    """The host's certificates: of its authority, the server and the signing keys; None for one that
    does not exist or cannot be read."""

    ca: Certificate | None = None
    tls: Certificate | None = None
    signing: Certificate | None = None
    signing_next: Certificate | None = None


@dataclass(frozen=True)
class HostFacts(Facts):
    """A host as `observe` reports it.

    init: systemd, sysvinit or none. watched: a timer or cron runs the renewals. prepared: `prepare`
    has nothing to do. addresses: None if unknown. clock: seconds since 1970. uids: user id → the
    user with this id, or None. files: path → SHA-256, or None. packages: name → version, or None.
    resolved: name → addresses. half_restored: what to do about a restore of the whole registry that
    was cut off, or None. removed: account → when it was removed. registries: image registry →
    "" or why it does not answer the host. acme: the same for the ACME server. Both: None if not
    checked.
    """

    python: str | None = None
    distribution: Distribution | None = None
    architecture: str | None = None
    init: str = ""
    watched: bool = False
    uid: int = 0
    hostname: str = ""
    fqdn: str = ""
    ipv6: bool | None = None
    addresses: tuple[str, ...] | None = None
    primary_address: str | None = None
    resolved: Mapping[str, list[str]] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    listeners: tuple[Listener, ...] = ()
    clock: float | None = None
    engine: Engine = field(default_factory=Engine)
    network: StackNetwork | None = None
    networks: tuple[Network, ...] = ()
    containers: tuple[Container, ...] = ()
    images: Mapping[str, list[str]] = field(default_factory=dict)
    foreign_containers: tuple[str, ...] = ()
    nginx: Nginx = field(default_factory=Nginx)
    storage: Storage | None = None
    uids: Mapping[str, str | None] = field(default_factory=dict)
    files: Mapping[str, str | None] = field(default_factory=dict)
    packages: Mapping[str, str | None] = field(default_factory=dict)
    unfinished_packages: tuple[str, ...] = ()
    apt_held_by: str | None = None
    prepared: bool = False
    verification_hash: str | None = None
    host_program: str | None = None
    certificates: Certificates = field(default_factory=Certificates)
    acme_accounts: tuple[str, ...] = ()
    missing_data: str | None = None
    half_restored: str | None = None
    robots: Mapping[str, Robot] = field(default_factory=dict)
    removed: Mapping[str, str] = field(default_factory=dict)
    removed_error: str | None = None
    state: Memory = field(default_factory=Memory)
    registries: Mapping[str, str] | None = None
    acme: str | None = None

    @property
    def serves(self) -> bool:
        """Whether a deployment serves here."""
        return any(kind.serving for kind in self.state.generations.values())


@dataclass(frozen=True, slots=True)
class Served:
    """What a host serves now; "" if it serves nothing."""

    hostname: str
    auth: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """What several roles need to know, worked out once.

    names: all names of the certificate, hostname first. address: HOST[:PORT], as docker takes it.
    addresses_for_clients: the same for each name. nginx_is_ours: the toolkit installed it.
    owned_ports: ports on which no other site listens; there our site answers unknown names, too.
    credentials: the directory of generated passwords. ca: the authority's file for clients; "" if
    they need none. ca_key: the path at which certificates_ca_offline keeps the authority's key.
    backup_password_file: the file of the generated password of backups; "" where there is none.
    storage_path and drain_timeout: as the inventory has them, for playbooks that do not include the
    roles of these variables. backup_schedule and backup_drill_schedule: the same; "" without a
    backup_repository. mirrors: of each entry of registry_mirrors `to` and `platforms`, without its
    login. mirrors_schedule: registry_mirrors_schedule; "" without mirrors.
    base_images: the repositories that registry_base_images fill. base_images_schedule: as given; ""
    without them.
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
    backup_password_file: str
    storage_path: str
    drain_timeout: str
    backup_schedule: str
    backup_drill_schedule: str
    mirrors: list[dict[str, Any]]
    mirrors_schedule: str
    base_images: list[str]
    base_images_schedule: str
