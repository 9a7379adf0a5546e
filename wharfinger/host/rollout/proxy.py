"""nginx's part of a switch: upstreams.conf and our site file, tested by nginx or else undone."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...deployment.fixed import REGISTRY_DEBUG_PORT
from ..system import logs, restoring
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists, read_bytes, read_text, write_atomically
from ..system.names import REGISTRY
from ..system.state import KINDS, OPENING, Generation, State

# The registry's debug listener (http.debug in its configuration).
METRICS_PORT = REGISTRY_DEBUG_PORT
# docker tries again by itself.
_RESTORING = 503


def refusal(status: int | None = None, until: float = 0, repositories: str = "") -> list[str]:
    """nginx's configuration that refuses writes with `status`; None refuses none (pure).

    `repositories`: a regular expression of those to which writes are refused meanwhile. The site
    file has the sentences for clients. They name `until` (seconds since 1970).
    """
    key, closed = "$request_method", []
    if status is not None:
        closed = [f"    ~^(POST|PUT|PATCH|DELETE)$ {status};"]
    elif repositories:
        # The site refuses paths that could be written in other ways.
        key = '"$request_method $request_uri"'
        closed = [
            f'    "~^(POST|PUT|PATCH|DELETE) /v2/({repositories})/(manifests|blobs)/" {_RESTORING};'
        ]
    moment = time.strftime("%H:%M UTC", time.gmtime(until)) if status else ""
    return [
        f"map {key} $wharfinger_closed {{",
        '    default "";',
        *closed,
        "}",
        "map $request_method $wharfinger_closed_until {",
        f'    default "{moment}";',
        "}",
    ]


def _current_refusal(
    host: Host, state: State, serving: Mapping[str, Generation | None]
) -> list[str]:
    """Refuses writes from the beginning of maintenance until a writable registry serves, or those
    to repositories that are being restored."""
    maintenance, registry = state.window, serving.get(REGISTRY)
    if maintenance is None or (
        maintenance.step == OPENING and not (registry and registry.readonly)
    ):
        record = restoring.load(host.paths.restoring)
        return refusal(repositories="" if record is None else record.pattern())
    return refusal(maintenance.status, maintenance.until)


def upstreams(
    serving: Mapping[str, Generation | None], present: str = "", refused: list[str] | None = None
) -> str:
    """upstreams.conf: one upstream per container that serves, and the lines of `refusal` in
    `refused`. The upstream of a kind that `serving` does not name stays as in the `present` file.

    `max_fails=0`: with one server, nginx must not declare it dead. `keepalive` is for the registry
    only: it never closes an idle connection, so nginx cannot send a request into a closing one; the
    token server does close them. The registry's metrics have a port of their own.
    """
    lines = ["# Written by wharfinger-host at each switch of generations; changes are lost."]
    for kind in KINDS:
        if kind not in serving:
            blocks = rf"^upstream wharfinger_{kind}(?:_metrics)? {{.*?^}}$"
            lines += re.findall(blocks, present, re.M | re.S)
            continue
        generation = serving[kind]
        if generation is None:
            continue
        lines += [
            f"upstream wharfinger_{kind} {{",
            f"    server {generation.address}:{generation.port} max_fails=0;",
            *(["    keepalive 32;"] if kind == REGISTRY else []),
            "}",
        ]
        if kind == REGISTRY:
            lines += [
                f"upstream wharfinger_{kind}_metrics {{",
                f"    server {generation.address}:{METRICS_PORT} max_fails=0;",
                "}",
            ]
    return "\n".join([*lines, *(refusal() if refused is None else refused)]) + "\n"


def serving_now(state: State) -> dict[str, Generation | None]:
    """What serves, by kind. A kind without any record is left out: the state may have been lost
    while nginx still leads to a container that works."""
    return {kind: state.kind(kind).serving for kind in KINDS if state.kind(kind).generations}


def fingerprint(host: Host) -> str:
    """A hash of all our files that nginx reads, to tell whether it has read the current ones."""
    digest = hashlib.sha256()
    for path in (
        host.paths.site,
        host.paths.upstreams,
        host.paths.served,
    ):
        data = read_bytes(path)
        digest.update(b"-" if data is None else b"+" + len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def is_current(host: Host, state: State) -> bool:
    """Whether nginx runs with the current files, or has no site of ours."""
    if not exists(host.paths.site):
        return True
    return state.proxy_loaded == fingerprint(host) and host.nginx.running()


def apply(
    host: Host,
    state: State,
    serving: Mapping[str, Generation | None],
    *,
    site: str | None = None,
    tls: bytes | None = None,
    check: bool = False,
    gently: bool = True,
) -> list[str]:
    """Leads nginx to `serving`, with the site file `site` and the certificate and key `tls` if they
    are given. Returns what was done. Without `gently` it happens at once, and clients may lose a
    request.

    If nginx refuses the configuration, its last good files are restored, and HostError carries
    nginx's message. Without our site file, upstreams.conf is only written, for later.
    """
    wanted = _wanted(host, state, serving, site, tls)
    changed = {path: data for path, data in wanted.items() if read_bytes(path) != data}
    if not changed and is_current(host, state):
        return []
    actions = [f"{path}: written" for path in changed]
    has_site = exists(host.paths.site) or site is not None
    if check:
        return [*actions, "nginx: reloaded"] if has_site else actions
    before = {path: read_bytes(path) for path in wanted}
    for path, data in changed.items():
        _write(host, path, data)
    if not has_site:
        return actions
    reloaded = False
    logs.prepare(host)
    try:
        _test(host)
        reloaded = host.nginx.running()
        actions += _reload_or_start(host, gently)
    except HostError:
        _undo(host, state, before, reloaded)
        raise
    for path in (host.paths.site, host.paths.upstreams, host.paths.served):
        accepted = read_bytes(path)
        if accepted is not None and read_bytes(_last_good(host, path)) != accepted:
            _write(host, _last_good(host, path), accepted)
    state.proxy_loaded = fingerprint(host)
    host.store.save(state)
    return actions


def _wanted(
    host: Host,
    state: State,
    serving: Mapping[str, Generation | None],
    site: str | None,
    tls: bytes | None,
) -> dict[Path, bytes]:
    """The files that nginx shall read; those without a new content are left out."""
    wanted: dict[Path, bytes] = {}
    if tls is not None:
        wanted[host.paths.served] = tls
    if exists(host.paths.nginx):
        present = read_text(host.paths.upstreams) or ""
        wanted[host.paths.upstreams] = upstreams(
            serving, present, _current_refusal(host, state, serving)
        ).encode()
    if site is not None:
        wanted[host.paths.site] = site.encode()
    return wanted


def _undo(host: Host, state: State, before: Mapping[Path, bytes | None], reloaded: bool) -> None:
    """Restores nginx's last good files. `reloaded`: a running nginx may have read other ones."""
    for path, data in before.items():
        _restore(host, path, read_bytes(_last_good(host, path)) or data)
    if reloaded:
        # A slow nginx may still load the files that are undone by now. So it reloads once more, in
        # the next run if not in this one.
        state.proxy_loaded = None
        host.store.save(state)
        with suppress(HostError):
            _reload_or_start(host, gently=False)


def _test(host: Host) -> None:
    problem = host.nginx.test()
    if problem is not None:
        raise HostError(f"nginx refuses its new configuration and keeps the present one: {problem}")


def _reload_or_start(host: Host, gently: bool = True) -> list[str]:
    if not host.nginx.running():
        return host.nginx.start()
    host.nginx.reload(gently=gently)
    return ["nginx: reloaded"]


def _last_good(host: Host, path: Path) -> Path:
    """Where the last version that nginx accepted is kept: after a kill, nginx may never have tested
    the file in place."""
    if path == host.paths.served:
        return path.with_name("tls_before.pem")
    return host.paths.var / "proxy" / path.name


def _write(host: Host, path: Path, data: bytes) -> None:
    """Only root may read files beside the keys."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    secret = path.parent == host.paths.certificates
    write_atomically(path, data, 0o600 if secret else 0o644)


def _restore(host: Host, path: Path, data: bytes | None) -> None:
    if data is None:
        path.unlink(missing_ok=True)
    else:
        _write(host, path, data)


def proxy(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`proxy`: nginx leads to what serves. No request keys."""
    state = host.store.load()
    return {"actions": apply(host, state, serving_now(state), check=check)}


def reload_proxy(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`reload_proxy`: nginx reloads its configuration, whatever changed in it. No request keys.

    Raises HostError with nginx's message if the configuration is bad; the caller restores the file.
    """
    if check:
        return {"actions": ["nginx: reloaded"]}
    state = host.store.load()
    _test(host)
    actions = _reload_or_start(host)
    state.proxy_loaded = fingerprint(host)
    host.store.save(state)
    return {"actions": actions}
