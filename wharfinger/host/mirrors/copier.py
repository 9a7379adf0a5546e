"""Starts the copier (wharfinger/copier), the only process of the toolkit that talks to upstream
registries. It has no rights on this host: a user id of its own, no groups, no files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...deployment.fixed import MIRROR_ACCOUNT, MIRROR_ID
from ..observation.verify import Way
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists, read_text
from .settings import Settings

# The host's python3 with its distribution's packages, among them httpx; nothing from the caller's
# folder or environment.
_PROGRAM = (
    "import sys; sys.path.insert(0, {path!r});"
    " from wharfinger.copier.__main__ import main; sys.exit(main())"
)
_PYTHON = ("/usr/bin/python3", "-I", "-c")
# Seconds. A first copy of many images takes hours.
LONGEST = 24 * 3600.0
_LOOKING = 1800.0


def look(host: Host, mirrors: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the upstreams of these entries have now. Raises HostError."""
    return _ask(host, {"task": "look", "mirrors": mirrors}, _LOOKING)


def copy(
    host: Host, settings: Settings, left_alone: Mapping[str, float], *, dry: bool = False
) -> dict[str, Any]:
    """Copies what is locked and not here. left_alone: upstreams that want no requests until then,
    in seconds since 1970. dry: only asks the own registry what is missing. Raises HostError."""
    password = (read_text(host.paths.mirror_password) or "").partition("\n")[0].strip()
    if not password:
        raise HostError(f"{host.paths.mirror_password} is missing: run the whole site.yml")
    authority = host.paths.for_clients
    request = {
        "task": "here" if dry else "copy",
        "registry": {
            "name": settings.registry,
            "address": Way.to(settings.registry.partition(":")[0]).address,
            "user": MIRROR_ACCOUNT,
            "password": password,
            "ca": read_text(authority) if exists(authority) else "",
        },
        "mirrors": settings.mirrors,
        "left_alone": left_alone,
    }
    return _ask(host, request, LONGEST)


def program(path: str) -> str:
    """What python3 runs; path: the zipapp, which has the copier in it."""
    return _PROGRAM.format(path=path)


def _ask(host: Host, request: Mapping[str, Any], limit: float) -> dict[str, Any]:
    done = host.runner.run_as(
        MIRROR_ID,
        [*_PYTHON, program(str(host.paths.program))],
        request=json.dumps(request),
        timeout=limit,
    )
    if "No module named 'httpx'" in done.error:
        raise HostError("the package python3-httpx is missing: run site.yml, which installs it")
    try:
        answer: dict[str, Any] = json.loads(done.output)
    except ValueError as problem:
        last = (done.error.strip().splitlines() or ["it said nothing"])[-1]
        raise HostError(f"the copier of mirrors has not answered: {last[:300]}") from problem
    return answer
