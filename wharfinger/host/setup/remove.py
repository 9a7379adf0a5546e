"""`remove`: removes what the toolkit installed, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...deployment import host_files
from ..keys.publication import DOCKER_TRUST
from ..system.context import Host
from ..system.engine import answers
from ..system.errors import HostError
from ..system.files import exists, remove_tree
from ..system.packages import installed, removable, strange_files
from ..system.state import State
from ..system.storage_facts import is_mount_point
from .main_settings import package_file, take_back

# Their removal removes everything that docker has.
_ENGINE_PACKAGES = ("docker.io", "docker-cli", "docker-ce", "containerd", "containerd.io")
_PROXY_PACKAGES = ("nginx", "libnginx-mod-http-js")


def remove(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Request: {"remove_data": false, "storage_path": path | null}.

    Without remove_data, the registry's data, keys, certificates, secrets and users stay for a later
    deployment. Returns kept, and packages: those that the toolkit installed and nobody else uses.
    The caller purges these and removes its mounts. They stay on record until it has done so and
    calls this again.
    """
    state = host.store.load()
    data = bool(request.get("remove_data"))
    storage = Path(request.get("storage_path") or state.storage_path or host.paths.var / "registry")
    brought = installed(host, list(state.installed.get("packages") or ()))
    steps = _Steps(host, state, check)
    steps.timers()
    steps.engine()
    steps.proxy()
    reasons = steps.reasons(brought)
    packages, needed = removable(host, [name for name in brought if name not in reasons])
    reasons |= needed
    engine_stays = any(name in reasons for name in _ENGINE_PACKAGES)
    mounts = [
        mount for mount in state.installed.get("mounts") or () if is_mount_point(Path(mount), host)
    ]
    steps.files(
        # Docker's settings are removed with docker.
        staying=host.paths.docker_settings if engine_stays else None,
        record={"packages": brought, "mounts": mounts},
        # If the data are removed, they are not missed afterwards.
        storage_path=None if data else state.storage_path,
    )
    if data:
        steps.data(storage, state_stays=bool(packages or mounts))
    kept = [] if data else _kept(host, storage)
    if engine_stays and exists(host.paths.docker_settings):
        kept.append(str(host.paths.docker_settings))
    kept += [f"{name}: {reason}" for name, reason in reasons.items()]
    return {"actions": steps.actions, "packages": packages, "kept": kept}


def _kept(host: Host, storage: Path) -> list[str]:
    """The registry's data, and everything else that only remove_data removes."""
    kept: list[Path] = []
    rows = host_files.removed_by(host_files.REMOVE_DATA)
    for path in (storage, *(host.paths.at(file.path) for file in rows)):
        if exists(path) and not any(path.is_relative_to(folder) for folder in kept):
            kept.append(path)
    return [str(path) for path in kept]


class _Steps:
    def __init__(self, host: Host, state: State, check: bool) -> None:
        self.host = host
        self.state = state
        self.check = check
        self.actions: list[str] = []
        self.gone: list[Path] = []

    def _note(self, what: str, done: str) -> None:
        self.actions.append(f"{what}: {'would be ' if self.check else ''}{done}")

    def timers(self) -> None:
        """Ends the timers first: renewals would restore what is being removed."""
        for link in sorted(self.host.paths.timers.glob("wharfinger-*.timer")):
            self._note(f"the timer {link.stem}", "ended")
            if not self.check:
                command = ["systemctl", "disable", "--now", link.name]
                said = self.host.runner.run(command, timeout=60)
                if not said.ok:
                    raise HostError(
                        f"the timer {link.stem} cannot be ended (`{' '.join(command)}` said: "
                        f"{said.words}): look at `systemctl status {link.name}`"
                    )

    def engine(self) -> None:
        """Removes our containers, network and images."""
        host = self.host
        if not answers(host.paths.docker_socket):
            return
        ours = host.engine.containers(host.labels)
        for container in ours:
            self._note(f"container {container.name}", "removed")
            if not self.check:
                host.engine.stop(container.name, 10)
                host.engine.remove(container.name)
        network = str((self.state.network or {}).get("name") or host.stack)
        present = host.engine.network(network)
        if present is not None and host.labels.items() <= (present.get("Labels") or {}).items():
            self._note(f"docker network {network}", "removed")
            if not self.check:
                host.engine.remove_network(network)
        for name in self._images():
            self._note(f"image {name}", "removed")
            if not self.check:
                host.engine.remove_image(name)

    def _images(self) -> list[str]:
        """The images that this deployment or an earlier one has loaded or pulled."""
        recorded = [
            image["reference"] for image in self.state.images.values() if image["source"] != "pull"
        ]
        names = dict.fromkeys([*recorded, *(self.state.installed.get("images") or ())])
        return [name for name in names if self.host.engine.image(name) is not None]

    def reasons(self, packages: list[str]) -> dict[str, str]:
        """Package → why it stays: somebody else's things would be removed with it."""
        host = self.host
        reasons: dict[str, str] = {}
        engine = [name for name in packages if name in _ENGINE_PACKAGES]
        if engine and answers(host.paths.docker_socket):
            others = host.engine.others(host.labels, set(self._images()))
            if others:
                reasons |= dict.fromkeys(engine, f"others have {_listed(others)} in it")
        proxy = [name for name in packages if name in _PROXY_PACKAGES]
        if proxy:
            ours = [host.paths.site, host.paths.upstreams.parent, package_file(host)]
            others = strange_files(host, host.paths.nginx, ["nginx", "nginx-common"], ours)
            if others:
                reasons |= dict.fromkeys(proxy, f"others have {_listed(others)}")
        return reasons

    def proxy(self) -> None:
        """Removes our site; a running nginx continues with the other sites."""
        site = self.host.paths.site
        back = take_back(self.host, self.state, self.check)
        self.actions += back
        gone = [*back, self._tree(site), self._tree(self.host.paths.upstreams.parent)]
        if any(gone) and not self.check and self.host.nginx.running():
            problem = self.host.nginx.test()
            if problem is not None:
                raise HostError(
                    f"our site {site} is gone, but nginx refuses the rest of its configuration, so "
                    f"it was not reloaded: {problem}"
                )
            self.host.nginx.reload()
            self.actions.append("nginx: reloaded")

    def files(
        self, *, staying: Path | None, record: dict[str, list[str]], storage_path: str | None
    ) -> None:
        paths = self.host.paths
        files = [Path(name) for name in self.state.installed.get("files") or ()]
        for path in files:
            if path != staying and self._tree(path) and not self.check:
                _rmdir(path.parent)
                if path.parent.parent == DOCKER_TRUST:
                    _rmdir(DOCKER_TRUST)
        for file in host_files.removed_by(host_files.REMOVE):
            path = paths.at(file.path)
            if self._tree(path) and file.init and not self.check:
                # The directory of a unit's drop-in files.
                _rmdir(path.parent)
        if not self.check:
            _rmdir(paths.program.parent)
            _rmdir(paths.metrics.parent)
            # A second call, or a later deployment, needs what stays on record.
            if exists(paths.state):
                self.host.store.save(
                    State(
                        verification_hash=self.state.verification_hash,
                        installed={
                            **record,
                            "files": [str(path) for path in files if path == staying],
                        },
                        storage_path=storage_path,
                    )
                )

    def data(self, storage: Path, *, state_stays: bool) -> None:
        paths = self.host.paths
        # What a killed restore or drill has left there may be as large.
        for path in (storage / "docker", *sorted(storage.glob(".wharfinger-*"))):
            self._tree(path)
        if not self.check and not is_mount_point(storage, self.host):
            _rmdir(storage)
        self._tree(paths.etc)
        for file in host_files.removed_by(host_files.REMOVE_DATA):
            path = paths.at(file.path)
            if not (state_stays and path == paths.state):
                self._tree(path)
        # Earlier versions had our logs beside nginx's own.
        for path in sorted(paths.nginx_log.glob("wharfinger*.log*")):
            self._tree(path)
        if not self.check:
            # The open file holds the lock, so its name can be removed.
            paths.lock.unlink(missing_ok=True)
            _rmdir(paths.var)

    def _tree(self, path: Path) -> bool:
        # In a dry run, files in a removed directory are still there.
        within = any(path.is_relative_to(folder) for folder in self.gone)
        if within or (not exists(path) and not path.is_symlink()):
            return False
        self.gone.append(path)
        self._note(str(path), "removed")
        if not self.check:
            remove_tree(path)
        return True


def _listed(names: list[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")


def _rmdir(path: Path) -> None:
    """Removes the directory if it is empty."""
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
