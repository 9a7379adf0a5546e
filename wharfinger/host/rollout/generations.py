"""Generations: a new container beside the old one, proven, switched to, and the old one drained.

Each step is persisted before it begins or once it is true (state.py, phases), so that whoever comes
after a kill knows what to do (recovery.py):

  starting   nothing was promised to anyone       → taken away
  switching  it was healthy                       → if it still is, led to the end; else taken away
  serving    the one that nginx leads to
  draining   nginx has left it                    → drained on, stopped, removed
  retired    no container; the directory of the last one with other settings stays, to go back to

What is neither recorded nor serving (containers with our labels, directories) is taken away.
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
    """The generations of one kind of container, with what was done to them in `actions`."""

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
        """wait: seconds for a new one to become healthy; deployment: what a new one came with."""
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
        """Ends what an interrupted run began; afterwards only serving and retired ones are left."""
        Recovery(self.records, self.readiness, self.switch).repair()

    def ensure(self, spec: Specification) -> Generation:
        """The generation that serves `spec`, started where there is none. Call `repair` first."""
        serving = self.serving
        if (
            serving is not None
            and serving.spec == spec.hash
            and has_valid_address(self.records, serving)
        ):
            if self.readiness.works(spec, serving):
                return serving
            self.records.did(f"generation {serving.number} does not work any more and is replaced")
        return self.replace(spec)

    def replace(self, spec: Specification) -> Generation:
        """A new generation of `spec` serves. Raises HostError where it does not come to that; what
        has served goes on."""
        serving = self.serving
        generation = add_generation(self.records, spec, self.deployment)
        try:
            start(self.records, spec, generation)
            self.readiness.wait_for(spec, generation)
            self.switch.to(generation)
        except (HostError, OSError) as problem:
            if generation.phase not in (STARTING, SWITCHING):
                raise  # it serves: what failed is the old one's removal, which repair takes up
            if generation not in self.records.record.generations:
                raise  # it has served, has ended, and was taken away
            self.records.discard(generation)
            remaining = (
                "nothing serves yet"
                if serving is None
                else f"generation {serving.number} keeps serving"
            )
            raise HostError(
                f"{self.kind}: the new generation {generation.number} was taken away again and "
                f"{remaining}: {problem}"
            ) from problem
        self.records.did(
            f"generation {generation.number} serves"
            + (f" instead of {serving.number}" if serving is not None else "")
        )
        return generation

    def refresh(self, *, readonly: bool = False) -> Generation | None:
        """The same image and settings as what serves, started with what is live now, `readonly` or
        taking writes; None where nothing serves. Call `repair` first. Once it returns, no process
        with anything else live, or that may do more, is left."""
        serving = self.serving
        if serving is None:
            return None
        spec = self.records.specification(serving.number)
        if spec is None:
            raise HostError(
                f"{self.kind}: {self.records.directory(serving.number)} has lost its spec.json: "
                "run the whole site.yml, which makes it anew"
            )
        return self.ensure(spec.with_startup_inputs(self.startup_inputs()).with_readonly(readonly))

    def startup_inputs(self) -> dict[str, str]:
        """What is live at present: fingerprints of the files that a container of this kind may read
        only when it starts. Which of them it does, the specification's `live` says."""
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
    """`ensure`: the generation for a specification serves.

    Request: {"spec": see specification.py, "wait": 60, "configuration": sha256 | null,
    "drain_timeout": 600, "revoke": false, "deployment": ""}. Returns generation, slot, address,
    previous (a number or null). A new generation that does not become healthy is taken away, and
    HostError says why. Images of ours that are neither in use nor gone back to are removed.
    """
    spec = read(request["spec"])
    state = host.store.load()
    generations = generations_of(host, state, spec.kind, request)
    spec = spec.with_startup_inputs(generations.startup_inputs())
    if check:
        return {
            "actions": [*_planned_actions(state, spec), *remove_unused_images(host, state, check)]
        }
    # What is deployed replaces what a rollback that was cut off was about.
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
    """What a run would do, as far as the record tells."""
    record = state.kind(spec.kind)
    serving = record.serving
    if serving is not None and serving.spec == spec.hash:
        return []
    instead = f" instead of {serving.number}" if serving is not None else ""
    return [f"{spec.kind}: generation {record.next} serves{instead}"]


def withdraw(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`withdraw`: no container of this kind is left (its last directory stays, to go back to).

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
    """`follow`: what serves takes over the present users, and stays what it is otherwise.

    Request: {"kind", "configuration": sha256 | null, "wait": 60, "drain_timeout": 600}. docker_auth
    takes over a configuration by generation, the embedded token server by its own reload, for which
    `configuration` is awaited.
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
    # docker_auth cannot say what it has read: there, a new generation is the proof.
    if configuration and not generations.records.reads_at_start(generation, "configuration"):
        generations.readiness.wait_for_configuration(generation, str(configuration))
    return {"actions": generations.actions, "generation": generation.number}


def refresh_unlocked(host: Host, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `follow` comes to where nothing has to be started for it: the embedded token server has
    taken the present users over by itself. None where a generation is needed. Needs no lock, so
    that a user can be removed while somebody else is at work for long (a garbage collection)."""
    generations = generations_of(host, host.store.load(), str(request["kind"]), request)
    records, serving = generations.records, generations.serving
    if serving is None or records.specification(serving.number) is None:
        return None
    if records.reads_at_start(serving, "configuration") or not request.get("configuration"):
        return None
    generations.readiness.wait_for_configuration(serving, str(request["configuration"]))
    return {"actions": [], "generation": serving.number}
