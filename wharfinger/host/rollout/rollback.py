"""`rollback`: the image and settings from before the last deployment serve again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..system import names
from ..system.context import Host
from ..system.errors import HostError
from ..system.state import KINDS, Generation, State
from .generations import Generations, generations_of
from .records import Records
from .specification import Specification
from .start import foreign_key


def rollback(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`rollback`: the image and settings from before the last deployment serve again, with the
    current users, rules and trusted keys.

    Request: {"kind": "registry" | "token_server" | null, "drain_timeout": 600}. null: each kind
    that the last deployment changed. Returns `back`: kind → number of the previous generation that
    serves again.
    """
    state = host.store.load()
    kinds = _kinds(state, request.get("kind"))
    deployment = f"rollback {host.clock.now():.0f}"
    every_kind = [
        generations_of(host, state, kind, {**request, "deployment": deployment}) for kind in kinds
    ]
    if check:
        return {"actions": [_planned_action(generations) for generations in every_kind]}
    for generations in every_kind:
        generations.repair()
    if not state.rollback:
        for generations in every_kind:
            previous(generations.records)  # raises before anything is changed
        # All kinds are recorded before the first one changes, so that after a kill the next run
        # does the rest.
        state.rollback = {kind: state.kind(kind).settings_before for kind in kinds}
        host.store.save(state)
    back: dict[str, int] = {}
    for generations in every_kind:
        target, serving = generations.records.record.previous, generations.serving
        if serving is None or serving.settings != state.rollback[generations.kind]:
            _, spec = previous(generations.records)
            generations.replace(
                spec.with_startup_inputs(generations.startup_inputs()).with_readonly(False)
            )
            assert target is not None
            back[generations.kind] = target.number
            generations.records.did(f"it has the image and settings of generation {target.number}")
        del state.rollback[generations.kind]
        host.store.save(state)
    return {
        "actions": [action for generations in every_kind for action in generations.actions],
        "back": back,
    }


def _planned_action(generations: Generations) -> str:
    """What a rollback would do. Raises HostError if it would be refused."""
    target, _ = previous(generations.records)
    return f"{generations.kind}: the image and settings of generation {target.number} serve again"


def _kinds(state: State, requested: Any) -> list[str]:
    """The kinds to roll back, in the order in which that happens."""
    if requested is not None and requested not in KINDS:
        raise HostError(
            f"the request's kind is {requested!r}: write {' or '.join(sorted(KINDS))}, or leave it "
            "out to go back with all that the last deployment changed"
        )
    # A rollback that was killed is finished first.
    kinds = list(state.rollback) or ([str(requested)] if requested else _changed_last(state))
    if not kinds:
        raise HostError(
            "there is nothing to roll back to: no generation precedes the ones that serve"
        )
    # The token server first: the registry always trusts the key that it signs with.
    return [kind for kind in (names.TOKEN_SERVER, names.REGISTRY) if kind in kinds]


def _changed_last(state: State) -> list[str]:
    """The kinds that the newest deployment changed and that can be rolled back."""
    candidates = {
        kind: record.serving
        for kind, record in state.kinds.items()
        if record.serving is not None and record.previous is not None
    }
    if not candidates:
        return []
    newest = max(candidates.values(), key=lambda generation: generation.changed)
    return [
        kind
        for kind, generation in candidates.items()
        if generation is newest
        or (generation.deployment and generation.deployment == newest.deployment)
    ]


def previous(records: Records) -> tuple[Generation, Specification]:
    """The generation to go back to, and its specification. Raises HostError if none can be used."""
    kind, target, serving = records.kind, records.record.previous, records.serving
    spec = None if target is None else records.specification(target.number)
    if target is None or spec is None:
        raise HostError(
            f"{kind}: there is no generation with another image or other settings to go "
            "back to: change the inventory and run site.yml instead"
        )
    present = None if serving is None else records.specification(serving.number)
    if present is None:
        raise HostError(f"{kind}: nothing serves that could be rolled back: run site.yml")
    for name, same in (
        ("registry_auth or registry_hostname", present.proof == spec.proof),
        ("storage_path", present.mounts == spec.mounts),
    ):
        if not same:
            raise HostError(
                f"{kind}: generation {target.number} had a different {name}, which affects more "
                "than this container: write the earlier value into the inventory and run site.yml "
                "instead"
            )
    foreign = foreign_key(records, spec)
    if foreign is not None:
        raise HostError(
            f"{kind}: generation {target.number} cannot serve again: {foreign}. To have "
            "its settings again, write them into the inventory and run site.yml instead"
        )
    if records.host.engine.image(spec.image) is None:
        raise HostError(
            f"{kind}: the image of generation {target.number} ({spec.image}) is no longer "
            "on this host: write the earlier version into the inventory and run site.yml"
        )
    return target, spec
