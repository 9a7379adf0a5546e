"""Completes or undoes what an interrupted run began; then only serving and retired generations are
left."""

from __future__ import annotations

from ..system.errors import HostError
from ..system.state import DRAINING, STARTING, SWITCHING, Generation
from . import proxy
from .leftovers import remove_leftovers
from .readiness import Readiness
from .records import Records
from .switch import Switch


class Recovery:
    """Repairs the generations of one kind, by the phases on record (generations.py)."""

    def __init__(self, records: Records, readiness: Readiness, switch: Switch) -> None:
        self.records = records
        self.readiness = readiness
        self.switch = switch

    def repair(self) -> None:
        records, drain = self.records, self.switch.drain
        for generation in list(records.record.generations):
            if generation not in records.record.generations:
                continue  # an earlier generation serves again, and this one was removed
            if generation.phase == STARTING:
                records.discard(generation)
                records.did(f"generation {generation.number} was incomplete and was removed")
            elif generation.phase == SWITCHING:
                self._finish_switch(generation)
            elif generation.phase == DRAINING:
                drain.drain(generation)
        remove_leftovers(records, drain.draining.timeout)

    def _finish_switch(self, generation: Generation) -> None:
        records = self.records
        spec = records.specification(generation.number)
        if spec is not None and records.lives(generation):
            try:
                self.readiness.wait_for(spec, generation)
                self.switch.to(generation)
                return
            except HostError:
                if generation not in records.record.generations:
                    return  # it ended meanwhile, and the previous one serves again
                if generation.phase != SWITCHING:
                    raise  # it serves: the removal of the old one failed
                # It was healthy before the interruption and is not now, so undo the switch.
        if generation in records.record.generations:
            self._go_back(generation)

    def _go_back(self, generation: Generation) -> None:
        """Undoes a switch. nginx may already lead to the new generation, so nginx comes first."""
        records, state = self.records, self.records.state
        records.actions += proxy.apply(records.host, state, proxy.serving_now(state))
        records.discard(generation)
        records.did(f"generation {generation.number} was no longer healthy and was removed")
