"""The files on a host: one row each. Pure, standard library only: it travels to the host.

Roles take path, template, group, mode and secrecy from here, `observe` the files whose content they
compare, `remove` what it deletes, and docs/reference.md its table (bin/generate).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from .fixed import JOB_UNIT, JOBS, REGISTRY_ID, TOKEN_SERVER_ID

ETC = "/etc/wharfinger"
CERTIFICATES = f"{ETC}/certificates"
REGISTRY = f"{ETC}/registry"
TOKEN_SERVER = f"{ETC}/token_server"
BACKUP = f"{ETC}/backup"
VAR = "/var/lib/wharfinger"
NGINX = "/etc/nginx"
UNITS = "/etc/systemd/system"
CRON = "/etc/cron.d"
# Links to the enabled timers.
TIMERS = f"{UNITS}/timers.target.wants"

SYSTEMD = "systemd"
OTHER_INIT = "no systemd"

# What removes a file: playbooks/remove.yml; the same with -e remove_data=HOSTNAME; or remove.yml if
# the host's record says that the toolkit brought the file.
REMOVE = "remove.yml"
REMOVE_DATA = "remove_data"
RECORDED = "remove.yml, if the toolkit brought it"


@dataclass(frozen=True)
class HostFile:
    """A file, or if the path ends in `/`, a directory with all that is in it. root owns each.

    role: the role that writes it; "" for the host program. template: its path below templates/; ""
    if the content is compiled. group: a number; None for root's. mode: in octal digits; "" if the
    host program's code sets it. secret: no output shows it. init: only on a host with this init
    system. jobs: only if one of these has a schedule. when: any other condition, in words.
    compared: `observe` reports its digest.
    """

    path: str
    holds: str
    role: str = ""
    template: str = ""
    group: int | None = None
    mode: str = ""
    secret: bool = False
    init: str = ""
    jobs: tuple[str, ...] = ()
    when: str = ""
    removed_by: str = REMOVE
    compared: bool = False

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    @property
    def timer_link(self) -> str | None:
        """For a systemd timer, the link that enables it; None for other files."""
        return f"{TIMERS}/{self.name}" if self.name.endswith(".timer") else None


def _unit(role: str, name: str, holds: str, template: str = "", job: str = "") -> HostFile:
    return HostFile(
        f"{UNITS}/{name}",
        holds,
        role,
        f"systemd/{template or name}.j2",
        mode="0644",
        init=SYSTEMD,
        jobs=(job,) if job else (),
        compared=True,
    )


# Of jobs that nothing waits for.
_BESIDE = f"{JOB_UNIT}check_contents.service.d/wharfinger.conf"


def _crontab(role: str, name: str, holds: str, jobs: tuple[str, ...] = ()) -> HostFile:
    return HostFile(
        f"{CRON}/{name}",
        holds,
        role,
        f"cron.d/{name}.j2",
        mode="0644",
        init=OTHER_INIT,
        jobs=jobs,
        compared=True,
    )


_PROVIDED = "certificates_tls_source: provided"

HOST_FILES: tuple[HostFile, ...] = (
    HostFile(
        "/etc/docker/daemon.json",
        "Docker Engine's settings",
        "container_engine",
        "docker/daemon.json.j2",
        mode="0644",
        when="the toolkit installs Docker Engine and the file is not there",
        removed_by=RECORDED,
        compared=True,
    ),
    HostFile(
        "/etc/docker/certs.d/NAME/ca.crt",
        "the authority that the host's own docker trusts",
        removed_by=RECORDED,
    ),
    HostFile(
        f"{NGINX}/sites-enabled/zz-wharfinger.conf",
        "nginx's site; in `conf.d` where there is no `sites-enabled`",
        "reverse_proxy",
        "nginx/wharfinger.conf.j2",
    ),
    HostFile(
        f"{NGINX}/wharfinger/wharfinger.js",
        "what nginx's own configuration cannot work out",
        "reverse_proxy",
        "nginx/wharfinger.js",
        mode="0644",
        when="nginx has njs",
        compared=True,
    ),
    HostFile(f"{NGINX}/wharfinger/upstreams.conf", "the containers that serve"),
    _unit("reverse_proxy", "nginx.service.d/wharfinger.conf", "nginx starts after docker"),
    _unit("certificates", "wharfinger-renew.service", "the renewals"),
    _unit("certificates", "wharfinger-renew.timer", "when they run"),
    _unit("certificates", "wharfinger-failed@.service", "reports a job that was killed"),
    _crontab("certificates", "wharfinger", "the renewals"),
    _unit("contents", f"{JOB_UNIT}.service", "the jobs: retention, garbage collection and others"),
    *(
        _unit("contents", f"{JOB_UNIT}{job}.service.d/wharfinger.conf", holds, template)
        for job, holds, template in (
            ("collect", "the same: collect's own", ""),
            ("check_contents", "the same: check_contents' own", _BESIDE),
            ("drill", "the same: drill's own", _BESIDE),
            ("mirror", "the same: mirror's own", _BESIDE),
            ("base_images", "the same: base_images' own", _BESIDE),
        )
    ),
    *(
        _unit(
            "contents",
            f"{JOB_UNIT}{job}.timer",
            f"when {job} runs",
            "wharfinger-contents.timer",
            job,
        )
        for job in JOBS
    ),
    _crontab("contents", "wharfinger-contents", "when the jobs run", JOBS),
    HostFile(
        f"{BACKUP}/settings.json",
        "what a backup needs to know",
        "backup",
        mode="0600",
        when="backup_repository",
        compared=True,
    ),
    HostFile(
        "/etc/wharfinger/mirrors/mirror.lock",
        "which digest each mirrored tag has",
        "mirrors",
        mode="0644",
        when="registry_mirrors",
        compared=True,
    ),
    HostFile(
        "/etc/wharfinger/mirrors/settings.json",
        "what is mirrored from where, with the logins",
        "mirrors",
        mode="0600",
        secret=True,
        when="registry_mirrors",
    ),
    # What may be a secret that a person has chosen is not compared by its digest.
    *(
        HostFile(
            f"{BACKUP}/{name}",
            holds,
            "backup",
            mode="0600",
            secret=True,
            when="backup_repository",
            removed_by=removed_by,
        )
        for name, holds, removed_by in (
            ("repository", "where backups go", REMOVE),
            ("password", "what they are encrypted with", REMOVE_DATA),
            ("environment", "variables that open the repository", REMOVE),
            ("ssh_key", "the key for an sftp repository", REMOVE),
            ("known_hosts", "the sftp server's host keys", REMOVE),
        )
    ),
    HostFile(
        f"{ETC}/contents.json",
        "retention's rules, schedules and limits",
        "contents",
        mode="0644",
        compared=True,
    ),
    HostFile(
        f"{ETC}/base_images.json",
        "which base images the host makes",
        "base_images",
        mode="0644",
        when="registry_base_images",
        compared=True,
    ),
    HostFile(
        f"{CERTIFICATES}/tls.crt",
        "the server's certificate",
        "certificates",
        mode="0644",
        when=_PROVIDED,
        removed_by=REMOVE_DATA,
    ),
    HostFile(
        f"{CERTIFICATES}/tls.key",
        "its key",
        "certificates",
        mode="0600",
        secret=True,
        when=_PROVIDED,
        removed_by=REMOVE_DATA,
    ),
    HostFile(
        f"{CERTIFICATES}/tls_ca.crt",
        "the authority that clients must trust, if it is not the host's own",
        "certificates",
        mode="0644",
        when="certificates_tls_ca",
        removed_by=REMOVE_DATA,
        compared=True,
    ),
    HostFile(
        f"{CERTIFICATES}/ca.key",
        "the key of the host's own authority",
        mode="0600",
        secret=True,
        when="certificates_ca_offline: false",
        removed_by=REMOVE_DATA,
    ),
    HostFile(
        f"{CERTIFICATES}/ca_previous.crt",
        "the previous authority",
        when="while clients change over to the new one",
        removed_by=REMOVE_DATA,
        compared=True,
    ),
    HostFile(
        f"{CERTIFICATES}/",
        "authority, signing key and certificates with their keys",
        mode="0700",
        secret=True,
        removed_by=REMOVE_DATA,
    ),
    HostFile(
        f"{ETC}/secrets/",
        "http.secret, and the passwords of the verification and of the copying of mirrors",
        mode="0700",
        secret=True,
        removed_by=REMOVE_DATA,
    ),
    HostFile(
        f"{REGISTRY}/htpasswd",
        "users' hashes for a registry that checks passwords",
        "registry",
        group=REGISTRY_ID,
        mode="0640",
        secret=True,
        when="registry_auth: htpasswd",
        compared=True,
    ),
    HostFile(
        f"{REGISTRY}/token_signing.pem",
        "the certificates whose tokens the registry trusts",
        group=REGISTRY_ID,
        mode="0640",
        when="registry_auth: token",
        compared=True,
    ),
    HostFile(f"{REGISTRY}/", "the registry's live directory", group=REGISTRY_ID, mode="0750"),
    HostFile(
        f"{TOKEN_SERVER}/auth_config.yml",
        "users and access",
        "docker_auth",
        "docker_auth/auth_config.yml.j2",
        group=TOKEN_SERVER_ID,
        mode="0640",
        secret=True,
        when="registry_auth: token",
        compared=True,
    ),
    HostFile(
        f"{TOKEN_SERVER}/",
        "the token server's live directory, with the signing key",
        group=TOKEN_SERVER_ID,
        mode="0750",
        secret=True,
    ),
    HostFile(
        f"{VAR}/generations/registry/N/files/config.yml",
        "the registry's configuration, one for each generation",
        "registry",
        "registry/config.yml.j2",
        group=REGISTRY_ID,
        mode="0640",
        secret=True,
    ),
    HostFile(f"{VAR}/generations/", "the generations' own files", mode="0700"),
    HostFile(f"{VAR}/images/", "images on their way into docker", mode="0700"),
    HostFile(
        f"{VAR}/users.json",
        "users and robots with the hashes of their passwords",
        "docker_auth",
        mode="0600",
        secret=True,
        removed_by=REMOVE_DATA,
    ),
    HostFile(
        f"{VAR}/removed_accounts.json",
        "who was removed, and when",
        "docker_auth",
        mode="0600",
        removed_by=REMOVE_DATA,
    ),
    HostFile(f"{VAR}/proxy/", "nginx's files before a change that is not complete"),
    HostFile(f"{VAR}/acme/", "answers to an ACME server's challenges"),
    HostFile(f"{VAR}/acme-work/", "certbot's work and log"),
    HostFile(f"{VAR}/contents/", "the report of each job's last run"),
    HostFile(f"{VAR}/succeeded/", "when each job last succeeded"),
    HostFile(
        f"{VAR}/backup/",
        "a backup's list, the newest backup, restic's cache, a restore that is under way",
    ),
    HostFile(f"{VAR}/base_images/", "which base images were made last, and one that is being made"),
    HostFile(f"{VAR}/base_images.lock", "held while base images are made"),
    HostFile(f"{VAR}/check.lock", "held while a check runs"),
    HostFile(f"{VAR}/backup.lock", "held while a backup or restore runs"),
    HostFile(f"{VAR}/drill.lock", "held while a backup or a drill runs"),
    HostFile(f"{VAR}/mirror_job.lock", "held while mirrors are copied"),
    HostFile(f"{VAR}/deployment.json", "how long a deployment takes"),
    HostFile(f"{VAR}/blobs.lock", "held while no blob may be removed"),
    HostFile(f"{VAR}/links.lock", "held while a backup reads its list"),
    HostFile(f"{VAR}/collection_waits.lock", "held by a collection that waits for a backup"),
    HostFile(f"{VAR}/clock.json", "the last look at the clock"),
    HostFile(
        f"{VAR}/state.json",
        "the record of what the toolkit brought, and of generations and images",
        removed_by=REMOVE_DATA,
    ),
    HostFile(
        f"{VAR}/logs.json",
        "up to where the token server's decisions were counted",
        removed_by=REMOVE_DATA,
    ),
    HostFile(
        "/var/log/wharfinger/",
        "nginx's access log and the token server's decisions",
        removed_by=REMOVE_DATA,
    ),
    HostFile("/usr/local/sbin/wharfinger-host", "starts the host program"),
    HostFile(
        "/usr/local/lib/wharfinger/wharfinger-host.pyz",
        "the host program",
    ),
    HostFile("/run/wharfinger/host.prom", "metrics of the host"),
    HostFile("/run/wharfinger/alert.json", "the alarm of last resort"),
    HostFile("/run/wharfinger/told.json", "which alarms were sent"),
    HostFile("/run/wharfinger/drill/", "the socket of a drill's registry"),
    HostFile("/run/wharfinger/asked.json", "what a person asks of a job's next run"),
)


def of_role(role: str, init: str, jobs: Collection[str] = ()) -> tuple[HostFile, ...]:
    """The role's units or crontabs for a host with this init system (`systemd` or any other).

    Those of jobs without a schedule are left out.
    """
    wanted = SYSTEMD if init == SYSTEMD else OTHER_INIT
    return tuple(
        file
        for file in _units(role)
        if file.init == wanted and (not file.jobs or set(file.jobs) & set(jobs))
    )


def left_over(
    role: str, init: str, jobs: Collection[str], digests: Mapping[str, str | None]
) -> tuple[HostFile, ...]:
    """Timers and crontabs of jobs that an earlier inventory, or another init system, has left.

    digests: path → digest, or None if the file does not exist.
    """
    wanted = of_role(role, init, jobs)
    return tuple(
        file
        for file in _units(role)
        if file.jobs and file not in wanted and digests[file.path] is not None
    )


def requests(files: Collection[HostFile], timers: Mapping[str, object]) -> list[dict[str, object]]:
    """What the action rendered_files takes for these units.

    Their templates get all `timers` (job → its values for a template), and a timer's own values as
    `timer`.
    """
    return [
        {
            "path": file.path,
            "variables": {
                "timers": timers,
                "timer": timers[file.jobs[0]] if file.timer_link and file.jobs else None,
            },
        }
        for file in files
    ]


def stale_timers(
    files: Collection[HostFile], wanted: Mapping[str, str], digests: Mapping[str, str | None]
) -> list[str]:
    """The names of timers that are not enabled yet, or that have another schedule.

    wanted and digests: path → digest.
    """
    return [
        file.name
        for file in files
        if file.timer_link and digests[file.timer_link] != wanted[file.path]
    ]


def removed_by(what: str) -> list[HostFile]:
    """The rows that `what` removes (REMOVE, REMOVE_DATA or RECORDED); directories first."""
    rows = [file for file in HOST_FILES if file.removed_by == what]
    return sorted(rows, key=lambda file: not file.path.endswith("/"))


def compared() -> Iterator[str]:
    """The paths whose digests `observe` reports."""
    for file in HOST_FILES:
        if file.compared:
            yield file.path
            if file.timer_link:
                yield file.timer_link


def at(path: str) -> HostFile:
    """The row of a path. Raises KeyError."""
    return _BY_PATH[path]


def _units(role: str) -> Iterator[HostFile]:
    return (file for file in HOST_FILES if file.role == role and file.init)


_BY_PATH = {file.path: file for file in HOST_FILES}
