"""The generations of one kind of container: their records, directories and container names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..system import names
from ..system.context import Host
from ..system.engine import Container
from ..system.errors import HostError
from ..system.files import read_text, remove_tree
from ..system.signing_keys import RS256
from ..system.state import RETIRED, Generation, Kind, State
from .specification import Specification, read


class Records:
    """The records of the generations of `kind`; `actions` says what was done to them."""

    def __init__(self, host: Host, state: State, kind: str) -> None:
        self.host = host
        self.state = state
        self.kind = kind
        self.record: Kind = state.kind(kind)
        self.actions: list[str] = []

    @property
    def serving(self) -> Generation | None:
        return self.record.serving

    @property
    def labels(self) -> dict[str, str]:
        return {**self.host.labels, "wharfinger.kind": self.kind}

    @property
    def network(self) -> Mapping[str, Any]:
        """The stack's docker network. Raises HostError if there is none yet."""
        if self.state.network is None:
            raise HostError(
                f"{self.kind}: the docker network is not there yet: run the whole site.yml first"
            )
        return self.state.network

    def name(self, number: int) -> str:
        """The container's name."""
        return names.container(self.host.stack, self.kind, number)

    def directory(self, number: int) -> Path:
        return self.host.paths.generations / self.kind / str(number)

    def specification(self, number: int) -> Specification | None:
        """What a generation was started with; None if its spec.json is lost."""
        text = read_text(self.directory(number) / "spec.json")
        return None if text is None else read(json.loads(text))

    def container(self, generation: Generation) -> Container | None:
        return self.host.engine.inspect(self.name(generation.number))

    def lives(self, generation: Generation) -> bool:
        container = self.container(generation)
        return container is not None and container.running

    def save(self) -> None:
        self.host.store.save(self.state)

    def enter(self, generation: Generation, phase: str) -> None:
        """Changes the phase in memory; `save` writes it."""
        generation.phase = phase
        generation.since = self.host.clock.now()

    def discard(self, generation: Generation) -> None:
        """Removes the generation's container, directory and record."""
        self.host.engine.remove(self.name(generation.number))
        remove_tree(self.directory(generation.number))
        self.record.generations.remove(generation)
        self.save()

    def did(self, action: str) -> None:
        self.actions.append(f"{self.kind}: {action}")

    def reads_at_start(self, generation: Generation, name: str) -> bool:
        """Whether `name` is one of the generation's startup inputs."""
        spec = self.specification(generation.number)
        return spec is not None and name in (spec.raw.get("live") or {})

    def works_with(self, algorithm: str) -> bool:
        """Whether every generation that serves, or may serve after an interrupted run, works with a
        key for this algorithm."""
        return all(
            # Without its specification, nobody knows how old the generation is.
            algorithm == RS256
            if (spec := self.specification(generation.number)) is None
            else spec.works_with(algorithm)
            for generation in self.record.generations
            if generation.phase != RETIRED
        )
