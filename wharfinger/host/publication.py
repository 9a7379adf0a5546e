"""`publish`: every copy of a key or certificate lies where its reader looks for it.

The originals are in certificates/ and nowhere else made or changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .context import Host
from .errors import HostError
from .files import exists, read_bytes, write_atomically
from .prepare import merged

DOCKER_TRUST = Path("/etc/docker/certs.d")


def publish(
    host: Host, request: Mapping[str, Any], check: bool, *, trust: Path = DOCKER_TRUST
) -> dict[str, Any]:
    """Request: {"auth": "token" | "htpasswd", "trusted_by_docker": [HOST[:PORT], …]}.

    The token server gets the signing key and certificate, the registry the certificates it trusts,
    docker on this host the authority's certificate. Nothing is taken away here: whatever serves at
    this moment may read it again at its next start. Returns `ca` (the authority's certificate, PEM,
    "" where there is none) and `signing` (SHA-256 of what the registry trusts).
    """
    source = host.paths.certificates
    actions: list[str] = []
    trusted = b""
    bundle = host.paths.registry / "token_signing.pem"
    if request.get("auth", "token") == "token":
        trusted = _required(source / "signing.crt", check)
        group = host.token_server_id
        for name in ("signing.key", "signing.crt"):
            data = _required(source / name, check)
            actions += _place(host, host.paths.token_server / name, data, 0o640, group, check)
        actions += _place(host, bundle, trusted, 0o640, host.registry_id, check)
    authority = read_bytes(source / "ca.crt") or b""
    places = [trust / str(address) / "ca.crt" for address in request.get("trusted_by_docker") or ()]
    if authority:
        _remember(host, places, check)
        for place in places:
            actions += _place(host, place, authority, 0o644, host.root_id, check)
    return {
        "actions": actions,
        "ca": authority.decode("ascii", "replace"),
        "signing": hashlib.sha256(trusted).hexdigest() if trusted else "",
    }


def _remember(host: Host, places: list[Path], check: bool) -> None:
    """Recorded before it is done, so that `remove` finds it in any case. A file that was there
    before and is no work of ours stays out of the record."""
    state = host.store.load()
    ours = [str(place) for place in places if not exists(place)]
    state.installed = merged(state.installed, {"files": ours} if ours else {})
    if not check:
        host.store.save(state)


def _required(path: Path, check: bool) -> bytes:
    data = read_bytes(path)
    if data is None and not check:
        raise HostError(f"{path} is not there: run the whole site.yml, which makes it")
    return data or b""


def _place(host: Host, path: Path, data: bytes, mode: int, group: int, check: bool) -> list[str]:
    try:
        found = path.stat()
        present = (found.st_mode & 0o7777, found.st_uid, found.st_gid)
    except OSError:
        present = None
    if present == (mode, host.root_id, group) and read_bytes(path) == data:
        return []
    if not check:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_atomically(path, data, mode, host.root_id, group)
    return [f"{path}: written"]
