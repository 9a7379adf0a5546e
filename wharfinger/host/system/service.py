"""Starts a service by the host's service manager; dockerd also by itself if that fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from .errors import HostError
from .files import exists, read_text
from .paths import Paths
from .runner import Runner

# Seconds that a started service may take to answer.
_PATIENCE = 60.0
# So many lines of a log are shown.
_LOG_LINES = 12
# Units whose journals may say why a service does not start.
_JOURNALS = {"docker": ("docker.service", "docker.socket", "containerd.service")}


def start_service(
    name: str,
    paths: Paths,
    runner: Runner,
    running: Callable[[], bool],
    *,
    check: bool = False,
    patience: float = _PATIENCE,
) -> list[str]:
    """Starts `name` if it does not run; returns what was done. Raises HostError with its messages.

    Debian's init script for docker fails at `ulimit -n` if root lacks CAP_SYS_RESOURCE. If there is
    no systemd either, dockerd is started directly.
    """
    if running():
        return []
    if check:
        return [f"{name}: would be started"]
    systemd = exists(paths.systemd)
    command = ["systemctl", "start", name] if systemd else ["service", name, "start"]
    said = runner.run(command, timeout=120)
    # docker's script may succeed before dockerd runs, or although it does not
    if _becomes(running, patience if said.ok else 3):
        started = f"{name}: started ({' '.join(command)})"
        return [started, *(_enabled(name, runner) if systemd else [])]
    if name == "docker" and not systemd:
        return _start_dockerd(paths, runner, running, said.words, patience)
    raise HostError(
        f"{name} does not start (`{' '.join(command)}` said: {said.words or 'nothing'})."
        f"{last_lines(name, paths, runner)}"
    )


def _enabled(name: str, runner: Runner) -> list[str]:
    """Enables a service that was stopped and disabled: the registry must start after a boot."""
    if runner.run(["systemctl", "is-enabled", name]).output.strip() != "disabled":
        return []
    said = runner.run(["systemctl", "enable", name], timeout=60)
    return [f"{name}: enabled, so that it starts at a boot"] if said.ok else []


def last_lines(name: str, paths: Paths, runner: Runner) -> str:
    """The end of a service's log, to be appended to a message: of the journal, or of its log file
    if there is no systemd."""
    if exists(paths.systemd):
        units = [f"--unit={unit}" for unit in _JOURNALS.get(name, (name,))]
        command = ["journalctl", *units, "--boot", "--lines=40", "--output=cat", "--no-pager"]
        place, text = f"`journalctl -u {name}`", runner.run(command, timeout=20).output
    else:
        log = paths.docker_log if name == "docker" else paths.nginx_log / "error.log"
        place, text = str(log), read_text(log) or ""
    lines = last_words(text.splitlines())
    return f" The end of {place}:\n{lines[-3000:]}" if lines else f" Nothing is in {place}."


def last_words(lines: list[str]) -> str:
    """The last lines of a log; of a crashed Go program, the reason without its stack."""
    reasons = [at for at, line in enumerate(lines) if line.startswith(("panic: ", "fatal error: "))]
    if reasons:
        lines = lines[: reasons[-1] + 1]
    return "\n".join(lines[-_LOG_LINES:]).strip()


def units(paths: Paths, runner: Runner, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Unit → its properties in systemd (LoadState, UnitFileState, ExecStart, Listen, Requires); {}
    if there is no systemd."""
    if not exists(paths.systemd):
        return {}
    properties = "LoadState,UnitFileState,ExecStart,Listen,Requires"
    said = runner.run(["systemctl", "show", f"--property={properties}", *names])
    sections: list[dict[str, str]] = []
    for part in said.output.rstrip("\n").split("\n\n"):
        sections.append({})
        for key, _, value in (line.partition("=") for line in part.splitlines()):
            # A socket unit has a line for each address.
            sections[-1][key] = f"{sections[-1][key]}, {value}" if key in sections[-1] else value
    return dict(zip(names, sections, strict=False))


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
        raise HostError(
            f"docker does not start, neither by its init script ({reason or 'no message'}) nor by "
            f"itself ({said.words or 'no message'}).{last_lines('docker', paths, runner)}"
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
