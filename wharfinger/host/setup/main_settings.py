"""nginx.conf itself: room for connections with incomplete requests.

nginx's limit per address only counts a connection after it has read the request's headers. So the
number of connections is the only limit for half-sent requests: 2,000 of them use up Debian's 768
`worker_connections`. An events block cannot be extended from another file. So if the toolkit has
installed nginx, and nginx.conf is the package's own text, it is replaced by a copy with larger
numbers.

The package's text is kept in nginx.conf.package, by a diversion in dpkg: an upgrade replaces that
file without a question. The diversion is also the record that the toolkit made this change.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ..system.context import Host
from ..system.files import exists, read_bytes, write_atomically
from ..system.state import State

CONNECTIONS = 8192
# For each worker's connections, files and logs. A connection to the registry counts as one of the
# connections, the file of a blob does not.
FILES = 2 * CONNECTIONS + 512
_NOTE = f"""\
# By Wharfinger: the package's own text is kept in nginx.conf.package. Here is more room for clients
# that send their requests slowly.
worker_rlimit_nofile {FILES};
"""
_NUMBER = re.compile(r"^([ \t]*worker_connections[ \t]+)(\d+)([ \t]*;)", re.MULTILINE)
_EVENTS = re.compile(r"^events\b", re.MULTILINE)
_RECORD = "nginx_conf"


def with_room(text: str) -> str | None:
    """nginx.conf with room for CONNECTIONS; None if it has that already, or does not look like a
    package's (pure)."""
    numbers, events = _NUMBER.findall(text), _EVENTS.findall(text)
    if len(numbers) != 1 or len(events) != 1 or "worker_rlimit_nofile" in text:
        return None
    if int(numbers[0][1]) >= CONNECTIONS:
        return None
    text = _NUMBER.sub(rf"\g<1>{CONNECTIONS}\g<3>", text)
    return _EVENTS.sub(lambda events: _NOTE + events[0], text)


def make_room(host: Host, state: State, check: bool) -> list[str]:
    """Makes room in nginx.conf, if it is a package's; returns what was done. nginx tests it; the
    caller reloads. A file that somebody else has written is not changed."""
    conf, package = _files(host)
    present = read_bytes(conf)
    if present is None or conf.is_symlink():
        return []
    diverted = _diverted(host)
    if diverted:
        base = read_bytes(package)
        if base is None or _sha256(present) not in (_sha256(base), state.installed.get(_RECORD)):
            return []
    elif _brought(state) and _is_packaged(host, conf, present):
        base = present
    else:
        return []
    wanted = with_room(base.decode("utf-8", "replace"))
    if wanted is None or wanted.encode() == present:
        return []
    action = f"{conf}: room for {CONNECTIONS} connections (the package's own is {package})"
    if check:
        return [action]
    if host.nginx.test() is not None:
        return []  # the next test of the configuration reports why
    if not diverted:
        # After a kill at these steps, nginx.conf is unchanged.
        write_atomically(package, base, 0o644)
        if not _divert(host, "--add"):
            package.unlink()
            return []
    state.installed[_RECORD] = _sha256(wanted.encode())
    host.store.save(state)
    write_atomically(conf, wanted.encode(), 0o644)
    if host.nginx.test() is not None:
        take_back(host, state)
        return []
    # This makes the next step reload nginx.
    state.proxy_loaded = None
    host.store.save(state)
    return [action]


def take_back(host: Host, state: State, check: bool = False) -> list[str]:
    """Restores the package's own nginx.conf, if it was replaced. If somebody has changed ours
    since, it stays, as a configuration file that its owner has changed."""
    conf, package = _files(host)
    if not _diverted(host):
        return []
    base, present = read_bytes(package), read_bytes(conf)
    ours = present is not None and _sha256(present) == state.installed.get(_RECORD)
    if not check:
        if base is not None and ours:
            write_atomically(conf, base, 0o644)
        _divert(host, "--remove")
        package.unlink(missing_ok=True)
        state.installed.pop(_RECORD, None)
    if not ours:
        return [f"{conf}: left as it is"]
    return [f"{conf}: {'would be ' if check else ''}the package's own again"]


def package_file(host: Host) -> Path:
    """The path of the package's own text."""
    return _files(host)[1]


def connections(text: str) -> int | None:
    """worker_connections in the text of nginx.conf; None if it is not there (pure)."""
    setting = _NUMBER.search(text)
    return int(setting[2]) if setting else None


def is_ours_to_change(host: Host, state: State) -> bool:
    """Whether nginx.conf is the text of a package that the toolkit has installed, or what
    `make_room` has made of it."""
    conf, _ = _files(host)
    present = read_bytes(conf)
    if present is None or conf.is_symlink():
        return False
    return _diverted(host) or (_brought(state) and _is_packaged(host, conf, present))


def _brought(state: State) -> bool:
    return "nginx" in (state.installed.get("packages") or ())


def _files(host: Host) -> tuple[Path, Path]:
    conf = host.paths.nginx / "nginx.conf"
    return conf, conf.with_name("nginx.conf.package")


def _is_packaged(host: Host, conf: Path, present: bytes) -> bool:
    """Whether this is a package's text, by dpkg's record."""
    said = host.runner.run(["dpkg-query", "--search", str(conf)], timeout=30)
    package, _, name = said.output.strip().partition(": ")
    if not said.ok or name != str(conf):
        return False
    said = host.runner.run(["dpkg-query", "-W", "-f", "${Conffiles}", package], timeout=30)
    digest = hashlib.md5(present, usedforsecurity=False).hexdigest()
    return [str(conf), digest] in [line.split()[:2] for line in said.output.splitlines()]


def _diverted(host: Host) -> bool:
    """Whether dpkg diverts the package's nginx.conf to where `make_room` keeps it."""
    conf, package = _files(host)
    said = host.runner.run(["dpkg-divert", "--truename", str(conf)], timeout=30)
    return said.ok and said.output.strip() == str(package) and exists(package)


def _divert(host: Host, action: str) -> bool:
    conf, package = _files(host)
    command = ["dpkg-divert", "--local", "--no-rename", "--divert", str(package), action, str(conf)]
    return host.runner.run(command, timeout=30).ok


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
