"""The host's record (state.json), and the phases of a generation.

The file is the program's journal. It is written atomically before and after each step that matters,
so that the next run after a crash knows where to continue.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import HostError
from .files import read_bytes, write_atomically
from .names import REGISTRY, TOKEN_SERVER

FORMAT = 3
KINDS = (REGISTRY, TOKEN_SERVER)

# A generation's phases, in order.
STARTING = "starting"  # it has a number and a slot; it may not be complete
SWITCHING = "switching"  # it has passed the readiness check; nginx is being switched to it
SERVING = "serving"
DRAINING = "draining"  # nginx no longer uses it; it answers its last requests
RETIRED = "retired"  # it has no container; its directory stays for a rollback


@dataclass
class Generation:
    """One generation of one container. `since` is when the phase began (seconds since 1970)."""

    number: int
    slot: str
    address: str
    port: int
    spec: str
    image: str
    phase: str
    since: float
    stop_timeout: int = 60
    # image and settings: the specification without startup inputs
    settings: str = ""
    # which run of a playbook introduced this image and these settings, and when
    deployment: str = ""
    changed: float = 0
    # nginx's workers (pid, start time) that may still send requests to it
    workers: list[list[int]] = field(default_factory=list)
    # it only answers reads, and its storage is read-only (contents/maintenance.py)
    readonly: bool = False


@dataclass
class Kind:
    """The generations of one container, oldest first. Numbers are never used twice."""

    next: int = 1
    generations: list[Generation] = field(default_factory=list)

    def in_phase(self, *phases: str) -> list[Generation]:
        return [generation for generation in self.generations if generation.phase in phases]

    @property
    def serving(self) -> Generation | None:
        serving = self.in_phase(SERVING)
        return serving[-1] if serving else None

    @property
    def settings_before(self) -> str:
        """The settings of the previous generation; "" if there is none."""
        previous = self.previous
        return "" if previous is None else previous.settings

    @property
    def previous(self) -> Generation | None:
        """The newest earlier generation with another image or other settings, for a rollback.

        A generation that differs only in startup inputs (users, trusted keys) does not count."""
        serving = self.serving
        others = [
            retired
            for retired in self.in_phase(RETIRED)
            if serving is None or not retired.settings or retired.settings != serving.settings
        ]
        return others[-1] if others else None


@dataclass
class Rotation:
    """A rotation of the signing key that is under way (rotation.py). `step`: the next step;
    `since`: when the rotation began; `until`: when all tokens of the old key have expired (seconds
    since 1970)."""

    step: str
    since: float
    until: float | None = None


# The steps of read-only maintenance, in order.
CLOSING = "closing"  # nginx refuses writes; the last process that can write is ending
WORKING = "working"  # nothing can write
OPENING = "opening"  # a registry that takes writes is starting


@dataclass
class MaintenanceRecord:
    """Read-only maintenance that is under way (maintenance.py). `since` and `until` (at the
    latest): seconds since 1970; `status`: what nginx answers to writes, 503 or 429."""

    job: str
    step: str
    since: float
    until: float
    status: int = 503


@dataclass
class State:
    """state.json. `proxy_loaded`: the fingerprint of the files that nginx has last read;
    `tokens_until`: when the tokens of an earlier, longer lifetime have expired (seconds since
    1970); `alerted`: problems that were reported to an operator (alert.py); `rollback`: kinds that
    are still to be rolled back, with their target (Generation.settings); `window`: the read-only
    maintenance that is under way."""

    verification_hash: str | None = None
    installed: dict[str, Any] = field(default_factory=dict)
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    network: dict[str, Any] | None = None
    kinds: dict[str, Kind] = field(default_factory=lambda: {kind: Kind() for kind in KINDS})
    proxy_loaded: str | None = None
    storage_path: str | None = None
    rotation: Rotation | None = None
    tokens_until: float = 0
    alerted: dict[str, dict[str, Any]] = field(default_factory=dict)
    rollback: dict[str, str] = field(default_factory=dict)
    window: MaintenanceRecord | None = None

    def kind(self, name: str) -> Kind:
        return self.kinds.setdefault(name, Kind())


def encode(state: State) -> bytes:
    """The file's bytes; the same state gives the same bytes."""
    text = json.dumps({"format": FORMAT, **asdict(state)}, indent=1, sort_keys=True)
    return f"{text}\n".encode()


def decode(data: bytes, path: Path) -> State:
    """Reads what `encode` wrote. Raises HostError if a newer version wrote it, or it is damaged."""
    try:
        raw = json.loads(data)
        version = raw.pop("format")
        if version > FORMAT:
            raise HostError(
                f"{path} was written by a newer wharfinger-host (format {version}, this one knows "
                f"{FORMAT}): deploy from an up-to-date checkout"
            )
        kinds = {
            name: Kind(kind["next"], [Generation(**item) for item in kind["generations"]])
            for name, kind in raw.pop("kinds").items()
        }
        rotation = raw.pop("rotation", None)
        window = raw.pop("window", None)
        return State(
            kinds=kinds,
            rotation=rotation and Rotation(**rotation),
            window=window and MaintenanceRecord(**window),
            **raw,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise HostError(
            f"{path} cannot be read ({type(problem).__name__}): restore it from a backup, or "
            "remove it and deploy again (keys, users and data stay)"
        ) from problem


class Store:
    """Loads and saves the state. Each `save` is a step: tests kill the program around it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> State:
        data = read_bytes(self.path)
        return State() if data is None else decode(data, self.path)

    def save(self, state: State) -> None:
        data = encode(state)
        if read_bytes(self.path) != data:
            write_atomically(self.path, data, 0o600)


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`old` updated with `new`; lists are joined, because a later run installs less."""
    answer = dict(old)
    for key, value in new.items():
        present = answer.get(key)
        if isinstance(present, list) and isinstance(value, list):
            answer[key] = present + [item for item in value if item not in present]
        else:
            answer[key] = value
    return answer
