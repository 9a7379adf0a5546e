"""Leads nginx to another generation, or to none, then drains and removes the previous one."""

from __future__ import annotations

from ..system.errors import HostError
from ..system.files import exists
from ..system.state import DRAINING, SERVING, SWITCHING, Generation
from . import proxy
from .drain import Drain
from .leftovers import remove_leftovers
from .records import Records


class Switch:
    """Switches between the generations of one kind."""

    def __init__(self, records: Records, drain: Drain) -> None:
        self.records = records
        self.host = records.host
        self.drain = drain

    def to(self, generation: Generation) -> None:
        """Leads nginx to `generation`, then drains and removes the previous one. Raises HostError
        if nginx refuses, or if the new one ended meanwhile and the previous one serves again."""
        records, old = self.records, self.records.serving
        records.enter(generation, SWITCHING)
        if old is not None and exists(self.host.paths.site):
            # nginx's current workers may still send requests to the old generation after the
            # reload. Without our site there is no reload to wait for.
            workers = self.host.nginx.workers()
            old.workers = [
                *old.workers,
                *(worker for worker in workers if worker not in old.workers),
            ]
        records.save()
        self._lead_to(generation)
        records.enter(generation, SERVING)
        generation.workers = []
        if old is not None:
            records.enter(old, DRAINING)
        records.save()
        failure = None if old is None else self.drain.drain(old)
        if failure is not None:
            raise HostError(failure)
        remove_leftovers(records, self.drain.draining.timeout)

    def withdraw(self) -> None:
        """Ends what serves: nginx stops sending to it, then it is drained and removed."""
        serving = self.records.serving
        if serving is None:
            return
        serving.workers = self.host.nginx.workers()
        self.records.save()
        self._lead_to(None)
        self.records.enter(serving, DRAINING)
        self.records.save()
        self.drain.drain(serving)
        self.records.did(f"generation {serving.number} was withdrawn")

    def _lead_to(self, generation: Generation | None) -> None:
        state = self.records.state
        serving = {**proxy.serving_now(state), self.records.kind: generation}
        self.records.actions += proxy.apply(self.host, state, serving)

    def resume_writing(self) -> None:
        """Switches back from a read-only generation to the writable one, if that one is paused or
        still answers its last requests. Nothing is waited for, and no request is lost."""
        self._leave_for_reading()
        serving = self.records.serving
        writers = [
            generation
            for generation in self.records.record.in_phase(DRAINING)
            if not generation.readonly
        ]
        if serving is None or not serving.readonly or not writers:
            return
        self.drain.wake(writers[-1])
        if not self.records.lives(writers[-1]):
            return
        self.to(writers[-1])
        self.records.did(
            f"generation {writers[-1].number} serves again instead of {serving.number}"
        )

    def _leave_for_reading(self) -> None:
        """Completes a switch to a read-only generation that a kill interrupted. So the requests of
        the writable generation need not end first."""
        records, serving = self.records, self.records.serving
        for generation in records.record.in_phase(SWITCHING):
            if (
                generation.readonly
                and serving is not None
                and not serving.readonly
                and records.lives(generation)
            ):
                records.enter(serving, DRAINING)
                records.enter(generation, SERVING)
                records.save()
