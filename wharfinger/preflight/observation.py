"""What the host is asked when it is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wharfinger.access.validation import NAME

from .authority import PREVIOUS
from .names import hostname_problem

UNITS = "/etc/systemd/system"
CONTENTS_UNITS = [f"{UNITS}/wharfinger-contents@.service"]
CONTENTS_UNITS += [
    f"{UNITS}/wharfinger-contents@{job}.service.d/wharfinger.conf"
    for job in ("collect", "check_contents")
]
# Each timer, and the link that says it is to run.
CONTENTS_UNITS += [
    f"{folder}/wharfinger-contents@{job}.timer"
    for folder in (UNITS, f"{UNITS}/timers.target.wants")
    for job in ("retention", "collect", "check_contents")
]


def request(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What `observe` is asked: no name that is none (a URL that was pasted with its credentials
    would come back in the answer, which -vvv prints)."""
    mount = settings["storage_mount"]
    names = [settings["registry_hostname"]]
    if names[0] and settings["certificates_tls_source"] == "acme":
        names += settings["registry_extra_hostnames"]
    return {
        "storage_path": settings["storage_path"],
        # Without its options, which may hold a password.
        "storage_mount": {
            "src": str(mount.get("src") or ""),
            "bind": bool({"bind", "rbind"} & set(str(mount.get("opts") or "").split(","))),
            "fstype": str(mount.get("fstype") or ""),
        }
        if mount
        else None,
        "network": {"name": "wharfinger", "subnet": settings["container_engine_network"]},
        "config_files": [
            "/etc/cron.d/wharfinger",
            "/etc/cron.d/wharfinger-contents",
            "/etc/docker/daemon.json",
            "/etc/nginx/wharfinger/wharfinger.js",
            "/etc/systemd/system/nginx.service.d/wharfinger.conf",
            "/etc/systemd/system/wharfinger-renew.service",
            "/etc/systemd/system/wharfinger-failed@.service",
            "/etc/systemd/system/wharfinger-renew.timer",
            *CONTENTS_UNITS,
            PREVIOUS,
            "/etc/wharfinger/certificates/tls_ca.crt",
            "/etc/wharfinger/contents.json",
            "/etc/wharfinger/registry/htpasswd",
            "/etc/wharfinger/registry/token_signing.pem",
            "/etc/wharfinger/token_server/auth_config.yml",
        ],
        "names": [name for name in names if hostname_problem(name) is None],
        "packages": settings["container_engine_packages"],
        "accounts": [
            name
            for variable in ("registry_users", "registry_robots")
            if isinstance(settings[variable], dict)
            for name in settings[variable]
            if isinstance(name, str) and NAME.fullmatch(name)
        ],
    }
