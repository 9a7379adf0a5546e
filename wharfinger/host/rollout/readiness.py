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

# Seconds between two polls.
POLL_INTERVAL = 0.1
# Seconds to wait for a container that docker has restarted to end once more.
_ENDS_AGAIN = 15
# Lines of a log to read: the reason stands above a stack trace.
_LOG_READ = 400


class Readiness:
    """Waits for generations of one kind, for `wait` seconds each."""

    def __init__(self, records: Records, wait: float) -> None:
        self.records = records
        self.host = records.host
        self.wait = wait

    def wait_for(self, spec: Specification, generation: Generation, restarts: int = 0) -> None:
        """Waits until the container answers at its address, passes its health check and the
        readiness check. It must not end meanwhile: docker had restarted it `restarts` times before.
        Raises HostError with the reason and the end of the container's log."""
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
        """Whether a generation that has served runs and is healthy; starts it if it is stopped."""
        container = self.records.container(generation)
        if container is None or container.labels.get("wharfinger.spec") != spec.hash:
            return False
        if container.running and container.health in ("healthy", "none"):
            return True
        if container.running and container.health == "unhealthy":
            # docker 26.1 says so too until the first check after a pause, so we ask ourselves.
            return self.not_ready_reason(spec, generation) is None
        # Docker may have restarted it since it began to serve.
        restarts = container.restarts
        try:
            if not container.running:
                self.host.engine.start(container.name)
                self.records.did(f"generation {generation.number} was stopped and is started again")
                restarts = 0  # docker counts again from an explicit start
            self.wait_for(spec, generation, restarts)
        except HostError:
            return False
        return True

    def not_ready_reason(self, spec: Specification, generation: Generation) -> str | None:
        """Why the generation is not ready; None if it is."""
        path = "/" if spec.probe is None else str(spec.probe["path"])
        try:
            status, _ = self.host.probe(generation.address, generation.port, path, 2)
        except (OSError, http.client.HTTPException) as problem:
            return f"no answer at {generation.address}:{generation.port}: {problem}"
        if spec.probe is not None and status not in spec.probe["status"]:
            return f"GET {path} is answered with {status}"
        if spec.health is not None:
            # We ask ourselves: docker's own first check comes only after a whole interval.
            code, output = self.host.engine.execute(
                self.records.name(generation.number),
                [str(word) for word in spec.health["command"]],
                30,
            )
            if code != 0:
                return f"its health check says {code}: {output.strip()[-300:]}"
        return readiness_check.not_ready_reason(self.host, self.records.state, spec, generation)

    def why_it_ended(self, container: Container) -> str:
        """The reason, and the end of the container's log."""
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
        """Waits until the container does not run, and returns it as it is then; if it goes on
        running, as it is at last.

        Once docker has restarted a container, its exit code is 0 and nothing says how it ended.
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
        """Waits until every worker of the token server uses the configuration with this SHA-256.
        Raises HostError with the server's own message if the server rejects it."""
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
                        f"{kind}: the new configuration is refused and the previous one stays "
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
