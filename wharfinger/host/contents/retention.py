"""`retention`: removes the tags that no rule of registry_retention keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..system.context import Host
from . import settings as contents_settings
from .confirmation import confirmations
from .opened_storage import open_storage, without_writes
from .reports import run_and_report
from .safeguards import blockers, brake_verdict, check_brake, trusted_clock
from .settings import Settings
from .storage import Storage, apply, plan_retention
from .untagged import notes


def retention(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`retention`: removes the tags that no rule of registry_retention keeps.

    Request: {"confirm_deletions": whether a person has confirmed what the brake would stop,
    "clock_is_right": whether a person has confirmed the clock, "settings": for a dry run only,
    those of an inventory that was not applied yet}. Returns `rows`, one for each tag
    (storage/retention.py), and `removed`, the number of tags. A dry run also returns `held` and
    `doubt`: why a real run would remove nothing. If there is nothing to remove, there is no
    maintenance.
    """
    settings = contents_settings.requested(host, request, check)
    if check:
        plan = _plan(host, settings, open_storage(settings))
        actions = [f"{removal.name}: would be removed" for removal in plan["removals"]]
        return _answer(plan, actions) | blockers(host, request, _brake(host, settings, plan))
    flags = confirmations(host, "retention", request)
    return run_and_report(host, "retention", lambda results: _act(host, settings, flags, results))


def _plan(host: Host, settings: Settings, storage: Storage) -> dict[str, Any]:
    return plan_retention(storage, settings.raw, host.clock.now(), notes(host))


def _brake(host: Host, settings: Settings, plan: Mapping[str, Any]) -> str:
    return brake_verdict(settings, host, "retention", plan["removals"], len(plan["rows"]))


def _answer(plan: Mapping[str, Any], actions: list[str]) -> dict[str, Any]:
    tags = [row for row in plan["rows"] if not row["keep"]]
    answer = {key: value for key, value in plan.items() if key != "removals"}
    return {**answer, "actions": actions, "removed": len(tags)}


def _act(
    host: Host, settings: Settings, flags: Mapping[str, bool], results: dict[str, Any]
) -> dict[str, Any]:
    clock = trusted_clock(host, "retention", flags["clock_is_right"])
    confirmed = flags["confirm_deletions"]
    results["confirmed"] = confirmed
    storage = open_storage(settings, clock)
    plan = _plan(host, settings, storage)
    check_brake("retention", _brake(host, settings, plan), confirmed)
    actions: list[str] = []
    if plan["removals"]:
        state = host.store.load()
        with without_writes(host, state, settings, "retention", storage, results) as maintenance:
            # Planned again now that nobody can change anything.
            plan = _plan(host, settings, storage)
            check_brake("retention", _brake(host, settings, plan), confirmed)
            actions += apply(storage, plan["removals"])
        actions = maintenance.actions + actions
    return _answer(plan, actions)
