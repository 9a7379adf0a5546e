"""Generations: a new container starts beside the old one, is checked, and takes over; then the old
one is drained and removed.

Each phase is recorded (state.py) before it begins or once it is reached. So the run after a kill
knows how to go on (recovery.py):

  starting   the container has never served       → it is removed
  switching  the container was healthy            → if it still is, the switch is completed;
                                                    otherwise it is removed
  serving    nginx sends requests to it
  draining   nginx sends it nothing new           → it is drained, stopped and removed
  retired    it has no container; the directory of the last one with other settings stays for a
             rollback

Containers with our labels and directories that are neither recorded nor serving are removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..system import names
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import sha256
from ..system.state import STARTING, SWITCHING, Generation, State
from . import proxy
from .drain import Drain, Draining
from .images import remove_unused_images
from .readiness import Readiness
from .records import Records
from .recovery import Recovery
from .specification import Specification, read
from .start import add_generation, has_valid_address, start
from .switch import Switch


class Generations:
    """The generations of one kind of container. `actions` says what was done to them."""

    def __init__(
        self,
        host: Host,
        state: State,
        kind: str,
        *,
        wait: float = 60,
        draining: Draining | None = None,
        deployment: str = "",
    ) -> None:
        """wait: seconds for a new generation to become healthy; deployment: the deployment that a
        new generation comes with."""
        self.kind = kind
        self.deployment = deployment
        self.records = Records(host, state, kind)
        self.actions = self.records.actions
        self.readiness = Readiness(self.records, wait)
        self.switch = Switch(
            self.records, Drain(self.records, self.readiness, draining or Draining())
        )

    @property
    def serving(self) -> Generation | None:
        return self.records.serving

    def repair(self) -> None:
        """Completes or undoes what an interrupted run began. Afterwards every generation is serving
        or retired."""
        Recovery(self.records, self.readiness, self.switch).repair()

    def ensure(self, spec: Specification) -> Generation:
        """The generation that serves `spec`; starts one if none does. Call `repair` first."""
        serving = self.serving
        if (
            serving is not None
            and serving.spec == spec.hash
            and has_valid_address(self.records, serving)
        ):
            if self.readiness.works(spec, serving):
                return serving
            self.records.did(f"generation {serving.number} no longer works and is replaced")
        return self.replace(spec)

    def replace(self, spec: Specification) -> Generation:
        """Starts a new generation of `spec`, which then serves. Raises HostError if it cannot; the
        previous generation then keeps serving."""
        serving = self.serving
        generation = add_generation(self.records, spec, self.deployment)
        try:
            start(self.records, spec, generation)
            self.readiness.wait_for(spec, generation)
            self.switch.to(generation)
        except (HostError, OSError) as problem:
            if generation.phase not in (STARTING, SWITCHING):
                raise  # it serves: the removal of the old one failed, and repair will retry it
            if generation not in self.records.record.generations:
                raise  # it served, ended, and was removed
            self.records.discard(generation)
            remaining = (
                "nothing serves yet"
                if serving is None
                else f"generation {serving.number} keeps serving"
            )
            raise HostError(
                f"{self.kind}: the new generation {generation.number} was removed again and "
                f"{remaining}: {problem}"
            ) from problem
        self.records.did(
            f"generation {generation.number} serves"
            + (f" instead of {serving.number}" if serving is not None else "")
        )
        return generation

    def refresh(self, *, readonly: bool = False) -> Generation | None:
        """Makes what serves take over the current startup inputs, with the same image and settings,
        `readonly` or writable. Returns None if nothing serves. Call `repair` first. Once this
        returns, no process with older startup inputs or with more rights is left."""
        serving = self.serving
        if serving is None:
            return None
        spec = self.records.specification(serving.number)
        if spec is None:
            raise HostError(
                f"{self.kind}: {self.records.directory(serving.number)} has lost its spec.json: "
                "run the whole site.yml, which writes it again"
            )
        return self.ensure(spec.with_startup_inputs(self.startup_inputs()).with_readonly(readonly))

    def startup_inputs(self) -> dict[str, str]:
        """The current startup inputs: fingerprints of the files that a container of this kind may
        read only when it starts. The specification's `live` names those that it really reads so."""
        paths = self.records.host.paths
        if self.kind == names.REGISTRY:
            bundle = sha256(paths.registry / "token_signing.pem")
            return {} if bundle is None else {"signing": bundle}
        fingerprints = {
            "signing": sha256(paths.certificates / "signing.crt"),
            "configuration": sha256(paths.token_server / "auth_config.yml"),
        }
        return {name: digest for name, digest in fingerprints.items() if digest is not None}


def generations_of(host: Host, state: State, kind: str, request: Mapping[str, Any]) -> Generations:
    """The generations of `kind`; request: {"wait", "drain_timeout", "revoke", "deployment"}."""
    draining = Draining(
        timeout=float(request.get("drain_timeout") or 600), revoke=bool(request.get("revoke"))
    )
    return Generations(
        host,
        state,
        kind,
        wait=float(request.get("wait") or 60),
        draining=draining,
        deployment=str(request.get("deployment") or ""),
    )


# -- the commands ----------------------------------------------------------------------------------


def ensure(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`ensure`: the generation of a specification serves.

    Request: {"spec": see specification.py, "wait": 60, "configuration": sha256 | null,
    "drain_timeout": 600, "revoke": false, "deployment": ""}. Returns generation, slot, address,
    previous (a number or null). A new generation that does not become healthy is removed, and
    HostError says why. Our images that are neither in use nor kept for a rollback are removed.
    """
    spec = read(request["spec"])
    state = host.store.load()
    generations = generations_of(host, state, spec.kind, request)
    spec = spec.with_startup_inputs(generations.startup_inputs())
    if check:
        return {
            "actions": [*_planned_actions(state, spec), *remove_unused_images(host, state, check)]
        }
    # A deployment replaces a rollback that was cut off.
    state.rollback.pop(spec.kind, None)
    generations.repair()
    generation = generations.ensure(spec)
    generations.actions += proxy.apply(host, state, proxy.serving_now(state))
    if request.get("configuration"):
        generations.readiness.wait_for_configuration(generation, str(request["configuration"]))
    generations.actions += remove_unused_images(host, state, check)
    previous = generations.records.record.previous
    return {
        "actions": generations.actions,
        "generation": generation.number,
        "slot": generation.slot,
        "address": generation.address,
        "previous": previous.number if previous is not None else None,
    }


def _planned_actions(state: State, spec: Specification) -> list[str]:
    """What a run would do, judged by the record."""
    record = state.kind(spec.kind)
    serving = record.serving
    if serving is not None and serving.spec == spec.hash:
        return []
    instead = f" instead of {serving.number}" if serving is not None else ""
    return [f"{spec.kind}: generation {record.next} serves{instead}"]


def withdraw(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`withdraw`: no container of this kind is left. The last directory stays for a rollback.

    Request: {"kind", "drain_timeout": 600}.
    """
    state = host.store.load()
    kind = str(request["kind"])
    if check:
        serving = state.kind(kind).serving
        return {"actions": [f"{kind}: withdrawn"] if serving else []}
    generations = generations_of(host, state, kind, request)
    if not state.kind(kind).generations:
        return {"actions": []}
    generations.repair()
    generations.switch.withdraw()
    return {"actions": generations.actions}


def refresh(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`follow`: what serves takes over the current users and startup inputs, and nothing else
    changes.

    Request: {"kind", "configuration": sha256 | null, "wait": 60, "drain_timeout": 600}. docker_auth
    takes over a configuration in a new generation. The embedded token server reloads it by itself,
    and this waits until `configuration` is in force.
    """
    state = host.store.load()
    kind = str(request["kind"])
    if check:
        return {"actions": []}
    generations = generations_of(host, state, kind, request)
    generations.repair()
    generation = generations.refresh()
    if generation is None:
        raise HostError(f"{kind}: nothing serves yet: run the whole site.yml first")
    generations.actions += proxy.apply(host, state, proxy.serving_now(state))
    configuration = request.get("configuration")
    # docker_auth cannot say which configuration it has read: there, a new generation is enough.
    if configuration and not generations.records.reads_at_start(generation, "configuration"):
        generations.readiness.wait_for_configuration(generation, str(configuration))
    return {"actions": generations.actions, "generation": generation.number}


def refresh_unlocked(host: Host, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """`follow` without starting anything: the embedded token server has taken over the current
    users by itself. Returns None if a new generation is needed. It needs no lock, so a user can be
    removed during long work of another process, such as a garbage collection."""
    generations = generations_of(host, host.store.load(), str(request["kind"]), request)
    records, serving = generations.records, generations.serving
    if serving is None or records.specification(serving.number) is None:
        return None
    if records.reads_at_start(serving, "configuration") or not request.get("configuration"):
        return None
    generations.readiness.wait_for_configuration(serving, str(request["configuration"]))
    return {"actions": [], "generation": serving.number}
