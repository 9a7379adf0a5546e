"""What keeps a job from removing anything: a clock in doubt, or very much that would go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..system import clock, clock_check
from ..system.context import Host
from ..system.errors import HostError
from . import reports
from .settings import Settings
from .storage import brake


def trusted_clock(host: Host, job: str, confirmed: bool) -> clock.Record:
    """The host's clock. Raises InDoubt where what goes by it must wait."""
    record = clock_check.look(host, confirmed=confirmed)
    if record.doubt:
        words = clock_check.sentence(record, host.clock.now())
        raise clock_check.InDoubt(f"{job}: nothing was removed: {words}")
    return record


def brake_verdict(
    settings: Settings, host: Host, job: str, removals: Iterable[Any], total: int
) -> str:
    """Why so many removals wait for a person's word, and what to run; "" where they do not."""
    tags = job == "retention"
    repositories = [
        removal.repository
        for removal in removals
        if removal.digest and (removal.tag is not None) == tags
    ]
    what = "tags" if tags else "manifests"
    verdict = brake.verdict(repositories, total, settings.raw, reports.history(host, job), what)
    if not verdict:
        return ""
    playbook = f"playbooks/{'retention' if tags else 'garbage_collect'}.yml"
    return (
        f"{verdict}. Look at what would go with {playbook} --check; where that is meant, run "
        f"{playbook} -e confirm_deletions=true"
    )


def check_brake(job: str, verdict: str, confirmed: bool) -> None:
    """Raises HostError where the brake holds and nobody has confirmed what would go."""
    if verdict and not confirmed:
        raise HostError(f"{job}: nothing was removed, since very much would go: {verdict}")


def blockers(host: Host, request: Mapping[str, Any], verdict: str) -> dict[str, Any]:
    """What would keep a run from removing anything: `held` (the brake) and `doubt` (the clock), ""
    where nothing would."""
    confirmed = request.get("confirm_deletions") is True
    right = request.get("clock_is_right") is True
    return {
        "held": "" if confirmed else verdict,
        "doubt": clock_check.doubt(host, confirmed=right, check=True),
    }
