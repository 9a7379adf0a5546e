"""Generations: a new container beside the old one, proven, switched to, and the old one drained.

Each step is persisted before it begins or once it is true (state.py, phases), so that whoever comes
after a kill knows what to do:

  starting   nothing was promised to anyone       → taken away
  switching  it was healthy                       → if it still is, led to the end; else taken away
  serving    the one that nginx leads to
  draining   nginx has left it                    → drained on, stopped, removed
  retired    no container; the directory of the last one with other settings stays, to go back to

What is neither recorded nor serving (containers with our labels, directories) is taken away.
"""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..system import logs, names, signing_keys
from ..system.context import Host
from ..system.engine import Container
from ..system.errors import HostError
from ..system.files import exists, read_text, remove_tree, sha256, write_atomically
from ..system.names import TOKEN_SERVER
from ..system.service import last_words
from ..system.signing_keys import RS256
from ..system.state import (
    DRAINING,
    OPENING,
    RETIRED,
    SERVING,
    STARTING,
    SWITCHING,
    Generation,
    Kind,
    State,
)
from . import proof, proxy
from .images import take_away_unused
from .specification import HTTP_SECRET, Specification, definition, read, with_live, with_readonly

# Seconds between two looks at something that is awaited.
_TICK = 0.1
# Seconds between two looks at the new generation while the old one is drained.
_LOOK = 1.0
# Seconds that a process has to end in once it was waited for in vain.
_CUT_OFF = 10
# Seconds in which a container that ended, and that docker started again, may end once more.
_ENDS_AGAIN = 15
# Lines of a log that are read to find the reason above a stack.
_LOG_READ = 400
# Lines of a token server's that outlive its container: more than Docker keeps.
_LOG_KEPT = 200_000


class Generations:
    """The generations of one kind of container, with what was done to them in `actions`."""

    def __init__(
        self,
        host: Host,
        state: State,
        kind: str,
        *,
        wait: float = 60,
        drain_timeout: float = 600,
        revoke: bool = False,
        deployment: str = "",
        settle: float | None = None,
        meanwhile: Callable[[], None] = lambda: None,
        hold: Callable[[Generation], bool | None] = lambda old: None,
    ) -> None:
        """wait: seconds for a new one to become healthy; settle: seconds without a connection to
        the old one after which old workers of nginx (busy with a slow download from the disk) are
        not waited for; meanwhile: called again and again while the old one is drained; hold: called
        as often; True: it has paused the old one, which stays as it is (`resume_writing`), False:
        it may yet, None: it cannot."""
        self.host = host
        self.state = state
        self.kind = kind
        self.record: Kind = state.kind(kind)
        self.wait = wait
        self.drain_timeout = drain_timeout
        self.revoke = revoke
        self.deployment = deployment
        self.settle = settle
        self.meanwhile = meanwhile
        self.hold = hold
        self.actions: list[str] = []

    # -- what is where -----------------------------------------------------------------------------

    def name(self, number: int) -> str:
        return names.container(self.host.stack, self.kind, number)

    def directory(self, number: int) -> Path:
        return self.host.paths.generations / self.kind / str(number)

    @property
    def labels(self) -> dict[str, str]:
        return {**self.host.labels, "wharfinger.kind": self.kind}

    def _save(self) -> None:
        self.host.store.save(self.state)

    def _enter(self, generation: Generation, phase: str) -> None:
        generation.phase = phase
        generation.since = self.host.clock.now()

    # -- repair ------------------------------------------------------------------------------------

    def repair(self) -> None:
        """Ends what an interrupted run began; afterwards only serving and retired ones are left."""
        for generation in list(self.record.generations):
            if generation not in self.record.generations:
                continue  # one before it serves again, and it was taken away
            if generation.phase == STARTING:
                self._discard(generation)
                self._did(f"generation {generation.number}, half-made, was taken away")
            elif generation.phase == SWITCHING:
                self._finish_switch(generation)
            elif generation.phase == DRAINING:
                self._drain(generation)
        self._prune()

    def _finish_switch(self, generation: Generation) -> None:
        spec = self.specification(generation.number)
        if spec is not None and self._lives(generation):
            try:
                self._healthy(spec, generation)
                self._switch(generation)
                return
            except HostError:
                if generation not in self.record.generations:
                    return  # it has ended meanwhile, and the one before serves again
                if generation.phase != SWITCHING:
                    raise  # it serves: what failed is the old one's removal
                # It was healthy before the interruption and is not now: go back.
        if generation in self.record.generations:
            self._go_back(generation)

    def _go_back(self, generation: Generation) -> None:
        """nginx may lead to it already: first the way back, then away with it."""
        self.actions += proxy.apply(self.host, self.state, proxy.serving_now(self.state))
        self._discard(generation)
        self._did(f"generation {generation.number} was not healthy any more and was taken away")

    def _lives(self, generation: Generation) -> bool:
        found = self.host.engine.inspect(self.name(generation.number))
        return found is not None and found.running

    def specification(self, number: int) -> Specification | None:
        """What a generation was started with; None where its directory has lost that."""
        text = read_text(self.directory(number) / "spec.json")
        return None if text is None else read(json.loads(text))

    def _prune(self) -> None:
        """Away with what no record knows: containers with our labels, directories, old records.

        Where nothing is recorded to serve (a state.json that was lost or brought back), what runs
        may be what nginx leads to: it stays until something else does."""
        keep = self.record.serving
        held = {self.name(one.number) for one in self.record.in_phase(DRAINING)}
        for container in self.host.engine.containers(self.labels):
            if keep is None and container.alive:
                return
            if container.name in held:
                continue
            if keep is None or container.name != self.name(keep.number):
                self._let_go(container, keep)
                self.host.engine.remove(container.name)
                self._did(f"the container {container.name}, left over, was removed")
        back = self.record.previous
        retired = [one for one in self.record.in_phase(RETIRED) if one is not back]
        if retired:
            for generation in retired:
                self.record.generations.remove(generation)
            self._save()
        known = {str(one.number) for one in self.record.generations}
        parent = self.host.paths.generations / self.kind
        if parent.is_dir():
            for path in sorted(parent.iterdir()):
                if path.name not in known:
                    remove_tree(path)

    def _let_go(self, container: Container, keep: Generation | None) -> None:
        """Waits for the last requests to a container that no record knows."""
        deadline = self.host.clock.monotonic() + self.drain_timeout
        while (
            keep is not None
            and container.running
            and container.address is not None
            and self.host.traffic.connections(container.address, keep.port) > 0
            and self.host.clock.monotonic() < deadline
        ):
            self.host.clock.sleep(_TICK)

    def _discard(self, generation: Generation) -> None:
        self.host.engine.remove(self.name(generation.number))
        remove_tree(self.directory(generation.number))
        self.record.generations.remove(generation)
        self._save()

    def _did(self, what: str) -> None:
        self.actions.append(f"{self.kind}: {what}")

    # -- the way of a new generation ---------------------------------------------------------------

    def ensure(self, spec: Specification) -> Generation:
        """The generation that serves `spec`, started where there is none. Call `repair` first."""
        serving = self.record.serving
        if serving is not None and serving.spec == spec.hash and self._in_place(serving):
            if self._works(spec, serving):
                return serving
            self._did(f"generation {serving.number} does not work any more and is replaced")
        return self._replace(spec)

    def _in_place(self, generation: Generation) -> bool:
        """Whether its address is still one of its kind's (the network may have changed)."""
        return names.slots(self.kind, self._network()["subnet"]).get(generation.slot) == (
            generation.address
        )

    def _works(self, spec: Specification, generation: Generation) -> bool:
        """Whether it runs and is healthy; a stopped one is started first."""
        container = self.host.engine.inspect(self.name(generation.number))
        if container is None or container.labels.get("wharfinger.spec") != spec.hash:
            return False
        if container.running and container.health in ("healthy", "none"):
            return True
        if container.running and container.health == "unhealthy":
            # docker calls it so too until the first check after a pause (26.1): asked here and now.
            return self._lack(spec, generation, container.name) is None
        # Docker may have started it again before, since it serves.
        restarts = container.restarts
        try:
            if not container.running:
                self.host.engine.start(container.name)
                self._did(f"generation {generation.number} was stopped and is started again")
                restarts = 0  # docker counts from the start that somebody asks for
            self._healthy(spec, generation, restarts)
        except HostError:
            return False
        return True

    def _network(self) -> Mapping[str, Any]:
        if self.state.network is None:
            raise HostError(
                f"{self.kind}: the docker network is not there yet: run the whole site.yml first"
            )
        return self.state.network

    def _replace(self, spec: Specification) -> Generation:
        slots = names.slots(self.kind, self._network()["subnet"])
        serving = self.record.serving
        foreign = self._foreign_key(spec)
        if foreign is not None:
            raise HostError(
                f"{self.kind}: {foreign}: run the whole site.yml, which rotates the key first; "
                "where a rotation is under way, playbooks/rotate_certificates.yml before that"
            )
        for mount in spec.mounts:
            if not Path(str(mount["source"])).exists():
                raise HostError(
                    f"{self.kind}: {mount['source']} is not there, so nothing was started: if it "
                    "is on a file system of its own, mount it (`mount -a`)"
                )
        # An address stays taken until its container is gone, whether it is on record or not.
        present = self.host.engine.containers(self.labels)
        taken = {one.address for one in present if one.alive}
        taken |= {serving.address} if serving is not None else set()
        free = [slot for slot, address in slots.items() if address not in taken]
        if not free:
            raise HostError(
                f"{self.kind}: both its addresses are taken: remove the container that does not "
                f"serve (docker ps --filter label=wharfinger.kind={self.kind}) and run again"
            )
        slot = free[0]
        numbers = [int(one.labels.get("wharfinger.generation", 0)) for one in present]
        generation = Generation(
            number=max([self.record.next, *(number + 1 for number in numbers)]),
            slot=slot,
            address=slots[slot],
            port=spec.port,
            spec=spec.hash,
            image=spec.image,
            phase=STARTING,
            since=self.host.clock.now(),
            stop_timeout=spec.stop_timeout,
            settings=spec.settings,
            deployment=self.deployment,
            changed=self.host.clock.now(),
            readonly=spec.readonly,
        )
        if serving is not None and serving.settings == spec.settings:
            # Where only what is live differs, it is still the same deployment.
            generation.deployment, generation.changed = serving.deployment, serving.changed
        self.record.next = generation.number + 1
        self.record.generations.append(generation)
        self._save()
        try:
            self._start(spec, generation)
            self._healthy(spec, generation)
            self._switch(generation)
        except (HostError, OSError) as problem:
            if generation.phase not in (STARTING, SWITCHING):
                raise  # it serves: what failed is the old one's removal, which repair takes up
            if generation not in self.record.generations:
                raise  # it has served, has ended, and was taken away
            self._discard(generation)
            stays = (
                "nothing serves yet"
                if serving is None
                else f"generation {serving.number} keeps serving"
            )
            raise HostError(
                f"{self.kind}: the new generation {generation.number} was taken away again and "
                f"{stays}: {problem}"
            ) from problem
        self._did(
            f"generation {generation.number} serves"
            + (f" instead of {serving.number}" if serving is not None else "")
        )
        return generation

    def _start(self, spec: Specification, generation: Generation) -> None:
        directory = self.directory(generation.number)
        self._write(spec, directory)
        name = self.name(generation.number)
        labels = {
            **self.labels,
            "wharfinger.generation": str(generation.number),
            "wharfinger.spec": spec.hash,
        }
        self.host.engine.create(
            name,
            definition(
                spec,
                labels=labels,
                network=self._network()["name"],
                address=generation.address,
                files=str(directory / "files"),
            ),
        )
        self.host.engine.start(name)

    def _write(self, spec: Specification, directory: Path) -> None:
        """The generation's own directory: spec.json (root only, it may hold the storage's keys) and
        files/, which the container sees."""
        remove_tree(directory)
        directory.mkdir(mode=0o700, parents=True)
        files = directory / "files"
        files.mkdir(mode=0o750)
        write_atomically(directory / "spec.json", json.dumps(spec.raw, indent=1).encode(), 0o600)
        for name, text in spec.files.items():
            if HTTP_SECRET in text:
                text = text.replace(HTTP_SECRET, self._http_secret())
            write_atomically(
                files / name, text.encode(), 0o640, self.host.root_id, spec.files_group
            )
        # Last, because the group's right to read is what lets the container in.
        os.chown(files, self.host.root_id, spec.files_group)

    def _http_secret(self) -> str:
        secret = (read_text(self.host.paths.http_secret) or "").strip()
        if not secret:
            raise HostError(
                f"{self.host.paths.http_secret} is missing: run the whole site.yml, which makes it"
            )
        return secret

    # -- health ------------------------------------------------------------------------------------

    def _healthy(self, spec: Specification, generation: Generation, restarts: int = 0) -> None:
        """Waits until the container answers the host at its address and passes its own health
        check, without ending once: docker has started it again `restarts` times before. Raises
        HostError with the reason, the container's last words included."""
        name = self.name(generation.number)
        deadline = self.host.clock.monotonic() + self.wait
        while True:
            container = self.host.engine.inspect(name)
            if container is None:
                raise HostError(f"its container {name} has disappeared while it started")
            if not container.running or container.restarts > restarts:
                raise HostError(self._why_it_ended(container))
            lack = self._lack(spec, generation, name)
            if lack is None:
                return
            if self.host.clock.monotonic() >= deadline:
                raise HostError(
                    f"it was not healthy within {self.wait:g} s ({lack}).{self._last_words(name)}"
                )
            self.host.clock.sleep(_TICK)

    def _lack(self, spec: Specification, generation: Generation, name: str) -> str | None:
        """What is still missing, None where nothing is."""
        path = "/" if spec.probe is None else str(spec.probe["path"])
        try:
            status, _ = self.host.probe(generation.address, generation.port, path, 2)
        except (OSError, http.client.HTTPException) as problem:
            return f"no answer at {generation.address}:{generation.port}: {problem}"
        if spec.probe is not None and status not in spec.probe["status"]:
            return f"GET {path} is answered with {status}"
        if spec.health is None:
            return proof.lack(self.host, self.state, spec, generation)
        # Asked here and now: docker's own first check comes only after a whole interval.
        code, output = self.host.engine.execute(
            name, [str(word) for word in spec.health["command"]], 30
        )
        if code != 0:
            return f"its health check says {code}: {output.strip()[-300:]}"
        return proof.lack(self.host, self.state, spec, generation)

    def _why_it_ended(self, container: Container) -> str:
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
            self.host.clock.sleep(_TICK)
            present = self.host.engine.inspect(container.name)
            if present is None:
                break
            container = present
        return container

    def _last_words(self, name: str) -> str:
        lines = last_words(self.host.engine.logs(name, _LOG_READ).splitlines())
        return f" The end of its log:\n{lines[-3000:]}" if lines else " Its log is empty."

    # -- switch and drain --------------------------------------------------------------------------

    def _switch(self, generation: Generation) -> None:
        """nginx leads to `generation`; the one before is drained and removed."""
        host, old = self.host, self.record.serving
        self._enter(generation, SWITCHING)
        if old is not None and exists(host.paths.site):
            # Whatever works for nginx now may still send to the old one after the reload; without
            # our site there is no reload to wait for.
            old.workers = [*old.workers, *(w for w in host.nginx.workers() if w not in old.workers)]
        self._save()
        serving = {**proxy.serving_now(self.state), self.kind: generation}
        self.actions += proxy.apply(host, self.state, serving)
        self._enter(generation, SERVING)
        generation.workers = []
        if old is not None:
            self._enter(old, DRAINING)
        self._save()
        taken_back = None if old is None else self._drain(old)
        if taken_back is not None:
            raise HostError(taken_back)
        self._prune()

    def _drain(self, old: Generation) -> str | None:
        """Waits for the old one's last requests (not at all with `revoke`), then removes it. Where
        the new one has ended meanwhile, the old one serves again, and what happened is returned."""
        host, name = self.host, self.name(old.number)
        self._wake(old)
        looked = quiet = host.clock.monotonic()
        # Only what has passed before comes from the clock on the wall, which may have jumped.
        passed = max(host.clock.now() - old.since, 0)
        deadline = looked + max(self.drain_timeout - passed, 0)
        while not self.revoke:
            held = self.hold(old)
            if held:
                self._did(f"generation {old.number} is paused")
                return None
            busy = self._busy(old)
            if not busy and held is None:
                break
            if busy == "requests":
                quiet = host.clock.monotonic()
            elif (
                held is None
                and self.settle is not None
                and host.clock.monotonic() - quiet >= self.settle
            ):
                break
            self.meanwhile()
            if host.clock.monotonic() - looked >= _LOOK:
                looked = host.clock.monotonic()
                if (why := self._take_back(old)) is not None:
                    return why
            if host.clock.monotonic() >= deadline:
                self._did(
                    f"generation {old.number} still had requests after {self.drain_timeout:g} s "
                    "and was stopped all the same"
                )
                break
            host.clock.sleep(_TICK)
        if not self.revoke and (why := self._take_back(old)) is not None:
            return why
        # Where writes wait for it, what was waited for long enough is cut off for good.
        patience = old.stop_timeout if self.settle is None else min(old.stop_timeout, _CUT_OFF)
        host.engine.stop(name, 0 if self.revoke else patience)
        self._keep_log(name)
        host.engine.remove(name)
        self._enter(old, RETIRED)
        old.workers = []
        self._save()
        return None

    def _keep_log(self, name: str) -> None:
        """What docker still has of a token server's log outlives the container. Killed in between,
        the next run keeps it once more."""
        if self.kind == TOKEN_SERVER:
            with suppress(HostError, OSError):
                logs.append(self.host, self.host.engine.logs(name, _LOG_KEPT))

    def _take_back(self, old: Generation) -> str | None:
        """Where the new one has ended while the old one is still there, that serves again; what
        happened, None where nothing did."""
        serving = self.record.serving
        if serving is None or self._lives(serving) or not self._lives(old):
            return None
        serves = {**proxy.serving_now(self.state), self.kind: old}
        self.actions += proxy.apply(self.host, self.state, serves, gently=False)
        self._enter(old, SERVING)
        serving.phase = STARTING  # a kill from here on: it is taken away
        old.workers = []
        self._save()
        # Only now, because this may take its time.
        container = self.host.engine.inspect(self.name(serving.number))
        why = (
            "its container has disappeared" if container is None else self._why_it_ended(container)
        )
        self._discard(serving)
        self._did(f"generation {old.number} serves again, because {serving.number} has ended")
        return (
            f"{self.kind}: the new generation {serving.number} ended while {old.number} answered "
            f"its last requests, and {old.number} serves again: {why}"
        )

    def resume_writing(self) -> None:
        """Where one that only reads serves, and the one that can write is paused or still answers
        its last requests, that one serves again: nothing is waited for, and nothing of theirs is
        lost."""
        self._leave_for_reading()
        serving = self.record.serving
        writing = [one for one in self.record.in_phase(DRAINING) if not one.readonly]
        if serving is None or not serving.readonly or not writing:
            return
        self._wake(writing[-1])
        if not self._lives(writing[-1]):
            return
        self._switch(writing[-1])
        self._did(f"generation {writing[-1].number} serves again instead of {serving.number}")

    def _leave_for_reading(self) -> None:
        """Where a run was killed while nginx was led to one that only reads, it counts as led: what
        the one that writes has begun need not end first."""
        serving = self.record.serving
        for one in self.record.in_phase(SWITCHING):
            if one.readonly and serving is not None and not serving.readonly and self._lives(one):
                self._enter(serving, DRAINING)
                self._enter(one, SERVING)
                self._save()

    def _wake(self, held: Generation) -> None:
        """Goes on with one that was paused. Raises HostError while what it must not meet may still
        be at work: a window that was not ended yet."""
        container = self.host.engine.inspect(self.name(held.number))
        if container is None or not container.paused:
            return
        if self.state.window is not None and self.state.window.step != OPENING:
            raise HostError(
                f"{self.kind}: generation {held.number} stays paused until the work of "
                f"{self.state.window.job} is over: `{self.host.paths.command} reopen` ends it"
            )
        self.host.engine.unpause(container.name)

    def _busy(self, old: Generation) -> str:
        """What may still come to it: `requests`, or only `workers` that knew it; "" for nothing."""
        traffic = self.host.traffic
        if traffic.connections(old.address, old.port) > 0:
            return "requests"
        return "workers" if traffic.alive(old.workers) else ""

    def withdraw(self) -> None:
        """Nothing of this kind serves any more: nginx leaves it, then it is drained and removed."""
        serving = self.record.serving
        if serving is None:
            return
        serving.workers = self.host.nginx.workers()
        self._save()
        without = {**proxy.serving_now(self.state), self.kind: None}
        self.actions += proxy.apply(self.host, self.state, without)
        self._enter(serving, DRAINING)
        self._save()
        self._drain(serving)
        self._did(f"generation {serving.number} was withdrawn")

    # -- what is live, and the way back ------------------------------------------------------------

    def follow(self, live: Mapping[str, str], *, readonly: bool = False) -> Generation | None:
        """The same image and settings as what serves, started with this `live`, `readonly` or
        taking writes; None where nothing serves. Call `repair` first. Once it returns, no process
        with another `live`, or that may do more, is left."""
        serving = self.record.serving
        if serving is None:
            return None
        spec = self.specification(serving.number)
        if spec is None:
            raise HostError(
                f"{self.kind}: {self.directory(serving.number)} has lost its spec.json: run the "
                "whole site.yml, which makes it anew"
            )
        return self.ensure(read(with_readonly(with_live(spec.raw, live), readonly)))

    def reads_at_start(self, generation: Generation, what: str) -> bool:
        """Whether `what` is among the live things that this generation reads only at its start."""
        spec = self.specification(generation.number)
        return spec is not None and what in (spec.raw.get("live") or {})

    def would_go_back(self) -> str:
        """What `go_back` would do. Raises HostError where it would refuse."""
        previous, _ = self._before()
        return f"{self.kind}: the image and settings of generation {previous.number} serve again"

    def go_back(self, live: Mapping[str, str]) -> Generation:
        """The image and settings of the generation before serve again, with the present `live`.
        Raises HostError where that cannot be."""
        _, spec = self._before()
        return self._replace(read(with_readonly(with_live(spec.raw, live), False)))

    def _before(self) -> tuple[Generation, Specification]:
        """The generation to go back to; raises HostError where there is none that fits."""
        previous = self.record.previous
        spec = None if previous is None else self.specification(previous.number)
        if previous is None or spec is None:
            raise HostError(
                f"{self.kind}: there is no generation with another image or other settings to go "
                "back to: change the inventory and run site.yml instead"
            )
        serving = self.record.serving
        present = None if serving is None else self.specification(serving.number)
        if present is None:
            raise HostError(f"{self.kind}: nothing serves that could go back: run site.yml")
        for name, same in (
            ("registry_auth or registry_hostname", present.proof == spec.proof),
            ("storage_path", present.mounts == spec.mounts),
        ):
            if not same:
                raise HostError(
                    f"{self.kind}: generation {previous.number} was of another {name} than the "
                    "present one, which concerns more than this container: write the earlier one "
                    "into the inventory and run site.yml instead"
                )
        foreign = self._foreign_key(spec)
        if foreign is not None:
            raise HostError(
                f"{self.kind}: generation {previous.number} cannot serve again: {foreign}. To have "
                "its settings again, write them into the inventory and run site.yml instead"
            )
        if self.host.engine.image(spec.image) is None:
            raise HostError(
                f"{self.kind}: the image of generation {previous.number} ({spec.image}) is not on "
                "this host any more: write the earlier version into the inventory and run site.yml"
            )
        return previous, spec

    def works_with(self, algorithm: str) -> bool:
        """Whether all that serves, or may serve after an interrupted run, works with a key for this
        algorithm."""
        return all(
            # What has lost its specification is of a time that is not known.
            algorithm == RS256
            if (spec := self.specification(one.number)) is None
            else spec.works_with(algorithm)
            for one in self.record.generations
            if one.phase != RETIRED
        )

    def _foreign_key(self, spec: Specification) -> str | None:
        """A key in use that a container of `spec` cannot work with, in words; None without one."""
        used = ["signing.crt", "signing_next.crt"]
        if self.kind == names.REGISTRY:
            used.append("signing_previous.crt")
        for name in used:
            key = signing_keys.read(read_text(self.host.paths.certificates / name) or "")
            if key is not None and not spec.works_with(key.algorithm):
                does = "trusts tokens of" if self.kind == names.REGISTRY else "signs with"
                known = ", ".join(spec.algorithms)
                return f"it {does} {known} only, and the key of {name} is {key.algorithm}"
        return None

    # -- live configuration ------------------------------------------------------------------------

    def configured(self, generation: Generation, digest: str) -> None:
        """Waits until every worker of the token server has taken over the configuration with this
        SHA-256. Raises HostError with the server's own message where it refuses it."""
        deadline = self.host.clock.monotonic() + self.wait
        seen = "nothing"
        while True:
            try:
                _, body = self.host.probe(generation.address, generation.port, "/healthz", 2)
                health = json.loads(body)
                rejected = health.get("rejected") or {}
                if rejected.get("configuration") == digest:
                    raise HostError(
                        f"{self.kind}: the new configuration is refused and the one before stays "
                        f"in force: {rejected.get('message')}"
                    )
                if health.get("configuration") == digest:
                    return
                seen = f"configuration {health.get('configuration')}"
            except (OSError, http.client.HTTPException, ValueError) as problem:
                seen = str(problem)
            if self.host.clock.monotonic() >= deadline:
                words = self._last_words(self.name(generation.number))
                raise HostError(
                    f"{self.kind}: the configuration {digest[:12]} is not in force after "
                    f"{self.wait:g} s (last seen: {seen}).{words}"
                )
            self.host.clock.sleep(_TICK)


def ensure(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`ensure`: the generation for a specification serves.

    Request: {"spec": see specification.py, "wait": 60, "configuration": sha256 | null,
    "drain_timeout": 600, "revoke": false, "deployment": ""}. Returns generation, slot, address,
    previous (a number or null). A new generation that does not become healthy is taken away, and
    HostError says why. Images of ours that are neither in use nor gone back to are removed.
    """
    spec = read(request["spec"])
    state = host.store.load()
    all_of = generations_of(host, state, spec.kind, request)
    spec = read(with_live(spec.raw, live_now(host, all_of)))
    if check:
        return {"actions": [*_would(state, spec), *take_away_unused(host, state, check)]}
    # What is deployed replaces what a rollback that was cut off was about.
    state.rollback.pop(spec.kind, None)
    all_of.repair()
    generation = all_of.ensure(spec)
    all_of.actions += proxy.apply(host, state, proxy.serving_now(state))
    if request.get("configuration"):
        all_of.configured(generation, str(request["configuration"]))
    all_of.actions += take_away_unused(host, state, check)
    previous = all_of.record.previous
    return {
        "actions": all_of.actions,
        "generation": generation.number,
        "slot": generation.slot,
        "address": generation.address,
        "previous": previous.number if previous is not None else None,
    }


def withdraw(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`withdraw`: no container of this kind is left (its last directory stays, to go back to).

    Request: {"kind", "drain_timeout": 600}.
    """
    state = host.store.load()
    kind = str(request["kind"])
    if check:
        serving = state.kind(kind).serving
        return {"actions": [f"{kind}: withdrawn"] if serving else []}
    all_of = generations_of(host, state, kind, request)
    if not state.kind(kind).generations:
        return {"actions": []}
    all_of.repair()
    all_of.withdraw()
    return {"actions": all_of.actions}


def follow(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`follow`: what serves takes over the present users, and stays what it is otherwise.

    Request: {"kind", "configuration": sha256 | null, "wait": 60, "drain_timeout": 600}. docker_auth
    takes over a configuration by generation, the embedded token server by its own reload, for which
    `configuration` is awaited.
    """
    state = host.store.load()
    kind = str(request["kind"])
    if check:
        return {"actions": []}
    all_of = generations_of(host, state, kind, request)
    all_of.repair()
    generation = all_of.follow(live_now(host, all_of))
    if generation is None:
        raise HostError(f"{kind}: nothing serves yet: run the whole site.yml first")
    all_of.actions += proxy.apply(host, state, proxy.serving_now(state))
    # docker_auth cannot say what it has read: there, a new generation is the proof.
    if request.get("configuration") and not all_of.reads_at_start(generation, "configuration"):
        all_of.configured(generation, str(request["configuration"]))
    return {"actions": all_of.actions, "generation": generation.number}


def followed(host: Host, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `follow` comes to where nothing has to be started for it: the embedded token server has
    taken the present users over by itself. None where a generation is needed. Needs no lock, so
    that a user can be removed while somebody else is at work for long (a garbage collection)."""
    all_of = generations_of(host, host.store.load(), str(request["kind"]), request)
    serving = all_of.record.serving
    if serving is None or all_of.specification(serving.number) is None:
        return None
    if all_of.reads_at_start(serving, "configuration") or not request.get("configuration"):
        return None
    all_of.configured(serving, str(request["configuration"]))
    return {"actions": [], "generation": serving.number}


def rollback(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`rollback`: the image and settings before the last deployment serve again, with the present
    users, rules and trusted keys.

    Request: {"kind": "registry" | "token_server" | null, "drain_timeout": 600}. null: each kind
    that the last deployment changed. Returns `back`: kind → number of the generation gone back to.
    """
    state = host.store.load()
    asked = request.get("kind")
    kinds = list(state.rollback) or ([str(asked)] if asked else _changed_last(state))
    if not kinds:
        raise HostError(
            "nothing serves that could go back: there is no generation before the present ones"
        )
    # The token server first: what it signs with is always what the registry trusts.
    kinds = [kind for kind in (names.TOKEN_SERVER, names.REGISTRY) if kind in kinds]
    deployment = f"rollback {host.clock.now():.0f}"
    each = [
        generations_of(host, state, kind, {**request, "deployment": deployment}) for kind in kinds
    ]
    if check:
        return {"actions": [one.would_go_back() for one in each]}
    for one in each:
        one.repair()
    if not state.rollback:
        for one in each:
            one.would_go_back()  # what is refused comes before what is done
        # All of them, before the first: cut off in between, the next run does the rest.
        state.rollback = {kind: state.kind(kind).settings_before for kind in kinds}
        host.store.save(state)
    back: dict[str, int] = {}
    for one in each:
        before, serving = one.record.previous, one.record.serving
        if serving is None or serving.settings != state.rollback[one.kind]:
            one.go_back(live_now(host, one))
            assert before is not None
            back[one.kind] = before.number
            one.actions.append(
                f"{one.kind}: it has the image and settings of generation {before.number}"
            )
        del state.rollback[one.kind]
        host.store.save(state)
    return {"actions": [action for one in each for action in one.actions], "back": back}


def _changed_last(state: State) -> list[str]:
    """The kinds whose image or settings came with the newest deployment and that can go back."""
    able = {
        kind: one.serving
        for kind, one in state.kinds.items()
        if one.serving is not None and one.previous is not None
    }
    if not able:
        return []
    newest = max(able.values(), key=lambda generation: generation.changed)
    return [
        kind
        for kind, generation in able.items()
        if generation is newest
        or (generation.deployment and generation.deployment == newest.deployment)
    ]


def live_now(host: Host, all_of: Generations) -> dict[str, str]:
    """What is live at present for a kind: fingerprints of the files that its container may read
    only when it starts. Which of them it does, the specification's `live` says."""
    if all_of.kind == names.REGISTRY:
        bundle = sha256(host.paths.registry / "token_signing.pem")
        return {} if bundle is None else {"signing": bundle}
    found = {
        "signing": sha256(host.paths.certificates / "signing.crt"),
        "configuration": sha256(host.paths.token_server / "auth_config.yml"),
    }
    return {name: value for name, value in found.items() if value is not None}


def generations_of(host: Host, state: State, kind: str, request: Mapping[str, Any]) -> Generations:
    """The generations of `kind`; request: {"wait", "drain_timeout", "revoke", "deployment"}."""
    return Generations(
        host,
        state,
        kind,
        wait=float(request.get("wait") or 60),
        drain_timeout=float(request.get("drain_timeout") or 600),
        revoke=bool(request.get("revoke")),
        deployment=str(request.get("deployment") or ""),
    )


def _would(state: State, spec: Specification) -> list[str]:
    """What a run would do, as far as the record tells."""
    record = state.kind(spec.kind)
    serving = record.serving
    if serving is not None and serving.spec == spec.hash:
        return []
    instead = f" instead of {serving.number}" if serving is not None else ""
    return [f"{spec.kind}: generation {record.next} serves{instead}"]
