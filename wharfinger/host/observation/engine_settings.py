"""Why dockerd would not start with its present settings: daemon.json and flags."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..system.files import read_text
from ..system.paths import Paths
from ..system.runner import Runner

# Flags that have another name in daemon.json.
_KEYS = {
    **{"H": "hosts", "host": "hosts", "D": "debug", "l": "log-level", "g": "data-root"},
    **{"graph": "data-root", "G": "group", "b": "bridge", "p": "pidfile", "s": "storage-driver"},
    **{"label": "labels", "insecure-registry": "insecure-registries"},
    **{"registry-mirror": "registry-mirrors", "dns-opt": "dns-opts", "log-opt": "log-opts"},
    **{"storage-opt": "storage-opts", "exec-opt": "exec-opts"},
    **{"authorization-plugin": "authorization-plugins", "default-ulimit": "default-ulimits"},
    **{"default-address-pool": "default-address-pools", "add-runtime": "runtimes"},
}
# These may be in both: dockerd merges them.
_MERGED = frozenset({"runtimes", "config-file"})


# The flags of dockerd in Debian's package: of its unit, and of its init script.
_BY_UNIT = ("-H", "fd://", "--containerd=/run/containerd/containerd.sock", "$DOCKER_OPTS")
_BY_SCRIPT = ("-p", "/var/run/docker.pid", "$DOCKER_OPTS")


def flags(unit: Mapping[str, str] | None, paths: Paths) -> list[str]:
    """The flags with which dockerd is, or would be, started.

    unit: docker.service (`service.units`), None without systemd. Unit and init script both read
    DOCKER_OPTS from /etc/default/docker.
    """
    started = re.search(r"argv\[\]=(.*?) ; ignore_errors=", (unit or {}).get("ExecStart", ""))
    words = started[1].split()[1:] if started else _BY_SCRIPT if unit is None else _BY_UNIT
    options = re.findall(r"^\s*DOCKER_OPTS=(.*)$", read_text(paths.docker_defaults) or "", re.M)
    try:
        # First the shell's quotes around the value, then the words in it.
        given = [word for text in shlex.split(options[-1])[:1] for word in shlex.split(text)]
    except (IndexError, ValueError):
        given = []
    answer: list[str] = []
    for word in words:
        if word in ("$DOCKER_OPTS", "${DOCKER_OPTS}"):
            answer += given
        elif not word.startswith("$"):
            answer.append(word)
    return answer


def value_of(options: Sequence[str], *names: str) -> list[str]:
    """The values of an option, `--name value`, `--name=value`, `-n value` or `-nvalue`."""
    values: list[str] = []
    for at, word in enumerate(options):
        for name in names:
            dashed = f"--{name}" if len(name) > 1 else f"-{name}"
            if word == dashed:
                values += options[at + 1 : at + 2]
            elif word.startswith(f"{dashed}="):
                values.append(word.partition("=")[2])
            elif len(name) == 1 and word.startswith(dashed):
                values.append(word[2:])
    return values


def read(path: Path) -> tuple[dict[str, Any], str | None]:
    """The content of daemon.json, and what is wrong with it."""
    text = read_text(path)
    if text is None or not text.strip():
        return {}, None
    try:
        settings = json.loads(text.removeprefix("\ufeff"))
    except ValueError as problem:
        line = getattr(problem, "lineno", 1)
        why = str(getattr(problem, "msg", problem))
        return {}, f"{path}, line {line}, is not JSON ({why}): correct it"
    if not isinstance(settings, dict):
        return {}, f"{path} is not a JSON object: write its settings between {{ and }}"
    return settings, None


def problem(options: Sequence[str], paths: Paths) -> str | None:
    """Why dockerd would refuse its settings with these flags; None if it accepts them."""
    path = settings_file(options, paths)
    content, wrong = read(path)
    if wrong:
        return wrong
    for word in options:
        if not word.startswith("-"):
            continue
        name = word.lstrip("-").partition("=")[0]
        name = name if word.startswith("--") else name[:1]
        key = _KEYS.get(name, name)
        if key in content and key not in _MERGED:
            flag = f"--{name}" if word.startswith("--") else f"-{name}"
            return (
                f"{key} is in {path} and also given to dockerd as {flag}, by its service or by "
                f"DOCKER_OPTS in {paths.docker_defaults}: remove it from one of them"
            )
    return None


def refused(options: Sequence[str], paths: Paths, runner: Runner) -> str | None:
    """What dockerd itself says about its settings, if it can check them (Docker 23 and newer)."""
    path = settings_file(options, paths)
    daemon = runner.which("dockerd")
    if daemon is None or read_text(path) is None:
        return None
    said = runner.run([daemon, "--validate", f"--config-file={path}", *_without(options)])
    if said.ok or "unable to configure the Docker daemon" not in said.words:
        return None
    why = said.words.splitlines()[-1].partition(f"{path}: ")[2] or said.words
    return f"dockerd refuses {path} ({why}): correct it"


def refused_by_containerd(options: Sequence[str], runner: Runner) -> str | None:
    """What containerd says about its own settings, if it is installed and dockerd needs it."""
    if not value_of(options, "containerd") or runner.which("containerd") is None:
        return None
    said = runner.run(["containerd", "config", "dump"])
    place = re.search(r"failed to load TOML: (\S+): \((\d+), ", said.error)
    if said.ok or place is None:
        return None
    # Its own message may quote a password in this file.
    return (
        f"containerd, which it needs, cannot read {place[1]}, line {place[2]}: correct it "
        "(`containerd config dump` says what is wrong)"
    )


def settings_file(options: Sequence[str], paths: Paths) -> Path:
    """The daemon.json that dockerd reads."""
    named = value_of(options, "config-file")
    return Path(named[-1]) if named else paths.docker_settings


def _without(options: Sequence[str]) -> list[str]:
    """The flags without --config-file, which is passed separately."""
    return [
        word
        for at, word in enumerate(options)
        if not word.startswith("--config-file") and not (at and options[at - 1] == "--config-file")
    ]
