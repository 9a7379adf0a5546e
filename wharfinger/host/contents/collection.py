"""`collect`, the garbage collection: removes untagged revisions, then unneeded blobs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..system.context import Host
from ..system.errors import HostError
from . import settings as contents_settings
from .collector import garbage_collect
from .confirmation import confirmations
from .opened_storage import open_storage, without_writes
from .reports import run_and_report
from .safeguards import blockers, brake_verdict, check_brake, trusted_clock
from .settings import Settings
from .storage import (
    Storage,
    apply,
    awaited_layers,
    collectable,
    examine,
    grace,
    needed_blobs,
    plan_untagged,
    unneeded,
    usage,
)
from .untagged import notes


def collect(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`collect`: removes untagged revisions that are old enough, then every blob that no manifest
    needs.

    Request: as `retention`. Returns `untagged` (the number of removed revisions), `blobs` and
    `freed` (bytes), and `window_seconds`. If there is nothing to free, there is no maintenance.
    Raises HostError, before any write is refused, if damage would make the collection fail.
    """
    garbage = GarbageCollection(host, contents_settings.requested(host, request, check))
    if check:
        return garbage.dry_run(request)
    flags = confirmations(host, "collect", request)
    return run_and_report(host, "collect", lambda results: garbage.act(flags, results))


class GarbageCollection:
    """One collection of one host's registry."""

    def __init__(self, host: Host, settings: Settings) -> None:
        self.host = host
        self.settings = settings

    def dry_run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        untagged, blobs, size = self._survey(open_storage(self.settings))
        actions = [f"{removal.name}: would be removed" for removal in untagged["removals"]]
        if blobs:
            actions.append(f"{blobs} blobs, {size} bytes: would be removed")
        return {
            "actions": actions,
            "untagged": _revisions(untagged["removals"]),
            "blobs": blobs,
            "freed": size,
            "damage": untagged["damage"],
            **blockers(self.host, request, self._brake(untagged)),
        }

    def act(self, flags: Mapping[str, bool], results: dict[str, Any]) -> dict[str, Any]:
        """What `collect` returns. `results` has what holds even after a failure."""
        clock = trusted_clock(self.host, "collect", flags["clock_is_right"])
        confirmed = flags["confirm_deletions"]
        results["confirmed"] = confirmed
        storage = open_storage(self.settings, clock)
        untagged, blobs, _ = self._survey(storage)
        check_brake("collect", self._brake(untagged), confirmed)
        if not blobs and not untagged["removals"]:
            return {"untagged": 0, "blobs": 0, "freed": 0, "damage": untagged["damage"]}
        actions = self._collect(storage, confirmed, results)
        actions.append(
            f"{results['blobs']} blobs that nothing refers to were removed, "
            f"{results['freed']} bytes"
        )
        return {**results, "actions": actions}

    def _collect(self, storage: Storage, confirmed: bool, results: dict[str, Any]) -> list[str]:
        """The work during maintenance. Returns what was done; `results` says how much."""
        host, state = self.host, self.host.store.load()
        with without_writes(host, state, self.settings, "collect", storage, results) as maintenance:
            problems, special = examine(storage)
            _raise_obstacles(problems)
            before = usage(storage)
            plan = self._plan(storage)
            plan["damage"] = _with_warnings(plan["damage"], special.warnings)
            check_brake("collect", self._brake(plan), confirmed)
            removed = apply(storage, plan["removals"])
            held_layers = self._held_layers(storage, needed_blobs(storage, (), special))
            try:
                with collectable(storage, host.paths.aside, special, held_layers) as actions:
                    removed += actions
                    garbage_collect(host, state, maintenance)
            finally:
                after = usage(storage)
                results |= {
                    "untagged": _revisions(plan["removals"]),
                    "blobs": before.blobs - after.blobs,
                    "freed": before.bytes - after.bytes,
                    "damage": plan["damage"],
                }
        return [*maintenance.actions, *removed]

    def _plan(self, storage: Storage) -> dict[str, Any]:
        return plan_untagged(storage, self.settings.raw, self.host.clock.now(), notes(self.host))

    def _held_layers(self, storage: Storage, needed: Collection[str]) -> dict[str, dict[str, int]]:
        """By repository, the layers that stay although no manifest names them, with their sizes."""
        now, keep = self.host.clock.now(), self.settings.raw.get("untagged_keep")
        held = grace.held_blobs(storage, keep, now, needed)
        for repository, sizes in awaited_layers(storage, now).items():
            held.setdefault(repository, {}).update(sizes)
        return held

    def _survey(self, storage: Storage) -> tuple[dict[str, Any], int, int]:
        """What could be removed; done before any write is refused."""
        problems, special = examine(storage)
        _raise_obstacles(problems)
        untagged = self._plan(storage)
        untagged["damage"] = _with_warnings(untagged["damage"], special.warnings)
        kept = needed_blobs(storage, untagged["removals"], special)
        kept.update(*self._held_layers(storage, kept).values())
        return untagged, *unneeded(storage, kept)

    def _brake(self, plan: Mapping[str, Any]) -> str:
        return brake_verdict(
            self.settings, self.host, "collect", plan["removals"], plan["revisions"]
        )


def _with_warnings(damage: list[dict[str, Any]], warnings: Iterable[Any]) -> list[dict[str, Any]]:
    """Damage and warnings as in a report, each sentence once."""
    sentences = {problem["sentence"] for problem in damage}
    return damage + [warning.report() for warning in warnings if warning.sentence not in sentences]


def _revisions(removals: Iterable[Any]) -> int:
    """How many removals are revisions; the others are tags that belong to them."""
    return sum(1 for removal in removals if removal.tag is None)


def _raise_obstacles(problems: list[str]) -> None:
    if problems:
        raise HostError(
            "nothing was collected: a collection would fail on this damage:\n" + "\n".join(problems)
        )
