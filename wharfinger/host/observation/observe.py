"""`observe`: the host's whole state, read once. Changes nothing, and needs nothing installed."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import platform
import pwd
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ...deployment.facts import (
    Certificates,
    Container,
    Distribution,
    Engine,
    HostFacts,
    Listener,
    Memory,
    Network,
    Nginx,
    Robot,
    Route,
    Site,
    StackNetwork,
    Storage,
)
from ..keys import acme, certificates
from ..rollout.proxy import is_current
from ..setup import apt, main_settings
from ..setup.prepare import missing_data, prepare, removed_accounts
from ..system import processes, restoring, storage_facts
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists, read_text, sha256
from ..system.service import units
from ..system.state import KINDS, RETIRED, SERVING, State
from . import engine_facts, nginx_configuration

# Packages that roles install, or that show whose engine or nginx is there.
PACKAGES = (
    "docker.io",
    "docker-cli",
    "docker-ce",
    "docker-ce-cli",
    "podman-docker",
    "containerd",
    "containerd.io",
    "nginx",
    "libnginx-mod-http-js",
    "logrotate",
    "python3-apt",
    "python3-cryptography",
    "python3-httpx",
    "python3-requests",
    "openssl",
    "openssh-client",
    "restic",
    "python3-httpx",
    "mmdebstrap",
    "debian-archive-keyring",
    "ca-certificates",
    "cron",
    "certbot",
)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf"}
# Seconds for all name look-ups together.
_RESOLUTION = 5.0


def observe(host: Host, request: Mapping[str, Any]) -> HostFacts:
    """Request, all optional: storage_path, storage_mount {src, bind, fstype}, network {name}, names
    [hostnames to resolve; none: the host's own], packages [more of them], config_files [paths],
    installed and storage (as `prepare` would get them), accounts [names of users and robots].

    What cannot be seen (not installed, not root) is None or empty, and is no error.
    """
    paths = host.paths
    with ThreadPoolExecutor(max_workers=8) as pool:
        # Other programs first, so that they run while this process reads files.
        packages = pool.submit(_packages, host, list(request.get("packages") or ()))
        nginx = pool.submit(_nginx, host)
        docker = pool.submit(engine_facts.look, host, dict(request.get("network") or {}))
        folder = paths.certificates
        looks = {
            certificate.name: pool.submit(
                certificates.facts,
                host.runner,
                folder / f"{certificate.name}.crt",
                folder / f"{certificate.name}.key",
            )
            for certificate in fields(Certificates)
        }
        trusted = pool.submit(
            certificates.issued_by, host.runner, folder / "tls.crt", folder / "ca.crt"
        )
        names = Names([str(name) for name in request.get("names") or ()])
        answer: dict[str, Any] = {
            "python": platform.python_version(),
            "distribution": Distribution(**distribution(read_text(paths.os_release) or "")),
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "init": _init(host),
            "watched": watched(host),
            "uid": os.getuid(),
            "hostname": socket.gethostname(),
            "ipv6": exists(paths.proc / "net" / "if_inet6"),
            "addresses": processes.addresses(paths.proc),
            "primary_address": processes.primary_address(),
            "routes": [Route(**route) for route in processes.routes(paths.proc)],
            "listeners": [Listener(**listener) for listener in processes.listeners(paths.proc)],
            "storage": Storage(
                **storage_facts.look(
                    Path(request.get("storage_path") or paths.var / "registry"),
                    host,
                    request.get("storage_mount"),
                )
            ),
            "uids": {str(uid): _user_name(uid) for uid in (host.registry_id, host.token_server_id)},
            "files": {str(path): sha256(Path(path)) for path in request.get("config_files") or ()},
            "host_program": sha256(paths.program),
            "apt_held_by": apt.holder(host),
            "acme_accounts": acme.accounts(paths.etc / "acme"),
        }
        answer["packages"], answer["unfinished_packages"] = packages.result()
        answer["nginx"] = nginx.result()
        answer |= docker.result()
        answer["engine"] = Engine(**answer["engine"])
        answer["networks"] = [Network(**network) for network in answer["networks"]]
        if answer["network"] is not None:
            answer["network"] = StackNetwork(**answer["network"])
        present = {name: look.result() for name, look in looks.items()}
        if (tls := present["tls"]) is not None:
            present["tls"] = replace(tls, trusted=trusted.result())
        answer["certificates"] = Certificates(**present)
        answer |= _remembered(host, request, answer["containers"], answer["images"])
        answer["fqdn"], answer["resolved"] = names.answers()
    answer["clock"] = time.time()
    return HostFacts(**answer)


def distribution(text: str) -> dict[str, str]:
    """id, version, codename and name in the text of os-release ("" if missing)."""
    values = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            values[key.strip()] = value.strip().strip("\"'")
    return {
        "id": values.get("ID", ""),
        "version": values.get("VERSION_ID", ""),
        "codename": values.get("VERSION_CODENAME", ""),
        "name": values.get("PRETTY_NAME", ""),
    }


def _init(host: Host) -> str:
    if exists(host.paths.systemd):
        return "systemd"
    return "sysvinit" if processes.program(host.paths.proc, 1) == "init" else "none"


def watched(host: Host) -> bool:
    """Whether something runs the renewals: the timer, or a cron daemon if there is no systemd
    (roles install their files)."""
    if exists(host.paths.systemd):
        return host.paths.timer.is_symlink()
    return processes.is_running(host.paths.proc, "cron")


def _user_name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


class Names:
    """Looks up names in threads of their own, so that a slow resolver does not delay the rest.

    Without names, it looks up those that a host without a name in the inventory may have.
    """

    def __init__(self, names: list[str]) -> None:
        self._found: dict[str, list[str]] = {}
        self._fqdn = socket.gethostname()
        self._own = not names
        self._names = names or [f"{self._fqdn.partition('.')[0].lower()}.internal"]
        self._threads = [self._begin(self._canonical)]
        self._threads += [self._begin(self._resolve, name) for name in dict.fromkeys(self._names)]

    def _begin(self, work: Callable[..., None], *arguments: str) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        return thread

    def _canonical(self) -> None:
        """Finds the fully qualified name, exactly as `hostname -f` does."""
        name = socket.gethostname()
        try:
            entries = socket.getaddrinfo(name, None, flags=socket.AI_CANONNAME)
        except (OSError, UnicodeError):
            return
        self._fqdn = entries[0][3] or name
        if self._own:
            self._resolve(self._fqdn)

    def _resolve(self, name: str) -> None:
        try:
            entries = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        self._found[name] = list(dict.fromkeys(str(entry[4][0]) for entry in entries))

    def answers(self) -> tuple[str, dict[str, list[str]]]:
        deadline = time.monotonic() + _RESOLUTION
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        names = [self._fqdn, *self._names] if self._own else self._names
        return self._fqdn, {name: self._found.get(name, []) for name in names}


def _packages(host: Host, more: list[str]) -> tuple[dict[str, Any], list[str]]:
    """(package → version, None if it is not installed; packages that a killed apt has left
    unfinished)."""
    names = list(dict.fromkeys([*PACKAGES, *more]))
    said = host.runner.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status} ${Version}\\n", *names],
        timeout=10,
    )
    answer: dict[str, Any] = dict.fromkeys(names)
    begun = []
    for line in said.output.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] == "installed":
            answer[words[0]] = words[2]
        elif len(words) == 3 and words[1] in ("half-installed", "unpacked", "half-configured"):
            begun.append(words[0])
    answer["apt-managed"] = host.runner.which("apt-get") is not None
    return answer, begun


def _nginx(host: Host) -> Nginx:
    unit = units(host.paths, host.runner, ["nginx.service"]).get("nginx.service", {})
    answer: dict[str, Any] = {
        "present": host.nginx.installed(),
        "running": host.nginx.running(),
        "masked": unit.get("LoadState") == "masked",
        "program": host.runner.which("nginx"),
        "version": None,
        "settings": None,
        "user": "www-data",
        "servers": [],
        "error": None,
        "njs": False,
        # worker_connections in nginx.conf, and whether `site` may change it.
        "connections": None,
        "connections_packaged": False,
        "ours": exists(host.paths.site),
    }
    group: str | None = None
    if answer["present"]:
        said = host.runner.run(["nginx", "-V"], timeout=10)
        answer |= nginx_configuration.built(said.error)
        dump = host.runner.run(["nginx", "-T"], timeout=10)
        if not dump.ok:
            answer["error"] = dump.words
        answer["servers"] = [
            Site(**vars(server), ours=server.file == str(host.paths.site))
            for server in nginx_configuration.servers(dump.output)
        ]
        answer["njs"] = nginx_configuration.loads(dump.output, "ngx_http_js_module.so")
        text = read_text(host.paths.nginx / "nginx.conf") or ""
        answer["connections"] = number = main_settings.connections(text)
        if number is not None and number < main_settings.CONNECTIONS:
            with contextlib.suppress(HostError):
                state = host.store.load()
                answer["connections_packaged"] = main_settings.is_ours_to_change(host, state)
        configured = nginx_configuration.user(dump.output)
        if configured is not None:
            answer["user"], group = configured
    answer["group_id"] = _group_id(answer["user"], group)
    return Nginx(**answer)


def _group_id(user: str, group: str | None) -> int | None:
    try:
        return grp.getgrnam(group).gr_gid if group else pwd.getpwnam(user).pw_gid
    except KeyError:
        return None


def _remembered(
    host: Host,
    request: Mapping[str, Any],
    containers: list[Container],
    images: dict[str, list[str]],
) -> dict[str, Any]:
    """The state of state.json, compared with docker, and whether `prepare` has work."""
    try:
        state = host.store.load()
    except HostError as problem:
        return {
            "prepared": False,
            "missing_data": None,
            "verification_hash": None,
            "state": Memory(error=str(problem)),
        }
    wanted = {key: request[key] for key in ("installed", "storage") if key in request}
    try:
        prepared = not prepare(host, wanted, check=True)["actions"]
    except (HostError, OSError):
        prepared = False
    path = Path(request.get("storage_path") or host.paths.var / "registry")
    to_come = request.get("storage_mount") and not storage_facts.is_mount_point(path, host)
    return {
        "prepared": prepared,
        # It is unknown what is on a file system that is not mounted yet.
        "missing_data": None if to_come else missing_data(host, path),
        "half_restored": _half_restored(host),
        "robots": _robots(host),
        "verification_hash": state.verification_hash,
        "state": Memory(**summary(state, containers, images, is_current(host, state))),
    } | _removed(host, request.get("accounts") or ())


def _half_restored(host: Host) -> str | None:
    try:
        record = restoring.load(host.paths.restoring)
    except HostError as problem:
        return str(problem)
    if record is None or record.only or record.step == restoring.RESTORED:
        return None
    return record.problem()


def _robots(host: Host) -> dict[str, Robot]:
    """Robots with a secret here → its SHA-256 (of 256 random bits). If the previous secret is still
    valid, also its SHA-256 (`former`) and its end (`until`). {} if the record has another shape."""
    try:
        users: dict[str, dict[str, Any]] = json.loads(read_text(host.paths.users) or "{}")
        return {
            name: Robot(
                generated=user["generated"],
                former=(user.get("previous") or {}).get("digest"),
                until=(user.get("previous") or {}).get("until"),
            )
            for name, user in users.items()
            if user.get("robot")
        }
    except (LookupError, AttributeError):
        return {}


def _removed(host: Host, accounts: Iterable[str]) -> dict[str, Any]:
    """`removed`: those of `accounts` that were removed from this host and have not come back →
    when; `removed_error`: what is wrong with the record of removed accounts, or None."""
    try:
        removed = removed_accounts(host)
    except HostError as problem:
        return {"removed": {}, "removed_error": str(problem)}
    try:
        users = json.loads(read_text(host.paths.users) or "{}")
    except ValueError:
        users = {}
    gone = {name: removed[name] for name in accounts if name in removed and name not in users}
    return {"removed": gone, "removed_error": None}


def summary(
    state: State,
    containers: list[Container],
    images: dict[str, list[str]],
    proxy_current: bool,
) -> dict[str, Any]:
    """The state for roles, from state.json and the engine's containers and images: images (and
    whether docker still has them), what serves, and what is unfinished."""
    by_number = {(container.kind, container.generation): container for container in containers}
    generations: dict[str, Any] = {}
    pending = [] if proxy_current else ["nginx has not read its present files yet"]
    if state.window is not None:
        pending.append(f"writes are refused for {state.window.job} ({state.window.step})")
    for kind in KINDS:
        record = state.kind(kind)
        serving, previous = record.serving, record.previous
        container = by_number.get((kind, serving.number)) if serving else None
        generations[kind] = {
            "serving": serving
            and {
                "number": serving.number,
                "slot": serving.slot,
                "address": serving.address,
                "port": serving.port,
                "spec": serving.spec,
                "image": serving.image,
                "running": bool(container and container.running),
                "health": container.health if container else "none",
                "since": serving.since,
            },
            "previous": previous.number if previous else None,
        }
        pending += [
            f"{kind} generation {generation.number} is {generation.phase}"
            for generation in record.generations
            if generation.phase not in (SERVING, RETIRED)
        ]
    return {
        "images": {
            kind: image | {"present": image["id"] in images} for kind, image in state.images.items()
        },
        "network": state.network,
        "generations": generations,
        "installed": state.installed,
        "storage_path": state.storage_path,
        "rotating": state.rotation is not None,
        "pending": pending,
    }
