"""Copies keys and certificates to where they are read.

The originals are in certificates/, and are only made and changed there. Nothing is removed here:
a running generation may read its files again at its next start.
"""

from __future__ import annotations

from pathlib import Path

from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists, read_bytes, write_atomically
from ..system.state import State, merged
from . import certificates

DOCKER_TRUST = Path("/etc/docker/certs.d")


def signing(host: Host, check: bool = False) -> list[str]:
    """Gives the token server its signing key, and the registry all certificates that it trusts."""
    source, live = host.paths.certificates, host.paths.token_server / "signing.pem"
    actions = []
    if exists(source / "signing.key") or not exists(live):
        # One file, so that a power loss never leaves a key with another's certificate. If the key
        # is lost, the token server uses its copy until the key is replaced.
        pair = _required(source / "signing.crt", check) + _required(source / "signing.key", check)
        actions += _place(host, live, pair, 0o640, host.token_server_id, check)
    return [
        *actions,
        *_place(
            host,
            host.paths.registry / "token_signing.pem",
            trusted(host),
            0o640,
            host.registry_id,
            check,
        ),
    ]


def trusted(host: Host) -> bytes:
    """The certificates of all keys whose tokens are valid, sorted: the same set gives the same
    file."""
    names = ("signing_previous.crt", "signing.crt", "signing_next.crt")
    texts = {read_bytes(host.paths.certificates / name) for name in names}
    return b"".join(sorted(filter(None, texts)))


def for_clients(
    host: Host,
    state: State,
    source: str,
    addresses: list[str],
    check: bool = False,
    *,
    trust: Path = DOCKER_TRUST,
) -> list[str]:
    """Publishes the authority that clients must trust: the host's own, the one that the operator
    provides, or none. docker on this host gets it for `addresses` (HOST[:PORT]). source:
    certificates_tls_source; with acme, the host's own until the ACME server has issued one."""
    folder = host.paths.certificates
    own = source == "own_ca" or (
        source == "acme"
        and certificates.issued_by(host.runner, folder / "tls.crt", folder / "ca.crt")
    )
    authority = read_bytes(folder / ("ca.crt" if own else "tls_ca.crt"))
    if authority is None:
        if not exists(host.paths.for_clients):
            return []
        if not check:
            host.paths.for_clients.unlink()
        return [f"{host.paths.for_clients}: removed"]
    actions = _place(host, host.paths.for_clients, authority, 0o644, host.root_id, check)
    places = [trust / address / "ca.crt" for address in addresses]
    _remember(host, state, places, check)
    for place in places:
        actions += _place(host, place, authority, 0o644, host.root_id, check)
    return actions


def _remember(host: Host, state: State, places: list[Path], check: bool) -> None:
    """Records the files before they are written, so that `remove` always finds them. A file that
    was there before is not ours, and is not recorded."""
    ours = [str(place) for place in places if not exists(place)]
    state.installed = merged(state.installed, {"files": ours} if ours else {})
    if not check:
        host.store.save(state)


def served(host: Host) -> bytes | None:
    """The server's certificate with its key, as nginx reads them; None if they do not match."""
    folder = host.paths.certificates
    certificate = certificates.facts(host.runner, folder / "tls.crt", folder / "tls.key")
    if certificate is None or not certificate.key_matches:
        return None
    return (read_bytes(folder / "tls.crt") or b"") + (read_bytes(folder / "tls.key") or b"")


def _required(path: Path, check: bool) -> bytes:
    data = read_bytes(path)
    if data is None and not check:
        raise HostError(f"{path} is not there: run the whole site.yml, which makes it")
    return data or b""


def _place(host: Host, path: Path, data: bytes, mode: int, group: int, check: bool) -> list[str]:
    try:
        status = path.stat()
        present = (status.st_mode & 0o7777, status.st_uid, status.st_gid)
    except OSError:
        present = None
    if present == (mode, host.root_id, group) and read_bytes(path) == data:
        return []
    if not check:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_atomically(path, data, mode, host.root_id, group)
    return [f"{path}: written"]
