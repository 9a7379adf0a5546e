"""All paths on a host, in one place, so that tests can use others."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from ...deployment import host_files

SITE = "zz-wharfinger.conf"


@dataclass(frozen=True)
class Paths:
    """The toolkit's files, and the system's files that it reads. Defaults: a real host."""

    etc: Path = Path(host_files.ETC)
    var: Path = Path(host_files.VAR)
    program: Path = Path("/usr/local/lib/wharfinger/wharfinger-host.pyz")
    command: Path = Path("/usr/local/sbin/wharfinger-host")
    nginx: Path = Path(host_files.NGINX)
    nginx_pid: Path = Path("/run/nginx.pid")
    nginx_log: Path = Path("/var/log/nginx")
    fstab: Path = Path("/etc/fstab")
    # The access log and the token server's decisions (logs.py).
    log: Path = Path("/var/log/wharfinger")
    # While this file is there, nginx tells clients to close their connections.
    closing: Path = Path("/run/wharfinger-closing")
    # The host's metrics, which nginx serves to Prometheus (metrics.py). A boot removes them.
    metrics: Path = Path("/run/wharfinger/host.prom")
    # In memory, for alert.py: the alarm of last resort, and alerts that state.json could not keep.
    alert: Path = Path("/run/wharfinger/alert.json")
    sent_alerts: Path = Path("/run/wharfinger/told.json")
    # What a person requests of a job's next run (contents/confirmation.py).
    confirmation: Path = Path("/run/wharfinger/asked.json")
    # The folder of the socket on which a drill's registry listens (backup/drill_registry.py).
    drill_sockets: Path = Path("/run/wharfinger/drill")
    docker_socket: Path = Path("/var/run/docker.sock")
    docker_settings: Path = Path("/etc/docker/daemon.json")
    docker_units: Path = Path("/etc/systemd/system/docker.service.d")
    # Read by the service and the init script of Debian's package.
    docker_defaults: Path = Path("/etc/default/docker")
    docker_log: Path = Path("/var/log/docker.log")
    proc: Path = Path("/proc")
    interfaces: Path = Path("/proc/sys/net/ipv4/conf")
    os_release: Path = Path("/etc/os-release")
    systemd: Path = Path("/run/systemd/system")
    # The locks of apt and dpkg.
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
        """The place of the file that has this path on a real host."""
        wanted = Path(path)
        root, place = Path("/"), Path("/")
        for field in fields(self):
            if isinstance(field.default, Path) and wanted.is_relative_to(field.default):
                root, place = max((root, place), (field.default, getattr(self, field.name)))
        return place / wanted.relative_to(root)

    @property
    def drill_socket(self) -> Path:
        """Where a drill's registry listens. The kernel takes at most 107 bytes."""
        return self.drill_sockets / "registry.sock"

    @property
    def timers(self) -> Path:
        """Links to the enabled timers."""
        return self.at(host_files.TIMERS)

    @property
    def timer(self) -> Path:
        """The link that enables the renewals' timer."""
        return self.timers / "wharfinger-renew.timer"

    @property
    def token_server_log(self) -> Path:
        """The output of token servers whose containers are gone."""
        return self.log / "token-server.log"

    @property
    def log_record(self) -> Path:
        """How far the decisions were counted (logs.py)."""
        return self.var / "logs.json"

    @property
    def certificates(self) -> Path:
        return self.etc / "certificates"

    @property
    def certificate_settings(self) -> Path:
        """The settings for renewals without a controller (keys/settings.py)."""
        return self.certificates / "settings.json"

    @property
    def served(self) -> Path:
        """What nginx serves: the certificate, intermediate ones and the key in one file, so that a
        power loss cannot leave a certificate with another's key."""
        return self.certificates / "tls.pem"

    @property
    def for_clients(self) -> Path:
        """The authority that clients must trust; missing if every system knows it."""
        return self.certificates / "trusted.crt"

    @property
    def token_server(self) -> Path:
        """The token server's live configuration, mounted into all its generations."""
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
    def mirror_password(self) -> Path:
        """Of the account that pushes what registry_mirrors name."""
        return self.secrets / "mirror_password"

    @property
    def mirrors(self) -> Path:
        """What the host must know to copy mirrors (mirrors/settings.py)."""
        return self.etc / "mirrors"

    @property
    def mirror_settings(self) -> Path:
        return self.mirrors / "settings.json"

    @property
    def mirror_lock(self) -> Path:
        """mirror.lock, as the controller has it."""
        return self.mirrors / "mirror.lock"

    @property
    def mirror_job(self) -> Path:
        """The lock that one run of the copier holds."""
        return self.var / "mirror_job.lock"

    @property
    def state(self) -> Path:
        return self.var / "state.json"

    @property
    def users(self) -> Path:
        return self.var / "users.json"

    @property
    def removed_accounts(self) -> Path:
        """The accounts that were removed from users.json, and when."""
        return self.var / "removed_accounts.json"

    @property
    def lock(self) -> Path:
        return self.var / "lock"

    @property
    def clock(self) -> Path:
        """The last reading of the clock (clock.py)."""
        return self.var / "clock.json"

    @property
    def generations(self) -> Path:
        return self.var / "generations"

    @property
    def contents_settings(self) -> Path:
        """The settings of the jobs on the registry's contents (contents/settings.py)."""
        return self.etc / "contents.json"

    @property
    def reports(self) -> Path:
        """The report of each job's last run."""
        return self.var / "contents"

    @property
    def aside(self) -> Path:
        """What garbage collection has put aside in the storage (contents/storage/aside.py)."""
        return self.var / "aside.json"

    @property
    def untagged(self) -> Path:
        """Manifests without a tag, and since when the timer has seen that."""
        return self.reports / "untagged.json"

    @property
    def backup(self) -> Path:
        """Where backups go: the repository's place, its password and what opens the way there."""
        return self.etc / "backup"

    @property
    def backup_settings(self) -> Path:
        """What the host must know to back itself up (backup/settings.py)."""
        return self.backup / "settings.json"

    @property
    def backup_repository(self) -> Path:
        """Which repository this host last opened (backup/place.py)."""
        return self.backup_work / "repository.json"

    @property
    def backup_work(self) -> Path:
        """The list of a backup, and what a restore has under way."""
        return self.var / "backup"

    @property
    def restoring(self) -> Path:
        """The restore that is not over (restoring.py)."""
        return self.backup_work / "restoring.json"

    @property
    def backup_cache(self) -> Path:
        """restic's copy of the repository's index, so that it is not fetched for each backup."""
        return self.var / "backup" / "cache"

    @property
    def backup_lock(self) -> Path:
        """One backup or restore at a time."""
        return self.var / "backup.lock"

    @property
    def drill_lock(self) -> Path:
        """Held by a drill, and by a backup: each reads what the other one may change."""
        return self.var / "drill.lock"

    @property
    def drill_record(self) -> Path:
        """What the next drill must know: which part of the repository it reads, and how fast the
        last one restored."""
        return self.backup_work / "drill.json"

    @property
    def newest_backup(self) -> Path:
        """The newest whole snapshot: its id, when it began, and its bytes."""
        return self.backup_work / "newest.json"

    @property
    def deployment_record(self) -> Path:
        """How long a deployment of this host takes (backup/recovery.py)."""
        return self.var / "deployment.json"

    @property
    def base_images_settings(self) -> Path:
        """What the host must know to make base images (base_images/settings.py)."""
        return self.etc / "base_images.json"

    @property
    def base_images(self) -> Path:
        """What was made last, and an image that is being made."""
        return self.var / "base_images"

    @property
    def base_images_lock(self) -> Path:
        """Held while base images are made."""
        return self.var / "base_images.lock"

    @property
    def blobs_lock(self) -> Path:
        """Held by a backup from its list to its end: no blob goes meanwhile."""
        return self.var / "blobs.lock"

    @property
    def links_lock(self) -> Path:
        """Held by a backup while it reads its list: no tag and no manifest goes by a job."""
        return self.var / "links.lock"

    @property
    def collection_waits(self) -> Path:
        """Held by a garbage collection that waits for a backup."""
        return self.var / "collection_waits.lock"

    @property
    def images(self) -> Path:
        """The directory of images that were copied to this host and are not loaded yet."""
        return self.var / "images"

    @property
    def site(self) -> Path:
        """Our nginx file. nginx reads it last of all sites, so that it never answers unknown names
        on a port that other sites use too."""
        debian = self.nginx / "sites-enabled"
        folder = debian if debian.is_dir() else self.nginx / "conf.d"
        return folder / SITE

    @property
    def upstreams(self) -> Path:
        return self.nginx / "wharfinger" / "upstreams.conf"
