"""What the CIS Docker Benchmark (1.6.0) requires, by its numbers, as far as the toolkit is
responsible: of the host's files (section 3), of images (4) and of containers (5).

Titles are shortened. The host's owner is responsible for the daemon (section 2) and the host (1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Container = Mapping[str, Any]
# What docker inspect says of one container (docker info of the daemon) → whether it complies.
Check = Callable[[Container], bool]

LOCAL = ["::1/128", "127.0.0.0/8"]
OWNER = "host owner"
CHOICE = "otherwise, on purpose"


@dataclass(frozen=True)
class Item:
    """One number of the benchmark. Without `check`, `words` and `result` answer it."""

    number: str
    title: str
    words: str
    check: Check | None = None
    result: str = OWNER


def _host(container: Container) -> Mapping[str, Any]:
    settings: Mapping[str, Any] = container["HostConfig"]
    return settings


def _options(container: Container) -> list[str]:
    return list(_host(container)["SecurityOpt"] or ())


def _sources(container: Container) -> list[str]:
    return [mount.get("Source", "") for mount in container["Mounts"]]


_SENSITIVE = ("/", "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr", "/root", "/home")


def _mounts_are_own(container: Container) -> bool:
    own = ("/etc/wharfinger/", "/var/lib/wharfinger/")
    sources = _sources(container)
    return all(source.startswith(own) and source not in _SENSITIVE for source in sources if source)


CONTAINERS = [
    Item(
        "5.2",
        "AppArmor profile in force",
        "the default profile is not switched off; it is in force where the kernel has AppArmor",
        lambda container: "apparmor=unconfined" not in _options(container),
    ),
    Item("5.3", "SELinux options", "Debian has no SELinux policy in force"),
    Item(
        "5.4",
        "only needed capabilities",
        "CapDrop ALL, CapAdd empty",
        lambda container: _host(container)["CapDrop"] == ["ALL"] and not _host(container)["CapAdd"],
    ),
    Item(
        "5.5",
        "not privileged",
        "Privileged false",
        lambda container: not _host(container)["Privileged"],
    ),
    Item(
        "5.6",
        "no sensitive folders of the host",
        "every mount's source lies below /etc/wharfinger or /var/lib/wharfinger",
        _mounts_are_own,
    ),
    Item(
        "5.7",
        "no sshd inside",
        "the only process is the service",
        lambda container: "ssh" not in str(container["Path"]) + str(container["Args"]),
    ),
    Item(
        "5.8",
        "no privileged ports mapped",
        "no port is published",
        lambda container: (
            not _host(container)["PortBindings"] and not _host(container)["PublishAllPorts"]
        ),
    ),
    Item(
        "5.9",
        "only needed ports open",
        "no port is published; a neighbour's scan finds none (test_1_outside.py)",
        lambda container: not any((container["NetworkSettings"]["Ports"] or {}).values()),
    ),
    Item(
        "5.10",
        "not the host's network",
        "NetworkMode is the stack's own",
        lambda container: _host(container)["NetworkMode"] == "wharfinger",
    ),
    Item(
        "5.11",
        "memory is limited",
        "Memory above 0, no more swap",
        lambda container: 0 < _host(container)["Memory"] == _host(container)["MemorySwap"],
    ),
    Item(
        "5.12",
        "CPU priority is set",
        "the weight is docker's default, equal to others': a registry may use an idle host's cores",
        None,
        CHOICE,
    ),
    Item(
        "5.13",
        "root file system read-only",
        "ReadonlyRootfs true",
        lambda container: bool(_host(container)["ReadonlyRootfs"]),
    ),
    Item(
        "5.14",
        "incoming traffic bound to one interface",
        "no port is published",
        lambda container: not _host(container)["PortBindings"],
    ),
    Item(
        "5.15",
        "restart policy on-failure, 5 at most",
        "unless-stopped: after a long trouble of the host (a full disk) it serves again by itself",
        None,
        CHOICE,
    ),
    Item(
        "5.16",
        "not the host's processes",
        "PidMode",
        lambda container: _host(container)["PidMode"] != "host",
    ),
    Item(
        "5.17",
        "not the host's IPC",
        "IpcMode",
        lambda container: _host(container)["IpcMode"] != "host",
    ),
    Item("5.18", "no devices", "Devices empty", lambda container: not _host(container)["Devices"]),
    Item(
        "5.19",
        "ulimits overwritten only where needed",
        "Ulimits empty: the daemon's default",
        lambda container: not _host(container)["Ulimits"],
    ),
    Item(
        "5.20",
        "mounts are not shared back",
        "Propagation is not shared",
        lambda container: all(
            "shared" not in mount.get("Propagation", "") for mount in container["Mounts"]
        ),
    ),
    Item(
        "5.21",
        "not the host's UTS",
        "UTSMode",
        lambda container: _host(container)["UTSMode"] != "host",
    ),
    Item(
        "5.22",
        "default seccomp profile",
        "not switched off",
        lambda container: not any(option.startswith("seccomp") for option in _options(container)),
    ),
    Item("5.23", "no exec with privileges", "the toolkit never does it", None, OWNER),
    Item("5.24", "no exec as root", "the toolkit never does it", None, OWNER),
    Item(
        "5.25",
        "docker's own cgroup",
        "CgroupParent empty",
        lambda container: not _host(container)["CgroupParent"],
    ),
    Item(
        "5.26",
        "no new privileges",
        "no-new-privileges",
        lambda container: any(
            option.startswith("no-new-privileges") for option in _options(container)
        ),
    ),
    Item(
        "5.27",
        "health is checked",
        "State.Health is healthy",
        lambda container: container["State"]["Health"]["Status"] == "healthy",
    ),
    Item("5.28", "newest image", "images_refresh=true brings updates: docs/images.md", None, OWNER),
    Item(
        "5.29",
        "processes are limited",
        "PidsLimit",
        lambda container: _host(container)["PidsLimit"] > 0,
    ),
    Item(
        "5.30",
        "not the default bridge",
        "only on the stack's own internal network",
        lambda container: list(container["NetworkSettings"]["Networks"]) == ["wharfinger"],
    ),
    Item(
        "5.31",
        "not the host's users",
        "UsernsMode",
        lambda container: _host(container)["UsernsMode"] != "host",
    ),
    Item(
        "5.32",
        "docker's socket is not mounted",
        "no mount of it",
        lambda container: not any("docker.sock" in source for source in _sources(container)),
    ),
    Item(
        "4.1",
        "a user of its own",
        "neither root nor a name that could be it",
        lambda container: str(container["Config"]["User"]).split(":")[0] not in ("", "0", "root"),
    ),
    Item("4.2", "trusted base images", "built from nothing: docs/images.md", None, "by the build"),
    Item("4.3", "no unneeded packages", "no shell, no package manager", None, "checked inside"),
    Item("4.4", "scanned and rebuilt", "scanning is yours; images_refresh=true rebuilds"),
    Item("4.5", "content trust", "images are named by digest, or built here", None, "by the build"),
    Item(
        "4.6",
        "a health check",
        "set with the container",
        lambda container: bool(container["Config"]["Healthcheck"]["Test"]),
    ),
    Item("4.8", "no setuid programs", "no file of the image has the bits", None, "checked inside"),
    Item(
        "4.10",
        "no secrets in the image",
        "nor in the environment: names that look like it",
        lambda container: (
            not any(
                word in name.partition("=")[0].lower()
                for name in container["Config"]["Env"] or ()
                for word in ("secret", "password", "token", "key")
            )
        ),
    ),
]

# Path, owner, and the most permissive mode allowed. Files that do not exist are skipped.
FILES = [
    ("3.1, 3.2", "/usr/lib/systemd/system/docker.service", "root:root", 0o644),
    ("3.3, 3.4", "/usr/lib/systemd/system/docker.socket", "root:root", 0o644),
    ("3.5, 3.6", "/etc/docker", "root:root", 0o755),
    ("3.7, 3.8", "/etc/docker/certs.d", "root:root", 0o755),
    ("3.15, 3.16", "/var/run/docker.sock", "root:docker", 0o660),
    ("3.17, 3.18", "/etc/docker/daemon.json", "root:root", 0o644),
    ("3.19, 3.20", "/etc/default/docker", "root:root", 0o644),
    ("3.23, 3.24", "/run/containerd/containerd.sock", "root:root", 0o660),
]
# Section 2, for a daemon that the toolkit has installed; it leaves any other daemon as it is.
DAEMON = [
    Item(
        "2.5",
        "no insecure registries",
        "none but this machine's own addresses",
        lambda info: info["RegistryConfig"]["InsecureRegistryCIDRs"] in (["127.0.0.0/8"], LOCAL),
    ),
    Item("2.7", "TLS where docker listens to a network", "it listens to its socket only"),
    Item(
        "2.9",
        "user namespaces",
        "refused by preflight: the files on the host belong to fixed ids",
        None,
        CHOICE,
    ),
    Item(
        "2.15",
        "containers live on while docker restarts",
        "live-restore, where the toolkit has installed docker",
        lambda info: bool(info["LiveRestoreEnabled"]),
    ),
    Item(
        "5.1",
        "no swarm mode",
        "docker info",
        lambda info: info["Swarm"]["LocalNodeState"] == "inactive",
    ),
    Item(
        "2.17",
        "a seccomp profile for all",
        "docker's own",
        lambda info: any("name=seccomp" in option for option in info["SecurityOptions"]),
    ),
    Item("2.1-2.18", "all others of section 2", "no setting of the toolkit touches them"),
]
