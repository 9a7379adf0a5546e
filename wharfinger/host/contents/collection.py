"""`collect`: untagged revisions go, then what nothing refers to any more: garbage collection."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..system.context import Host
from ..system.errors import HostError
from . import settings as contents_settings
from .collector import garbage_collect
from .confirmation import asked
from .opened_storage import open_storage, without_writes
from .reports import reported
from .safeguards import believed, brake_verdict, held, would_hold
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
    """`collect`: untagged revisions that are old enough go, then every blob that no manifest needs.

    Request: as `retention`. Returns `untagged` (how many revisions went), `blobs` and `freed`
    (bytes), and `window_seconds`. With nothing to free there is no maintenance. Raises HostError,
    before anything is refused to anybody, where something is so damaged that the collection would
    end at it.
    """
    garbage = GarbageCollection(host, contents_settings.requested(host, request, check))
    if check:
        return garbage.dry_run(request)
    wishes = asked(host, "collect", request)
    return reported(host, "collect", lambda noted: garbage.act(wishes, noted))


class GarbageCollection:
    """One collection of one host's registry."""

    def __init__(self, host: Host, settings: Settings) -> None:
        self.host = host
        self.settings = settings

    def dry_run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        untagged, blobs, size = self._survey(open_storage(self.settings))
        would = [f"{one.name}: would be removed" for one in untagged["removals"]]
        if blobs:
            would.append(f"{blobs} blobs, {size} bytes: would be removed")
        return {
            "actions": would,
            "untagged": _revisions(untagged["removals"]),
            "blobs": blobs,
            "freed": size,
            "damage": untagged["damage"],
            **would_hold(self.host, request, self._brake(untagged)),
        }

    def act(self, wishes: Mapping[str, bool], noted: dict[str, Any]) -> dict[str, Any]:
        """What `collect` returns; what holds even where it fails is in `noted`."""
        clock = believed(self.host, "collect", wishes["clock_is_right"])
        confirmed = wishes["confirm_deletions"]
        noted["confirmed"] = confirmed
        store = open_storage(self.settings, clock)
        untagged, blobs, _ = self._survey(store)
        held("collect", self._brake(untagged), confirmed)
        if not blobs and not untagged["removals"]:
            return {"untagged": 0, "blobs": 0, "freed": 0, "damage": untagged["damage"]}
        actions = self._collect(store, confirmed, noted)
        actions.append(
            f"{noted['blobs']} blobs that nothing refers to were removed, {noted['freed']} bytes"
        )
        return {**noted, "actions": actions}

    def _collect(self, store: Storage, confirmed: bool, noted: dict[str, Any]) -> list[str]:
        """The work while nothing is written; what was done, and in `noted` how much."""
        host, state = self.host, self.host.store.load()
        with without_writes(host, state, self.settings, "collect", store, noted) as time:
            problems, special = examine(store)
            _nothing_stands_in_the_way(problems)
            before = usage(store)
            found = self._plan(store)
            found["damage"] = _with_warnings(found["damage"], special.warnings)
            held("collect", self._brake(found), confirmed)
            removed = apply(store, found["removals"])
            stays = self._stay(store, needed_blobs(store, (), special))
            try:
                with collectable(store, host.paths.aside, special, stays) as made:
                    removed += made
                    garbage_collect(host, state, time)
            finally:
                after = usage(store)
                noted |= {
                    "untagged": _revisions(found["removals"]),
                    "blobs": before.blobs - after.blobs,
                    "freed": before.bytes - after.bytes,
                    "damage": found["damage"],
                }
        return [*time.actions, *removed]

    def _plan(self, store: Storage) -> dict[str, Any]:
        return plan_untagged(store, self.settings.raw, self.host.clock.now(), notes(self.host))

    def _stay(self, store: Storage, needed: Collection[str]) -> dict[str, dict[str, int]]:
        """By repository, the layers that stay although no manifest names them, and their sizes."""
        now, keep = self.host.clock.now(), self.settings.raw.get("untagged_keep")
        found = grace.held_blobs(store, keep, now, needed)
        for repository, sizes in awaited_layers(store, now).items():
            found.setdefault(repository, {}).update(sizes)
        return found

    def _survey(self, store: Storage) -> tuple[dict[str, Any], int, int]:
        """What could be removed, before anybody is refused anything for it."""
        problems, special = examine(store)
        _nothing_stands_in_the_way(problems)
        untagged = self._plan(store)
        untagged["damage"] = _with_warnings(untagged["damage"], special.warnings)
        kept = needed_blobs(store, untagged["removals"], special)
        kept.update(*self._stay(store, kept).values())
        return untagged, *unneeded(store, kept)

    def _brake(self, found: Mapping[str, Any]) -> str:
        return brake_verdict(
            self.settings, self.host, "collect", found["removals"], found["revisions"]
        )


def _with_warnings(damage: list[dict[str, Any]], warnings: Iterable[Any]) -> list[dict[str, Any]]:
    """Damage and warnings as they stand in a report, each sentence once."""
    told = {one["sentence"] for one in damage}
    return damage + [one.report() for one in warnings if one.sentence not in told]


def _revisions(removals: Iterable[Any]) -> int:
    """How many are revisions; the others are tags that belong to them."""
    return sum(1 for one in removals if one.tag is None)


def _nothing_stands_in_the_way(found: list[str]) -> None:
    if found:
        raise HostError(
            "nothing was collected: a collection would end at what is damaged:\n" + "\n".join(found)
        )
