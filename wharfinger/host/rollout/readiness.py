"""Whether a new generation can serve: it answers, is healthy, and lets a real account in."""

from __future__ import annotations

import http.client
import json

from ..system.engine import Container
from ..system.errors import HostError
from ..system.service import last_words
from ..system.state import Generation
from . import readiness_check
from .records import Records
from .specification import Specification

# Seconds between two looks at something that is awaited.
POLL_INTERVAL = 0.1
# Seconds in which a container that ended, and that docker started again, may end once more.
_ENDS_AGAIN = 15
# Lines of a log that are read to find the reason above a stack.
_LOG_READ = 400


class Readiness:
    """Waits for generations of one kind, for `wait` seconds each."""

    def __init__(self, records: Records, wait: float) -> None:
        self.records = records
        self.host = records.host
        self.wait = wait

    def wait_for(self, spec: Specification, generation: Generation, restarts: int = 0) -> None:
        """Waits until the container answers the host at its address and passes its own health
        check, without ending once: docker has started it again `restarts` times before. Raises
        HostError with the reason, the container's last words included."""
        name = self.records.name(generation.number)
        deadline = self.host.clock.monotonic() + self.wait
        while True:
            container = self.host.engine.inspect(name)
            if container is None:
                raise HostError(f"its container {name} has disappeared while it started")
            if not container.running or container.restarts > restarts:
                raise HostError(self.why_it_ended(container))
            reason = self.not_ready_reason(spec, generation)
            if reason is None:
                return
            if self.host.clock.monotonic() >= deadline:
                raise HostError(
                    f"it was not healthy within {self.wait:g} s ({reason}).{self._last_words(name)}"
                )
            self.host.clock.sleep(POLL_INTERVAL)

    def works(self, spec: Specification, generation: Generation) -> bool:
        """Whether one that has served runs and is healthy; a stopped one is started first."""
        container = self.records.container(generation)
        if container is None or container.labels.get("wharfinger.spec") != spec.hash:
            return False
        if container.running and container.health in ("healthy", "none"):
            return True
        if container.running and container.health == "unhealthy":
            # docker calls it so too until the first check after a pause (26.1): asked here and now.
            return self.not_ready_reason(spec, generation) is None
        # Docker may have started it again before, since it serves.
        restarts = container.restarts
        try:
            if not container.running:
                self.host.engine.start(container.name)
                self.records.did(f"generation {generation.number} was stopped and is started again")
                restarts = 0  # docker counts from the start that somebody asks for
            self.wait_for(spec, generation, restarts)
        except HostError:
            return False
        return True

    def not_ready_reason(self, spec: Specification, generation: Generation) -> str | None:
        """What is still missing, None where nothing is."""
        path = "/" if spec.probe is None else str(spec.probe["path"])
        try:
            status, _ = self.host.probe(generation.address, generation.port, path, 2)
        except (OSError, http.client.HTTPException) as problem:
            return f"no answer at {generation.address}:{generation.port}: {problem}"
        if spec.probe is not None and status not in spec.probe["status"]:
            return f"GET {path} is answered with {status}"
        if spec.health is not None:
            # Asked here and now: docker's own first check comes only after a whole interval.
            code, output = self.host.engine.execute(
                self.records.name(generation.number),
                [str(word) for word in spec.health["command"]],
                30,
            )
            if code != 0:
                return f"its health check says {code}: {output.strip()[-300:]}"
        return readiness_check.not_ready_reason(self.host, self.records.state, spec, generation)

    def why_it_ended(self, container: Container) -> str:
        """The reason, with the end of the container's log."""
        container = self._at_its_end(container)
        if container.out_of_memory:
            reason = "it needed more memory than it may have (raise its memory limit)"
        elif container.error:
            reason = f"docker could not run it: {container.error}"
        elif container.running:
            reason = "it ended, and docker started it again"
        else:
            reason = f"it ended with exit code {container.exit_code}"
        return f"{reason}.{self._last_words(container.name)}"

    def _at_its_end(self, container: Container) -> Container:
        """The container while it does not run, or as it is where it goes on running.

        Once docker has started a container again, its exit code is 0 and nothing says how it ended.
        """
        deadline = self.host.clock.monotonic() + _ENDS_AGAIN
        while container.running and self.host.clock.monotonic() < deadline:
            self.host.clock.sleep(POLL_INTERVAL)
            present = self.host.engine.inspect(container.name)
            if present is None:
                break
            container = present
        return container

    def _last_words(self, name: str) -> str:
        lines = last_words(self.host.engine.logs(name, _LOG_READ).splitlines())
        return f" The end of its log:\n{lines[-3000:]}" if lines else " Its log is empty."

    def wait_for_configuration(self, generation: Generation, digest: str) -> None:
        """Waits until every worker of the token server has taken over the configuration with this
        SHA-256. Raises HostError with the server's own message where it refuses it."""
        kind = self.records.kind
        deadline = self.host.clock.monotonic() + self.wait
        seen = "nothing"
        while True:
            try:
                _, body = self.host.probe(generation.address, generation.port, "/healthz", 2)
                health = json.loads(body)
                rejected = health.get("rejected") or {}
                if rejected.get("configuration") == digest:
                    raise HostError(
                        f"{kind}: the new configuration is refused and the one before stays "
                        f"in force: {rejected.get('message')}"
                    )
                if health.get("configuration") == digest:
                    return
                seen = f"configuration {health.get('configuration')}"
            except (OSError, http.client.HTTPException, ValueError) as problem:
                seen = str(problem)
            if self.host.clock.monotonic() >= deadline:
                words = self._last_words(self.records.name(generation.number))
                raise HostError(
                    f"{kind}: the configuration {digest[:12]} is not in force after "
                    f"{self.wait:g} s (last seen: {seen}).{words}"
                )
            self.host.clock.sleep(POLL_INTERVAL)
