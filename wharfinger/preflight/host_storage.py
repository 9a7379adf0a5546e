"""The registry's storage, and how much space there is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from wharfinger.deployment.facts import HostFacts, Storage
from wharfinger.deployment.fixed import REGISTRY_ID, TOKEN_SERVER_ID
from wharfinger.deployment.problems import Report
from wharfinger.values import readable_size


def check_users(host: HostFacts, report: Report) -> None:
    """Reports users that have the ids of the containers' processes."""
    roles = {str(REGISTRY_ID): "the registry", str(TOKEN_SERVER_ID): "the token server"}
    for uid, name in host.uids.items():
        if name:
            report.error(
                "host, users",
                f"user id {uid} belongs to {name}, and {roles[uid]} runs as it: "
                f"give {name} another id (usermod --uid)",
            )


def check_storage(good: Mapping[str, Any], host: HostFacts, report: Report) -> None:
    """Reports storage that is not what the inventory says, or that belongs to others."""
    storage, path = host.storage, good.get("storage_path")
    if not storage or not path:
        return
    mount = good.get("storage_mount")
    if mount and storage.is_mount:
        is_source = storage.is_source
        if is_source is None:
            is_source = not _other_source(mount, storage.source)
        if not is_source:
            report.error(
                "storage_mount",
                f"{path} is mounted from {storage.source}, which is another source: "
                "write that, or unmount it first",
                "src",
            )
    elif mount and storage.data:
        report.error(
            "storage_mount",
            f"{path} holds registry data on the disk below the mount point, which the mount would "
            f"hide: mount the new disk elsewhere, copy {path}/docker to it, "
            f"and rename {path}/docker away",
        )
    elif mount and storage.source_there is False:
        report.error(
            "storage_mount",
            "there is no such device or directory on the host: attach it, or write one that "
            "`lsblk -f` shows there",
            "src",
        )
    package = "cifs-utils" if mount and mount.get("fstype") == "cifs" else "nfs-common"
    brought = package in good.get("container_engine_packages", ())
    lacking = storage.helper_there is False and not storage.is_mount
    if mount and lacking and not brought:
        report.error(
            "storage_mount",
            f"the host has no program that mounts {mount['fstype']}: write "
            f"container_engine_packages: [{package}], or install {package} there",
            "fstype",
        )
    if storage.uid not in (None, 0, REGISTRY_ID):
        report.error(
            "storage_path",
            f"{path} belongs to user id {storage.uid}, and the registry would become its owner: "
            f"write a directory of its own, like {path}/registry",
        )
    if host.missing_data:
        # If the path has changed, the inventory is wrong; if not, the disk is.
        moved = host.state.storage_path != path
        report.error("storage_path" if moved else "host, data", host.missing_data)
    if storage.foreign_owner:
        report.error(
            "storage_path",
            f"{storage.foreign_owner} does not belong to the registry (user id {REGISTRY_ID}): "
            f"run `chown -R {REGISTRY_ID}:{REGISTRY_ID} {path}/docker` once, "
            "while nothing else uses it",
        )


def _other_source(mount: Mapping[str, Any], present: str | None) -> bool:
    """Whether it is certain that another source is mounted. Names that only the host can resolve
    (UUID=, LABEL=, links in /dev, bind mounts) count as right."""
    wanted = str(mount["src"])
    indirect = wanted.startswith(("/dev/disk/", "/dev/mapper/")) or re.match("[A-Z]+=", wanted)
    if not present or indirect or "bind" in str(mount.get("opts") or "").split(","):
        return False
    return wanted.rstrip("/") != present.rstrip("/")


def check_space(good: Mapping[str, Any], host: HostFacts, report: Report) -> None:
    """Reports disks with too little space."""
    # A warning if a registry already serves from a full disk: users and rules must stay changeable.
    tell = report.warning if host.serves else report.error
    storage, engine = host.storage or Storage(), host.engine
    mounted_later = good.get("storage_mount") and not storage.is_mount
    for variable, place, free in (
        (
            "storage_free_minimum",
            f"storage_path {good.get('storage_path')}",
            None if mounted_later else storage.free_bytes,
        ),
        (
            "container_engine_free_minimum",
            f"Docker's directory {engine.root or '/var/lib/docker'}",
            engine.free_bytes,
        ),
    ):
        least = good.get(variable)
        if least is not None and free is not None and free < least:
            tell(
                variable,
                f"{readable_size(free)} are free in {place}, less than {readable_size(least)}: "
                f"make room, or write a smaller {variable}",
            )
