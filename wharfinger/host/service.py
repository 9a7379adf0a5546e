"""Starting a service, by the host's service manager, and dockerd also where that cannot."""

from __future__ import annotations

import time
from collections.abc import Callable

from .errors import HostError
from .files import exists, read_text
from .paths import Paths
from .runner import Runner

# Seconds until a service that was started must answer.
_PATIENCE = 60.0


def start_service(
    name: str,
    paths: Paths,
    runner: Runner,
    running: Callable[[], bool],
    *,
    check: bool = False,
    patience: float = _PATIENCE,
) -> list[str]:
    """Starts `name` where it does not run; returns what was done. Raises HostError with its words.

    Debian's init script for docker ends at `ulimit -n` where root lacks CAP_SYS_RESOURCE; where
    there is no systemd either, dockerd is started by itself.
    """
    if running():
        return []
    if check:
        return [f"{name}: would be started"]
    systemd = exists(paths.systemd)
    command = ["systemctl", "start", name] if systemd else ["service", name, "start"]
    said = runner.run(command, timeout=120)
    # docker's script may end well before, or without, dockerd being there
    if _becomes(running, patience if said.ok else 3):
        return [f"{name}: started ({' '.join(command)})"]
    if name == "docker" and not systemd:
        return _start_dockerd(paths, runner, running, said.words, patience)
    advice = f"systemctl status {name}" if systemd else f"service {name} start"
    raise HostError(
        f"{name} does not start (`{' '.join(command)}` said: {said.words or 'nothing'}): run "
        f"`{advice}` on the host and look at its log"
    )


def _start_dockerd(
    paths: Paths, runner: Runner, running: Callable[[], bool], reason: str, patience: float
) -> list[str]:
    daemon = runner.which("dockerd") or "/usr/sbin/dockerd"
    said = runner.run(
        [
            *("start-stop-daemon", "--start", "--background", "--exec", daemon),
            *("--pidfile", "/run/docker-ssd.pid", "--make-pidfile"),
            *("--output", str(paths.docker_log), "--", "--pidfile", "/run/docker.pid"),
        ],
        timeout=30,
    )
    if not said.ok or not _becomes(running, patience):
        log = "\n".join((read_text(paths.docker_log) or said.words).splitlines()[-8:])
        raise HostError(
            f"docker does not start, neither by its init script ({reason or 'no message'}) nor by "
            f"itself; the end of {paths.docker_log}:\n{log}"
        )
    why = next((line for line in reason.splitlines() if "limit" in line), reason.splitlines()[-1:])
    return [
        "docker: started by start-stop-daemon, because its init script cannot here "
        f"({why if isinstance(why, str) else ' '.join(why) or 'it said nothing'})"
    ]


def _becomes(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
