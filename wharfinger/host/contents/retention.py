"""`retention`: tags that no rule of registry_retention keeps are removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..system.context import Host
from . import settings as contents_settings
from .confirmation import asked
from .opened_storage import open_storage, without_writes
from .reports import reported
from .safeguards import believed, brake_verdict, held, would_hold
from .settings import Settings
from .storage import Storage, apply, plan_retention
from .untagged import notes


def retention(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`retention`: tags that no rule of registry_retention keeps are removed.

    Request: {"confirm_deletions": whether a person has confirmed what the brake would stop,
    "clock_is_right": whether a person says so, "settings": for a dry run only, as an inventory has
    them that was not applied yet}. Returns `rows`, one for each tag (storage/retention.py), and
    `removed`: how many tags; a dry run also `held` and `doubt`, why nothing would be removed all
    the same. With nothing to remove there is no maintenance, and nobody notices anything.
    """
    settings = contents_settings.requested(host, request, check)
    if check:
        found = _plan(host, settings, open_storage(settings))
        would = [f"{one.name}: would be removed" for one in found["removals"]]
        return _told(found, would) | would_hold(host, request, _brake(host, settings, found))
    wishes = asked(host, "retention", request)
    return reported(host, "retention", lambda noted: _act(host, settings, wishes, noted))


def _plan(host: Host, settings: Settings, store: Storage) -> dict[str, Any]:
    return plan_retention(store, settings.raw, host.clock.now(), notes(host))


def _brake(host: Host, settings: Settings, found: Mapping[str, Any]) -> str:
    return brake_verdict(settings, host, "retention", found["removals"], len(found["rows"]))


def _told(found: Mapping[str, Any], actions: list[str]) -> dict[str, Any]:
    tags = [one for one in found["rows"] if not one["keep"]]
    answer = {key: value for key, value in found.items() if key != "removals"}
    return {**answer, "actions": actions, "removed": len(tags)}


def _act(
    host: Host, settings: Settings, wishes: Mapping[str, bool], noted: dict[str, Any]
) -> dict[str, Any]:
    clock = believed(host, "retention", wishes["clock_is_right"])
    confirmed = wishes["confirm_deletions"]
    noted["confirmed"] = confirmed
    store = open_storage(settings, clock)
    found = _plan(host, settings, store)
    held("retention", _brake(host, settings, found), confirmed)
    actions: list[str] = []
    if found["removals"]:
        state = host.store.load()
        with without_writes(host, state, settings, "retention", store, noted) as time:
            # As it is now that nobody can change it.
            found = _plan(host, settings, store)
            held("retention", _brake(host, settings, found), confirmed)
            actions += apply(store, found["removals"])
        actions = time.actions + actions
    return _told(found, actions)
