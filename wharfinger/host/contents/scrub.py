"""`check_contents`: reads everything and compares it with its digest; changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..system.context import Host
from ..system.errors import HostError
from ..system.lock import locked
from . import settings as contents_settings
from .mirrored import mirrored
from .opened_storage import open_storage
from .reports import run_and_report
from .storage import scrub as scrub_storage


def scrub(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`check_contents`: compares each blob with its digest, and checks each link and each
    manifest's children. What a mirror does not keep is no damage.

    Request: {"rate": bytes per second; 0: no limit; null: the setting}. Needs only its own lock and
    changes only its report. Returns what storage/scrub.py returns. Raises HostError if something is
    damaged, naming it and the tags that it affects.
    """
    settings = contents_settings.requested(host, request, check)
    rate = request.get("rate")
    if check:
        return {"actions": []}

    def act(results: dict[str, Any]) -> dict[str, Any]:
        with locked(host.paths.var / "check.lock", "check_contents", 5):
            results |= scrub_storage(
                open_storage(settings),
                settings.check_rate if rate is None else int(rate),
                mirrored=mirrored(host),
            )
        if results["damage"]:
            raise HostError(_damaged(results["damage"]))
        return results

    return run_and_report(host, "check_contents", act)


def _damaged(damage: list[Mapping[str, Any]]) -> str:
    shown = [str(problem["sentence"]) for problem in damage[:20]]
    more = len(damage) - len(shown)
    return "\n".join(
        [
            f"{_count(len(damage))} damaged; nothing was changed (docs/operations.md, Repair):",
            *shown,
            *([f"and {more} more, all of them in contents/check_contents.json"] if more else []),
        ]
    )


def _count(number: int) -> str:
    where = "in the registry's storage"
    return f"One thing {where} is" if number == 1 else f"{number} things {where} are"
