"""What the roles' argument specs cannot say about a variable: its range, which playbooks a mistake
in it stops, and when it is used at all.

The type, default, choices and description of a variable are in `roles/*/meta/argument_specs.yml`.
Preflight reads this table, and docs/reference.md is generated from both (bin/generate).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Number:
    """A whole number from `least` to `most`."""

    least: int
    most: int


@dataclass(frozen=True)
class Duration:
    """A duration such as `90s` or `10m`; `least` and `most` in seconds."""

    least: int
    most: int


@dataclass(frozen=True)
class Size:
    """A size such as `512m`; `least` in bytes."""

    least: int


Range = Number | Duration | Size


@dataclass(frozen=True)
class Only:
    """The variable is used only if `variable` has one of `values`. The usual value is first."""

    variable: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """One row. A mistake always stops site.yml; `stops` names the scopes of other playbooks."""

    range: Range | None = None
    stops: tuple[str, ...] = ()
    only: Only | None = None


_ACCOUNTS = ("users", "rotate_robots")
_SERVING = (*_ACCOUNTS, "rotate", "rollback")
_BACKUP = ("backup", "backup_drill")
_CONTENTS = ("retention", "garbage_collect", "scrub")
# Playbooks that write the token server's configuration or the registry's, which name the mirrors.
_MIRRORS = ("mirror", *_SERVING)


def _with_source(*sources: str) -> Only:
    return Only("certificates_tls_source", sources)


_EMBEDDED = Only("docker_auth_server", ("embedded",))
_FAILURES = Setting(Number(1, 999_999), _ACCOUNTS, _EMBEDDED)

#: Variable → its row. A variable without one has no range, stops site.yml only, and is always used.
SETTINGS: Mapping[str, Setting] = {
    "registry_hostname": Setting(stops=_SERVING),
    "registry_extra_hostnames": Setting(stops=("rotate",)),
    "registry_port": Setting(Number(1, 65535), _ACCOUNTS),
    "registry_auth": Setting(stops=_SERVING),
    "registry_users": Setting(stops=_ACCOUNTS),
    "registry_robots": Setting(stops=_ACCOUNTS),
    "registry_groups": Setting(stops=_ACCOUNTS),
    "registry_access": Setting(stops=_ACCOUNTS),
    # With less than ten seconds, even small requests may be cut off when a generation is replaced.
    "registry_drain_timeout": Setting(Duration(10, 3600), (*_SERVING, *_CONTENTS)),
    "registry_memory": Setting(Size(64 * 2**20)),
    "registry_pids": Setting(Number(32, 1_000_000)),
    "registry_retention": Setting(stops=_CONTENTS),
    "registry_retention_schedule": Setting(stops=_CONTENTS),
    "registry_untagged_keep": Setting(stops=_CONTENTS),
    # Clients cannot write during a garbage collection.
    "registry_gc_max_minutes": Setting(Number(5, 1440), _CONTENTS),
    "registry_gc_schedule": Setting(stops=_CONTENTS),
    "registry_check_schedule": Setting(stops=_CONTENTS),
    "registry_check_rate": Setting(stops=_CONTENTS),
    "docker_auth_server": Setting(stops=("users",), only=Only("registry_auth", ("token",))),
    "docker_auth_token_lifetime": Setting(Duration(60, 3600), (*_ACCOUNTS, "rotate")),
    "docker_auth_memory": Setting(Size(64 * 2**20)),
    "docker_auth_pids": Setting(Number(32, 1_000_000)),
    "docker_auth_account_failures": _FAILURES,
    "docker_auth_known_failures": _FAILURES,
    "docker_auth_address_failures": _FAILURES,
    "certificates_tls_source": Setting(stops=("rotate",)),
    "certificates_tls_certificate": Setting(only=_with_source("provided")),
    "certificates_tls_key": Setting(only=_with_source("provided")),
    "certificates_tls_ca": Setting(only=_with_source("provided", "acme")),
    "certificates_ca_days": Setting(Number(1, 36_500), ("rotate",)),
    # Apple's clients refuse server certificates that are valid for more than 825 days.
    "certificates_tls_days": Setting(Number(1, 825), ("rotate",)),
    "certificates_signing_days": Setting(Number(1, 36_500), ("rotate",)),
    "certificates_renew_days": Setting(Number(1, 825), ("rotate",)),
    "certificates_ca_offline": Setting(stops=("rotate",), only=_with_source("own_ca", "acme")),
    "certificates_acme_directory": Setting(stops=("rotate",), only=_with_source("acme")),
    "certificates_acme_ca": Setting(only=_with_source("acme")),
    "certificates_acme_email": Setting(stops=("rotate",), only=_with_source("acme")),
    "certificates_acme_eab_kid": Setting(stops=("rotate",), only=_with_source("acme")),
    "certificates_acme_eab_hmac_key": Setting(stops=("rotate",), only=_with_source("acme")),
    "certificates_alert_command": Setting(stops=("rotate",)),
    # An address may have 100 logins in progress, whatever this value is.
    "reverse_proxy_requests_per_address": Setting(Number(200, 1_000_000)),
    "images_archive": Setting(only=Only("images_source", ("archive",))),
    "storage_path": Setting(stops=(*_CONTENTS, "remove")),
    "storage_free_minimum": Setting(Size(0)),
    "container_engine_free_minimum": Setting(Size(0)),
    "backup_repository": Setting(stops=_BACKUP),
    # Every job of the contents writes the timers.
    "backup_schedule": Setting(stops=(*_BACKUP, *_CONTENTS)),
    "backup_drill_schedule": Setting(stops=(*_BACKUP, *_CONTENTS)),
    "backup_drill_size": Setting(Size(1 << 20), stops=_BACKUP),
    "backup_keep": Setting(stops=_BACKUP),
    "backup_rate": Setting(stops=_BACKUP),
    "backup_password": Setting(stops=_BACKUP),
    "backup_environment": Setting(stops=_BACKUP),
    "backup_ssh_key": Setting(stops=_BACKUP),
    "backup_ssh_host_keys": Setting(stops=_BACKUP),
    "registry_mirrors": Setting(stops=_MIRRORS),
    "registry_mirrors_schedule": Setting(stops=(*_BACKUP, *_CONTENTS)),
    "registry_base_images": Setting(stops=("base_images", *_SERVING)),
    "base_images_schedule": Setting(stops=("base_images", *_BACKUP, *_CONTENTS)),
    "preflight_clock_tolerance": Setting(Number(1, 3600)),
}


def stopping(scope: str) -> frozenset[str]:
    """The variables whose mistakes stop the playbook of this scope."""
    return frozenset(name for name, setting in SETTINGS.items() if scope in setting.stops)


def used_only(variable: str) -> Mapping[str, tuple[str, ...]]:
    """The variables that are used only for some values of `variable` → those values."""
    return {
        name: setting.only.values
        for name, setting in SETTINGS.items()
        if setting.only is not None and setting.only.variable == variable
    }
