"""Runs the registry's own `garbage-collect` in a separate container."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..rollout.records import Records
from ..rollout.specification import Specification, definition
from ..system.context import Host
from ..system.errors import HostError
from ..system.names import REGISTRY
from ..system.service import last_words
from ..system.state import State
from .maintenance import Maintenance, container_name

_POLL_INTERVAL = 0.2
_LOG_READ = 400


def garbage_collect(host: Host, state: State, maintenance: Maintenance) -> None:
    """Runs the registry's own `garbage-collect` in a container without a network. Never with `-m`:
    that can delete manifests that an index needs (distribution, issue 4939)."""
    records = Records(host, state, REGISTRY)
    serving = records.serving
    spec = None if serving is None else records.specification(serving.number)
    if serving is None or spec is None:
        raise HostError("collect: no registry serves, so there are no settings to collect with")
    name = container_name(host)
    host.engine.remove(name)
    files = str(records.directory(serving.number) / "files")
    host.engine.create(name, collector_definition(spec, host.labels, files))
    try:
        host.engine.start(name)
        while True:
            container = host.engine.inspect(name)
            if container is None:
                raise HostError(f"collect: the container {name} has disappeared while it worked")
            if container.status in ("exited", "dead"):
                break
            maintenance.check_deadline()
            host.clock.sleep(_POLL_INTERVAL)
        if container.exit_code != 0:
            log = last_words(host.engine.logs(name, _LOG_READ).splitlines())
            hint = " It needed more memory than the host has." if container.out_of_memory else ""
            raise HostError(
                f"collect: the registry's garbage-collect ended with exit code "
                f"{container.exit_code}.{hint} The end of its log:\n{log}"
            )
    finally:
        host.engine.remove(name)


def collector_definition(
    spec: Specification, labels: Mapping[str, str], files: str
) -> dict[str, Any]:
    """The body of docker's POST /containers/create for a collection with the image, configuration
    and storage of this registry (pure)."""
    body = definition(
        spec.with_readonly(False), labels=labels, network="none", address="", files=files
    )
    body |= {
        "Cmd": ["garbage-collect", f"{spec.files_target}/config.yml"],
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {**labels, "wharfinger.kind": "collection"},
    }
    del body["NetworkingConfig"]
    # Its memory grows with the number of blobs, and no client depends on it: so it has no limit.
    body["HostConfig"] |= {"RestartPolicy": {"Name": "no"}, "Memory": 0, "MemorySwap": 0}
    return body
