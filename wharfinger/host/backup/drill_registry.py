"""A second registry, which serves what a drill has restored: the deployed image, read-only and
without a network. It listens on a socket that only root reaches, so it needs no login."""

from __future__ import annotations

import hashlib
import http.client
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...oci.media_types import MANIFESTS
from ..rollout.records import Records
from ..rollout.specification import Specification, definition
from ..system.context import Host
from ..system.engine import UnixConnection
from ..system.errors import HostError
from ..system.files import write_atomically
from ..system.names import REGISTRY
from ..system.service import last_words
from .drill_leftovers import container_name
from .listing import LAYER, Entry

_STORAGE = "/var/lib/registry"
_SOCKETS = "/run/drill"
# What a registry without users, network and writes needs to know.
_CONFIGURATION = f"""\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {_STORAGE}}}
http: {{net: unix, addr: {_SOCKETS}/registry.sock}}
"""
# Seconds until it answers, on a busy host, and for one answer.
_START = 120.0
_ANSWER = 300.0
_POLL = 0.1
_CHUNK = 1 << 20
_ACCEPT = ", ".join(kind for kind in MANIFESTS if kind)


@contextmanager
def serving(host: Host, storage: Path, configuration: Path) -> Iterator[Served]:
    """The registry, which serves the storage below `storage` (a folder with `docker` in it).
    `configuration`: a folder for its configuration. Raises HostError if it does not start."""
    state = host.store.load()
    records = Records(host, state, REGISTRY)
    generation = records.serving
    spec = None if generation is None else records.specification(generation.number)
    if spec is None:
        raise HostError(
            "drill: no registry serves on this host, so there is no image to serve the restored "
            "sample with: run site.yml first"
        )
    sockets = host.paths.drill_sockets
    sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chown(sockets, host.registry_id, host.registry_id)
    configuration.mkdir(mode=0o755)
    write_atomically(configuration / "config.yml", _CONFIGURATION.encode(), 0o644)
    name = container_name(host)
    host.engine.create(
        name, registry_definition(spec, host.labels, storage, configuration, sockets)
    )
    try:
        host.engine.start(name)
        served = Served(host)
        served.wait(name)
        yield served
    finally:
        host.engine.remove(name)


def registry_definition(
    spec: Specification,
    labels: Mapping[str, str],
    storage: Path,
    configuration: Path,
    sockets: Path,
) -> dict[str, Any]:
    """The body of docker's POST /containers/create (pure)."""
    body = definition(spec, labels=labels, network="none", address="", files="")
    mounts = (
        (storage, _STORAGE, True),
        (configuration, spec.files_target, True),
        (sockets, _SOCKETS, False),
    )
    body |= {
        "Cmd": ["serve", f"{spec.files_target}/config.yml"],
        # The deployed registry's own variables may name its storage, and keys to it.
        "Env": ["OTEL_TRACES_EXPORTER=none"],
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {**labels, "wharfinger.kind": "drill"},
    }
    del body["NetworkingConfig"]
    body["HostConfig"] |= {
        "RestartPolicy": {"Name": "no"},
        # Clients' requests go first.
        "CpuShares": 2,
        "Mounts": [
            {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": readonly}
            for source, target, readonly in mounts
        ],
    }
    return body


class Served:
    """What the second registry answers."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._connection = UnixConnection(host.paths.drill_socket, _ANSWER)

    def wait(self, name: str) -> None:
        """Returns once it answers. Raises HostError with the end of its log if it does not."""
        clock = self._host.clock
        deadline = clock.monotonic() + _START
        while True:
            try:
                if self._ask("/v2/").status == 200:
                    return
            except (OSError, http.client.HTTPException):
                self._connection.close()
            container = self._host.engine.inspect(name)
            ended = container is None or container.status in ("exited", "dead")
            if ended or clock.monotonic() > deadline:
                log = last_words(self._host.engine.logs(name, 100).splitlines())
                raise HostError(f"drill: the second registry does not answer. Its log:\n{log}")
            clock.sleep(_POLL)

    def problem(self, link: Entry, size: int | None, tag: str = "") -> str | None:
        """What is wrong with what the registry serves for a link of the snapshot's list; None if
        digest and size are right. With `tag`, the manifest is asked for by its tag. size: bytes in
        the snapshot; None if it lacks the blob."""
        kind = "blobs" if link.kind == LAYER else "manifests"
        try:
            response = self._ask(f"/v2/{link.repository}/{kind}/{tag or link.name}")
            content = hashlib.new(link.name.partition(":")[0])
            length = 0
            while chunk := response.read(_CHUNK):
                content.update(chunk)
                length += len(chunk)
        except (OSError, http.client.HTTPException) as problem:
            self._connection.close()
            return f"the registry ended its answer ({problem or type(problem).__name__})"
        if response.status != 200:
            missing = ", since the backup lacks it" if size is None else ""
            return f"the registry answers {response.status}{missing}"
        if content.hexdigest() != link.name.partition(":")[2]:
            return f"its content has another digest ({length} bytes, {size} in the backup)"
        return None

    def _ask(self, path: str) -> http.client.HTTPResponse:
        self._connection.request("GET", path, headers={"Accept": _ACCEPT})
        response = self._connection.getresponse()
        if path == "/v2/":
            response.read()
        return response
