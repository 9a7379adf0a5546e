"""Where everything lies on a host, in one place so that tests can lay it out elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from ...deployment import host_files

SITE = "zz-wharfinger.conf"


@dataclass(frozen=True)
class Paths:
    """The toolkit's files and the system's files it reads. The defaults are a real host's."""

    etc: Path = Path(host_files.ETC)
    var: Path = Path(host_files.VAR)
    program: Path = Path("/usr/local/lib/wharfinger/wharfinger-host.pyz")
    command: Path = Path("/usr/local/sbin/wharfinger-host")
    nginx: Path = Path(host_files.NGINX)
    nginx_pid: Path = Path("/run/nginx.pid")
    nginx_log: Path = Path("/var/log/nginx")
    # Who did what: the access log and the token server's decisions (logs.py).
    log: Path = Path("/var/log/wharfinger")
    # While it is there, nginx tells clients to use no connection again: the site looks for it.
    closing: Path = Path("/run/wharfinger-closing")
    # What nginx serves to Prometheus of the host itself (metrics.py): a boot ends what it tells.
    metrics: Path = Path("/run/wharfinger/host.prom")
    # In memory, for the alarm of last resort (alert.py).
    alert: Path = Path("/run/wharfinger/alert.json")
    told: Path = Path("/run/wharfinger/told.json")
    # What a person asks of a job's next run (contents/confirmation.py).
    confirmation: Path = Path("/run/wharfinger/asked.json")
    docker_socket: Path = Path("/var/run/docker.sock")
    docker_settings: Path = Path("/etc/docker/daemon.json")
    docker_units: Path = Path("/etc/systemd/system/docker.service.d")
    # What the service and the init script of Debian's package read.
    docker_defaults: Path = Path("/etc/default/docker")
    docker_log: Path = Path("/var/log/docker.log")
    proc: Path = Path("/proc")
    interfaces: Path = Path("/proc/sys/net/ipv4/conf")
    os_release: Path = Path("/etc/os-release")
    systemd: Path = Path("/run/systemd/system")
    # What takes turns among apt and dpkg: each is a lock that one process holds.
    apt_locks: tuple[Path, ...] = (
        Path("/var/lib/dpkg/lock-frontend"),
        Path("/var/lib/dpkg/lock"),
        Path("/var/lib/apt/lists/lock"),
        Path("/var/cache/apt/archives/lock"),
    )
    apt_lists: Path = Path("/var/lib/apt/lists")
    units: Path = Path(host_files.UNITS)
    cron: Path = Path(host_files.CRON)

    def at(self, path: str) -> Path:
        """Where the file is that has this path on a real host."""
        wanted = Path(path)
        root, here = Path("/"), Path("/")
        for field in fields(self):
            if isinstance(field.default, Path) and wanted.is_relative_to(field.default):
                root, here = max((root, here), (field.default, getattr(self, field.name)))
        return here / wanted.relative_to(root)

    @property
    def timers(self) -> Path:
        """Links to the timers that are to run."""
        return self.at(host_files.TIMERS)

    @property
    def timer(self) -> Path:
        """The renewals' timer is to run."""
        return self.timers / "wharfinger-renew.timer"

    @property
    def token_server_log(self) -> Path:
        """What token servers said whose containers are gone."""
        return self.log / "token-server.log"

    @property
    def log_record(self) -> Path:
        """Up to where the decisions were counted (logs.py)."""
        return self.var / "logs.json"

    @property
    def certificates(self) -> Path:
        return self.etc / "certificates"

    @property
    def certificate_settings(self) -> Path:
        """What the host must know to renew its certificates by itself (keys/settings.py)."""
        return self.certificates / "settings.json"

    @property
    def served(self) -> Path:
        """What nginx serves: certificate, intermediate ones and key in one file, so that a power
        loss cannot leave a certificate with another's key."""
        return self.certificates / "tls.pem"

    @property
    def for_clients(self) -> Path:
        """The authority that clients must trust; not there where every system knows it."""
        return self.certificates / "trusted.crt"

    @property
    def token_server(self) -> Path:
        """The live configuration of the token server, mounted into every generation of it."""
        return self.etc / "token_server"

    @property
    def registry(self) -> Path:
        """The registry's live directory: trusted signing certificates, or htpasswd."""
        return self.etc / "registry"

    @property
    def secrets(self) -> Path:
        return self.etc / "secrets"

    @property
    def http_secret(self) -> Path:
        return self.secrets / "http_secret"

    @property
    def verification_password(self) -> Path:
        return self.secrets / "verification_password"

    @property
    def state(self) -> Path:
        return self.var / "state.json"

    @property
    def users(self) -> Path:
        return self.var / "users.json"

    @property
    def removed_accounts(self) -> Path:
        """Who was removed from users.json, and when."""
        return self.var / "removed_accounts.json"

    @property
    def lock(self) -> Path:
        return self.var / "lock"

    @property
    def clock(self) -> Path:
        """What the last look at the clock has left (clock.py)."""
        return self.var / "clock.json"

    @property
    def generations(self) -> Path:
        return self.var / "generations"

    @property
    def contents_settings(self) -> Path:
        """What the host must know to look after the registry's contents by itself
        (contents/settings.py)."""
        return self.etc / "contents.json"

    @property
    def reports(self) -> Path:
        """What the last run of each job has left."""
        return self.var / "contents"

    @property
    def aside(self) -> Path:
        """What is put aside in the storage while garbage is collected (contents/aside.py)."""
        return self.var / "aside.json"

    @property
    def untagged(self) -> Path:
        """Which manifests have no tag, and since when the timer has seen that."""
        return self.reports / "untagged.json"

    @property
    def images(self) -> Path:
        """Where images that travel to this host lie until they are loaded."""
        return self.var / "images"

    @property
    def site(self) -> Path:
        """Our one nginx file. Read last of all sites, so that on a port that others serve too ours
        never becomes the one that answers unknown names."""
        debian = self.nginx / "sites-enabled"
        folder = debian if debian.is_dir() else self.nginx / "conf.d"
        return folder / SITE

    @property
    def upstreams(self) -> Path:
        return self.nginx / "wharfinger" / "upstreams.conf"
