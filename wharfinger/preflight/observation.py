"""The request for `observe`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wharfinger.access.validation import NAME
from wharfinger.deployment import host_files

from .names import hostname_problem


def request(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The request for `observe`. It has valid host names only.

    A URL that was pasted with its credentials would be repeated in the answer, which -vvv prints.
    """
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
        "config_files": list(host_files.compared()),
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
