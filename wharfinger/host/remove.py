"""`remove`: takes away what the toolkit brought, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .context import Host
from .engine_facts import answers
from .errors import HostError
from .files import exists, remove_tree
from .state import State

# Taking these away takes every container of the host with it.
_ENGINE_PACKAGES = ("docker.io", "docker-cli", "docker-ce", "containerd", "containerd.io")


def remove(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Request: {"remove_data": false, "storage_path": path | null}.

    Without remove_data the registry's data, keys, certificates, secrets and users stay, so that a
    later deployment goes on with them. Returns kept, and packages: those that the toolkit
    brought, for the caller's package manager (without the engine's where others have containers).
    """
    state = host.store.load()
    data = bool(request.get("remove_data"))
    storage = Path(request.get("storage_path") or state.storage_path or host.paths.var / "registry")
    packages = list(state.installed.get("packages") or ())
    steps = _Steps(host, state, check)
    others = steps.engine()
    steps.proxy()
    steps.files(data)
    if data:
        steps.data(storage)
    kept = [] if data else _kept(host, storage)
    if others:
        stay = [one for one in packages if one in _ENGINE_PACKAGES]
        kept += [f"{one}: {others} container(s) of others need it" for one in stay]
        packages = [one for one in packages if one not in stay]
    return {"actions": steps.actions, "packages": packages, "kept": kept}


def _kept(host: Host, storage: Path) -> list[str]:
    kept = (storage, host.paths.certificates, host.paths.secrets, host.paths.users)
    return [str(one) for one in kept if exists(one)]


class _Steps:
    def __init__(self, host: Host, state: State, check: bool) -> None:
        self.host = host
        self.state = state
        self.check = check
        self.actions: list[str] = []

    def engine(self) -> int:
        """Our containers, network and images go; returns how many containers others have."""
        host = self.host
        if not answers(host):
            return 0
        ours = host.engine.containers(host.labels)
        for container in ours:
            self.actions.append(f"container {container.name}: removed")
            if not self.check:
                host.engine.stop(container.name, 10)
                host.engine.remove(container.name)
        network = str((self.state.network or {}).get("name") or host.stack)
        present = host.engine.network(network)
        if present is not None and host.labels.items() <= (present.get("Labels") or {}).items():
            self.actions.append(f"docker network {network}: removed")
            if not self.check:
                host.engine.remove_network(network)
        for image in self.state.images.values():
            if host.engine.image(image["reference"]) is not None:
                self.actions.append(f"image {image['reference']}: removed")
                if not self.check:
                    host.engine.remove_image(image["reference"])
        names = {one.name for one in ours}
        return sum(one.name not in names for one in host.engine.containers({}))

    def proxy(self) -> None:
        """Our site goes; nginx goes on with everyone else's, if it runs."""
        site = self.host.paths.site
        gone = [self._tree(site), self._tree(self.host.paths.upstreams.parent)]
        if any(gone) and not self.check and self.host.nginx.running():
            problem = self.host.nginx.test()
            if problem is not None:
                raise HostError(
                    f"our site {site} is gone, but nginx refuses the rest of its configuration, so "
                    f"it was not reloaded: {problem}"
                )
            self.host.nginx.reload()
            self.actions.append("nginx: reloaded")

    def files(self, data: bool) -> None:
        paths = self.host.paths
        for name in self.state.installed.get("files") or ():
            path = Path(name)
            if self._tree(path) and not self.check:
                _rmdir(path.parent)
        for path in (paths.token_server, paths.registry, paths.generations, paths.var / "images"):
            self._tree(path)
        self._tree(paths.var / "proxy")
        self._tree(paths.command)
        self._tree(paths.program)
        if not self.check:
            _rmdir(paths.program.parent)
            # What stays on record is what a second call, or a later deployment, has to know.
            if exists(paths.state) and not data:
                self.host.store.save(
                    State(
                        verification_hash=self.state.verification_hash,
                        installed={"packages": self.state.installed.get("packages") or []},
                        storage_path=self.state.storage_path,
                    )
                )

    def data(self, storage: Path) -> None:
        paths = self.host.paths
        self._tree(storage / "docker")
        if not self.check and not storage.is_mount():
            _rmdir(storage)
        for path in (paths.etc, paths.users, paths.state):
            self._tree(path)
        if not self.check:
            # The lock is held through its open file, its name may go.
            paths.lock.unlink(missing_ok=True)
            _rmdir(paths.var)

    def _tree(self, path: Path) -> bool:
        if not exists(path) and not path.is_symlink():
            return False
        self.actions.append(f"{path}: removed")
        if not self.check:
            remove_tree(path)
        return True


def _rmdir(path: Path) -> None:
    """Removes a directory that is empty; any other stays."""
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
